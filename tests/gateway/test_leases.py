"""Holds of running requests are extended; those of requests that have ended, or that are younger than a beat, are left alone."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import cast

import pytest

from gateway.pipeline.exchange import Exchange
from gateway.pipeline.leases import keep_holds
from gateway.store import Store, StoreUnavailableError
from tests.gateway.asgi import Client
from tests.gateway.exchanges import make_exchange


class NotingStore:
    """Notes what is extended; unavailable as often as told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.extended: list[tuple[set[uuid.UUID], float]] = []

    async def extend_holds(self, ids: Sequence[uuid.UUID], *, ttl: float) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("away")
        self.extended.append((set(ids), ttl))


@pytest.mark.parametrize("failures", [0, 2])
async def test_what_runs_longer_than_a_beat_is_extended_also_after_an_outage(failures: int) -> None:
    store, running = NotingStore(failures=failures), dict[asyncio.Task[None], Exchange]()
    long, young, ended = (make_exchange(Client()) for _ in range(3))
    long.started -= 10.0
    ended.started -= 10.0
    forever = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
    running.update(zip(forever, (long, young, ended), strict=True))
    del running[forever[2]]
    young.started += 3600.0
    keeping = asyncio.create_task(keep_holds(running, store=cast(Store, store), lease=0.06))
    async with asyncio.timeout(5):
        while len(store.extended) < 2:
            await asyncio.sleep(0.005)
    for task in (keeping, *forever):
        task.cancel()
    await asyncio.wait([keeping, *forever])
    assert store.extended[:2] == [({long.id}, 0.06)] * 2
