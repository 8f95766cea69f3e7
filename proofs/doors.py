"""A connection that leads to one web process of several that share a socket, so that each can be asked by itself."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from rig import accounting
from rig.installation import Installation

CHAT_PATH = "/api/v1/chat/completions"
#: Connections that may be opened before one leads where it should, and seconds that the kernel may take to give one away.
MOST_TRIES, GIVEN_WITHIN = 400, 5.0


class NoDoorError(Exception):
    """No connection led to the web process."""


def owner_of(client_port: int, *, server_port: int, pids: Iterable[int]) -> int | None:
    """Return which process has accepted a connection of the loopback, or None when none has yet."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if (local, remote) == (server_port, client_port):
            mark = f"socket:[{fields[9]}]"
            return next((pid for pid in pids if mark in accounting.descriptors(pid)), None)
    return None


def wait_for_owner(client_port: int, *, server_port: int, pids: Iterable[int]) -> int | None:
    """Return which process accepts a connection; None when none does in time."""
    pids, deadline = list(pids), time.monotonic() + GIVEN_WITHIN
    while (owner := owner_of(client_port, server_port=server_port, pids=pids)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)
    return owner


class Door:
    """Asks one web process, on a connection that is kept and opened anew when the process has closed it."""

    def __init__(self, installation: Installation, pid: int) -> None:
        self.pid = pid
        self._installation = installation
        self._line: http.client.HTTPConnection | None = None
        self._request: tuple[str, str, str | None, Mapping[str, str]] = ("GET", "/", None, {})

    def open(self) -> None:
        """Open a connection to the process. Raises NoDoorError."""
        self.close()
        spare: list[socket.socket] = []
        port, pids = self._installation.port, self._installation.gateway_pids
        with contextlib.ExitStack() as stack:
            for _ in range(MOST_TRIES):
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                line.connect()
                assert line.sock is not None
                if wait_for_owner(line.sock.getsockname()[1], server_port=port, pids=pids) == self.pid:
                    self._line = line
                    return
                # Kept open till the end: the process that has it is the busier one.
                spare.append(stack.enter_context(line.sock))
        raise NoDoorError(f"none of {MOST_TRIES} connections led to process {self.pid}")

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def get(self, path: str) -> int:
        """Return the status of a page. Raises NoDoorError and OSError."""
        self.send("GET", path)
        return self.receive()

    def chat(self, model: str, *, key: str) -> int:
        """Return the status of a whole chat completion. Raises NoDoorError and OSError."""
        body = json.dumps({"model": model, "max_tokens": 512, "messages": [{"role": "user", "content": "Hello"}]})
        self.send("POST", CHAT_PATH, body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
        return self.receive()

    def send(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Send a request; ``receive`` gives its answer. Raises NoDoorError and OSError."""
        self._request = (method, path, body, headers or {})
        if self._line is None:
            self.open()
        assert self._line is not None
        with contextlib.suppress(ConnectionError):  # closed while it rested: receive() sends again
            self._line.request(*self._request)

    def receive(self) -> int:
        """Return the status of the answer to what was sent. Raises NoDoorError and OSError."""
        for is_last in (False, True):
            assert self._line is not None
            try:
                answer = self._line.getresponse()
                answer.read()
            except (http.client.HTTPException, ConnectionError):
                if is_last:
                    raise
                self.open()
                self._line.request(*self._request)
            else:
                return answer.status
        raise AssertionError("unreachable")


def ask_all(doors: Iterable[Door], path: str) -> list[int]:
    """Ask every process for a page at the same time, and return their statuses. Raises NoDoorError and OSError."""
    doors = list(doors)
    for door in doors:
        door.send("GET", path)
    return [door.receive() for door in doors]
