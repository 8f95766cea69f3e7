"""A stream read by hand, so that a test can stop in its middle."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

from tests.flows.wire import connect, encode_request


class Stream:
    """An open streamed answer."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.received = b""

    def read_some(self) -> None:
        """Read until content has come."""
        while b'"content"' not in self.received:
            part = self.line.recv(65536)
            assert part, f"the stream ended before its content: {self.received!r}"
            self.received += part

    def read_all(self) -> str:
        """Read to the end of the connection, however it ends, and return all that came."""
        with contextlib.suppress(ConnectionResetError):
            while part := self.line.recv(65536):
                self.received += part
        return self.received.decode(errors="replace")


@contextlib.contextmanager
def open_stream(port: int, key: str, body: dict[str, Any]) -> Iterator[Stream]:
    """Ask for a stream; the connection is closed at the end of the block."""
    with connect(port) as line:
        line.sendall(encode_request(key=key, body=json.dumps({**body, "stream": True}).encode()))
        yield Stream(line)
