"""Keeps the holds of running requests alive: a hold lives for one lease, and its process extends it three times in each.

So credit that a killed process had set aside is free again within a lease and the sweeper's next run, however long an upstream
may take. How it fails: while PostgreSQL is away nothing is extended, nor swept; a hold that expires all the same is still charged
by its settlement (billing.services.ledger.settle).
"""

import asyncio
import logging
from collections.abc import Mapping

from gateway.pipeline.exchange import Exchange
from gateway.store import Store
from lumyx.lib import clock

log = logging.getLogger(__name__)

BEATS = 3
#: Seconds until a beat that failed is tried again, and the age from which a request is extended: most are over sooner.
RETRY, YOUNG = 1.0, 1.0


async def keep_holds(running: Mapping[asyncio.Task[None], Exchange], *, store: Store, lease: float) -> None:
    """Extend, until cancelled, the holds of all that runs; ``lease`` is in seconds."""
    beat = lease / BEATS
    pause = beat
    while True:
        await asyncio.sleep(pause)
        is_done = await _extend_all(running, store=store, lease=lease)
        pause = beat if is_done else min(RETRY, beat)


async def _extend_all(running: Mapping[asyncio.Task[None], Exchange], *, store: Store, lease: float) -> bool:
    """Return whether it was done. Raises nothing: whatever goes wrong, the next try must come."""
    now = clock.monotonic()
    ids = [exchange.id for exchange in running.values() if now - exchange.started > min(YOUNG, lease / BEATS)]
    if not ids:
        return True
    try:
        async with asyncio.timeout(lease / BEATS):
            await store.extend_holds(ids, ttl=lease)
    except Exception as error:
        log.warning("%d holds could not be extended: %r", len(ids), error)
        return False
    return True
