"""A tap on the line between clients and a gateway: it forwards bytes both ways and keeps all that clients were sent."""

import contextlib
import re
import socket
import threading

#: What a chunked body has between two pieces: a word may lie across it.
_CHUNK_EDGE = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")


class Tap:
    """Listens on a port of the loopback."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._lines: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def received(self) -> list[bytes]:
        """Return what each connection's client was sent: as it came, and once more with the edges of chunks taken out."""
        with self._lock:
            lines = [bytes(line) for line in self._lines]
        return [part for line in lines for part in (line, _CHUNK_EDGE.sub(b"", line))]

    def close(self) -> None:
        """Stop listening; connections that stand go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        kept = bytearray()
        with self._lock:
            self._lines.append(kept)
        with client, server:
            for line in (client, server):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asking = threading.Thread(target=_pump, args=(client, server, None), daemon=True)
            asking.start()
            _pump(server, client, kept)
            asking.join()


def _pump(source: socket.socket, sink: socket.socket, memory: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if memory is not None:
                memory += data
            sink.sendall(data)
    for line in (source, sink):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
