"""The link against a server that splits its answers as it likes: an answer is given when the server is ready, and never lost."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from gateway.store import link as links
from gateway.store.link import Link
from lumyx.lib.prepared import Prepared, Rows

STATEMENT: Prepared[object, tuple[bytes | None, ...]] = Prepared(
    "seven", "SELECT 7", lambda _items: [], lambda _items, rows: rows
)
NO_TLS = (80877103, 80877104)


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _read(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def _serve(listener: socket.socket, pause: float) -> None:
    """Speak just enough of PostgreSQL's protocol: the rows of an answer come ``pause`` seconds before its end."""
    line, _ = listener.accept()
    with line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            (size,) = struct.unpack("!I", _read(line, 4))
            if struct.unpack("!I", _read(line, size - 4)[:4])[0] not in NO_TLS:
                break
            line.sendall(b"N")
        greeting = _message(b"S", b"client_encoding\0UTF8\0") + _message(b"S", b"server_version\x0018.0\0")
        line.sendall(_message(b"R", struct.pack("!I", 0)) + greeting + _message(b"Z", b"I"))
        row = struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0)
        try:
            while True:
                kind, (size,) = _read(line, 1), struct.unpack("!I", _read(line, 4))
                _read(line, size - 4)
                if kind == b"S":
                    rows = _message(b"T", row) + _message(b"D", struct.pack("!Hi", 1, 1) + b"7")
                    line.sendall(_message(b"2") + rows + _message(b"C", b"SELECT 1\0"))
                    time.sleep(pause)
                    line.sendall(_message(b"Z", b"I"))
        except ConnectionError:
            return


@pytest.fixture(params=[0.0, 0.05], ids=["at once", "in two parts"])
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, request.param))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


async def test_an_answer_is_given_once_it_is_whole(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"host=127.0.0.1 port={server} user=x dbname=x sslmode=disable gssencmode=disable"
    monkeypatch.setattr(links, "_connect", lambda *_: psycopg.connect(address, autocommit=True))
    link = Link(STATEMENT, flush=True)
    keeping = asyncio.create_task(link.keep_up())
    async with asyncio.timeout(5):
        while not link.is_up:
            await asyncio.sleep(0.01)
        for _ in range(3):
            answer: asyncio.Future[Rows | Exception] = asyncio.get_running_loop().create_future()
            link.run(STATEMENT, [], answer.set_result)
            assert await answer == [(b"7",)]
    keeping.cancel()
    await asyncio.wait([keeping])
    assert not link.is_up


async def test_a_connection_that_ends_gives_whoever_waits_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, 0.3))
        thread.start()
        address = f"host=127.0.0.1 port={listener.getsockname()[1]} user=x dbname=x sslmode=disable gssencmode=disable"
        monkeypatch.setattr(links, "_connect", lambda *_: psycopg.connect(address, autocommit=True))
        link = Link(STATEMENT, flush=True)
        keeping = asyncio.create_task(link.keep_up())
        async with asyncio.timeout(5):
            while not link.is_up:
                await asyncio.sleep(0.01)
            answer: asyncio.Future[Rows | Exception] = asyncio.get_running_loop().create_future()
            link.run(STATEMENT, [], answer.set_result)
            link.drop(TimeoutError("no answer"))
            assert isinstance(await answer, TimeoutError)
        keeping.cancel()
        await asyncio.wait([keeping])
        await asyncio.to_thread(thread.join, 5)
