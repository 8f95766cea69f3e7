"""The request's own coroutine: how long it waits for the client, and for what."""

import asyncio

import pytest

from gateway.pipeline import _watch
from tests.gateway.asgi import Client
from tests.gateway.exchanges import make_exchange


async def test_a_client_that_has_stopped_reading_is_not_waited_for() -> None:
    client = Client(parts=[])
    exchange = make_exchange(client, stream=True)

    async def serve() -> None:
        await asyncio.sleep(0)
        exchange.client_gone = True  # as the writer says when a write has taken too long

    async with asyncio.timeout(2):
        await _watch(client.receive, exchange, asyncio.create_task(serve()))


async def test_a_client_that_leaves_is_noticed_and_the_work_is_waited_for() -> None:
    client = Client(parts=[])
    exchange = make_exchange(client, stream=True)
    done = asyncio.Event()

    async def serve() -> None:
        while not exchange.client_gone:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        done.set()

    client.leave()
    async with asyncio.timeout(2):
        await _watch(client.receive, exchange, asyncio.create_task(serve()))
    assert done.is_set()


async def test_work_that_outlives_its_request_ends_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(parts=[])
    exchange = make_exchange(client, stream=True)
    work = asyncio.create_task(asyncio.sleep(0.02))
    request = asyncio.create_task(_watch(client.receive, exchange, work))
    await asyncio.sleep(0)
    request.cancel()  # as a server does whose time to end is over
    await asyncio.wait([request, work])
    await asyncio.sleep(0)
    assert exchange.client_gone
    assert not caplog.records
