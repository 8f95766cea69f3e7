"""Keeps the holds of running requests alive: a hold lives for one lease, and its process extends it three times in each.

So credit that a killed process had set aside is free again within a lease and the sweeper's next run, however long an upstream
may take. How it fails: while PostgreSQL is away nothing is extended, nor swept; a hold that expires all the same is still charged
by its settlement (billing.services.ledger.settle).
"""

import asyncio
import logging
from collections.abc import Mapping

from gateway.pipeline.exchange import Exchange
from gateway.store import Store, StoreUnavailableError
from lumyx.lib import clock

log = logging.getLogger(__name__)

BEATS = 3


async def keep_holds(running: Mapping[asyncio.Task[None], Exchange], *, store: Store, lease: float) -> None:
    """Extend, until cancelled, the holds of all that runs for longer than a beat; ``lease`` is in seconds."""
    beat = lease / BEATS
    while True:
        await asyncio.sleep(beat)
        now = clock.monotonic()
        ids = [exchange.id for exchange in running.values() if now - exchange.started > beat]
        if not ids:
            continue
        try:
            await store.extend_holds(ids, ttl=lease)
        except StoreUnavailableError as error:
            log.warning("%d holds could not be extended: %s", len(ids), error)
