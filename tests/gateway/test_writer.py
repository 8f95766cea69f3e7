"""A stream's writer: pushes, flushes and life signs on a line that is sometimes not free, and a server that refuses to write."""

import asyncio
import time

import pytest

from gateway.pipeline.exchange import Exchange
from gateway.pipeline.writer import StreamWriter
from tests.gateway.asgi import Client, Message
from tests.gateway.exchanges import ClientLine, make_exchange

SIGN = b": keep-alive\n\n"


class Paused(Client):
    """A client whose connection takes nothing until ``open`` is set, as a server whose buffer is full."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.waiting = asyncio.Event()

    async def send(self, message: Message) -> None:
        if not self.open.is_set():
            self.waiting.set()
            await self.open.wait()
        if self.complete:
            raise RuntimeError("sent after the end")
        if (message["type"] == "http.response.start") is bool(self.messages):
            raise RuntimeError("a body without a head, or a second head")
        await super().send(message)


class StrictLine(ClientLine):
    """A line that takes no body before its head, as a server's."""

    def write(self, data: bytes) -> None:
        if not self._client.messages:
            raise RuntimeError("a body without a head")
        super().write(data)


def begin(client: Client, *, keepalive: float = 30.0) -> tuple[Exchange, StreamWriter, ClientLine]:
    """Make an exchange whose answer goes to ``client`` by a writer that has begun."""
    exchange = make_exchange(client, stream=True)
    exchange.line = line = StrictLine(client)
    writer = StreamWriter(exchange, keepalive=keepalive)
    writer.start()
    return exchange, writer, line


async def test_nothing_is_pushed_past_a_life_sign_that_waits_with_the_head() -> None:
    client = Paused()
    exchange, writer, line = begin(client, keepalive=0.01)
    line.is_free = False
    await client.waiting.wait()
    client.open.set()
    line.is_free = True
    # In the very turn in which the line becomes free, before who waited for it runs.
    writer.hold(b"one")
    assert not writer.push()
    await writer.flush()
    writer.hold(b"two")
    assert writer.push()
    writer.stop()
    assert (client.body, exchange.client_gone) == (SIGN + b"onetwo", False)


async def test_the_end_waits_for_a_life_sign_that_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    client = Paused()
    exchange, writer, _ = begin(client, keepalive=0.01)
    await client.waiting.wait()
    writer.stop()
    client.open.set()
    writer.hold(b"last")
    await writer.flush(end=True)
    await asyncio.sleep(0)
    assert client.body == SIGN + b"last"
    assert not exchange.client_gone
    assert not caplog.records


async def test_a_life_sign_that_was_due_as_the_stream_ended_is_not_sent() -> None:
    client = Client()
    _, writer, _ = begin(client, keepalive=0.01)
    loop = asyncio.get_running_loop()
    time.sleep(0.02)  # noqa: ASYNC251  its time comes in this very turn; the stream ends in the next, before it runs
    loop.call_soon(lambda: loop.call_soon(writer.stop))
    await asyncio.sleep(0.05)
    assert client.messages == []


async def test_no_life_sign_is_sent_to_a_client_that_a_write_waits_for() -> None:
    client = Paused()
    _, writer, _ = begin(client, keepalive=0.01)
    writer.hold(b"one")
    flushing = asyncio.create_task(writer.flush())
    await asyncio.sleep(0.05)
    client.open.set()
    await flushing
    writer.stop()
    assert client.body == b"one"


async def test_a_head_that_was_given_up_while_it_waited_has_not_been_sent() -> None:
    client = Paused()
    exchange, writer, _ = begin(client)
    writer.hold(b"one")
    flushing = asyncio.create_task(writer.flush())
    await client.waiting.wait()
    flushing.cancel()
    await asyncio.wait([flushing])
    writer.stop()
    assert not exchange.head_sent


@pytest.mark.parametrize("by_push", [True, False])
async def test_a_server_that_refuses_to_write_is_a_client_that_has_left(
    by_push: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    exchange, writer, line = begin(client)
    line.is_free = by_push

    async def refuse(_message: Message) -> None:
        raise RuntimeError("the handler is closed")

    exchange.send = refuse
    writer.hold(b"one")
    if not writer.push():
        await writer.flush()
    writer.stop()
    assert exchange.client_gone
    assert exchange.request_id in caplog.text
