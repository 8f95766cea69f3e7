"""A gateway as a web process has it: its own cache, connections and listener, ready to serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from lumyx.process import Process
from tests.gateway.test_store import eventually


@asynccontextmanager
async def running_process() -> AsyncIterator[Process]:
    """Open a process, wait until it serves and hears of changes, and close it."""
    process = Process()
    await process.open()
    try:
        store = process.gateway_app.gateway.store  # type: ignore[union-attr]
        async with asyncio.timeout(15):
            while not await store.ping():
                await asyncio.sleep(0.02)
        await eventually(partial(_listens, store))
        yield process
    finally:
        await process.close()


def _listens(store: Any) -> bool:
    return bool(store._principals.lifetime > 10 and store._admissions._link.is_up)
