"""A relay between a gateway and a service that tests can take away: cut (refuses and drops), or mute (accepts and says nothing)."""

import contextlib
import enum
import socket
import threading
from pathlib import Path

Address = tuple[str, int] | str


class Mode(enum.Enum):
    """What the relay does with connections."""

    OPEN = "open"
    CUT = "cut"
    MUTE = "mute"


class Relay:
    """Forwards bytes from a port of the loopback to a TCP address or a unix socket's path, while it is open."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.mode = Mode.OPEN
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set_mode(self, mode: Mode) -> None:
        """Change what happens; connections that stand are dropped, so that nobody goes on as if nothing were."""
        self.mode = mode
        with self._lock:
            lines, self._lines = self._lines, set()
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def close(self) -> None:
        """Stop for good."""
        self.set_mode(Mode.CUT)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode is Mode.CUT:
                client.close()
                continue
            with self._lock:
                self._lines.add(client)
            if self.mode is Mode.OPEN:
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
        server = socket.socket(family)
        try:
            server.connect(self.target)
        except OSError:
            server.close()
            client.close()
            return
        with self._lock:
            self._lines.add(server)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for line in (source, sink):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def unix_socket_or_address(host: str, port: str, *, socket_name: str) -> Address:
    """Return where a service listens: a host that is a folder holds its unix socket."""
    return str(Path(host) / socket_name) if host.startswith("/") else (host, int(port))
