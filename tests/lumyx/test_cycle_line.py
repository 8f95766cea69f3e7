"""One connection taken apart, without a network: who is told that the client has left, and what a line may write."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.http import LINE, Line
from lumyx.connection import PatientProtocol

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
HEAD: Message = {"type": "http.response.start", "status": 200, "headers": []}


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Served:
    """A connection, and what the application saw of its requests."""

    def __init__(self, work: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.wire = Wire()
        self.protocol = PatientProtocol(
            Config(cast(Any, work), ws="none", lifespan="off", log_config=None), ServerState(), {}
        )
        self.protocol.connection_made(self.wire)

    def lose(self) -> None:
        """Let the client leave."""
        self.wire.closed = True
        self.protocol.connection_lost(None)


@pytest.mark.parametrize("requests", [1, 2, 3])
async def test_the_request_that_is_answered_hears_that_its_client_left_whatever_was_sent_after_it(
    requests: int,
) -> None:
    heard: list[Message] = []
    free: list[bool] = []
    begun = asyncio.Event()

    async def work(scope: Message, receive: Receive, send: Send) -> None:
        line: Line = scope["extensions"][LINE]
        await send(HEAD)
        await receive()
        begun.set()
        heard.append(await receive())
        free.append(line.is_free)
        before = len(served.wire.written)
        await send({"type": "http.response.body", "body": b"late", "more_body": True})
        assert len(served.wire.written) == before

    served = Served(work)
    served.protocol.data_received(GET * requests)
    await begun.wait()
    served.lose()
    await asyncio.sleep(0.01)
    assert heard == [{"type": "http.disconnect"}]
    assert free == [False]


async def test_a_piece_of_nothing_does_not_end_the_body() -> None:
    async def work(scope: Message, _receive: Receive, send: Send) -> None:
        line: Line = scope["extensions"][LINE]
        await send(HEAD)
        for piece in (b"one", b"", b"two"):
            line.write(piece)
        await send({"type": "http.response.body", "body": b""})

    served = Served(work)
    served.protocol.data_received(GET)
    await asyncio.sleep(0.01)
    assert served.wire.written.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_request_leaves_nothing_for_the_garbage_collector_where_no_one_takes_its_line() -> None:
    async def work(_scope: Message, _receive: Receive, send: Send) -> None:
        await send(HEAD)
        await send({"type": "http.response.body", "body": b""})

    served = Served(work)
    served.protocol.data_received(GET)
    seen = weakref.ref(served.protocol.cycle)
    gc.collect()
    gc.disable()
    try:
        await asyncio.sleep(0.01)
        served.protocol.data_received(GET)
        await asyncio.sleep(0.01)
        assert seen() is None
    finally:
        gc.enable()
