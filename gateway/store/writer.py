"""Group commit: one thread that writes whatever queued while its last write ran.

No timer: at rest a batch has one item and no wait. The thread owns its database connection. Fails closed: while
PostgreSQL is away a write that may not wait (an admission) is refused with ``StoreUnavailableError``; one that must not be
lost (a settlement) stays in the queue, which is bounded, and is tried again until it commits.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from lumyx.lib import clock

log = logging.getLogger(__name__)

#: Seconds between tries while the database is away; doubled each time up to the last.
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0


class StoreUnavailableError(Exception):
    """PostgreSQL did not answer in time, or the queue is full: a 503, never a 401."""


class Job[In, Out](NamedTuple):
    """An item and the future of its result."""

    item: In
    future: asyncio.Future[Out]


class BatchWriter[In, Out]:
    """Runs ``flush`` over batches of submitted items, in a thread of its own.

    Args:
        name: of the thread, and in logs.
        flush: writes a batch in one transaction and returns one result an item, in order. Must be idempotent: it is
            called again when a connection broke and nobody knows whether the commit arrived.
        max_queue: items that may wait; more are refused at once.
        max_batch: items of one transaction.
        keep_trying: while the database is away, keep the items (True) or refuse them (False).
        stall: seconds after which a flush that has not come back counts as an outage for newcomers.
        abandoned: called in the loop for an item that was or may have been written while nobody waits for it any more
            (its result, or None when the connection broke and nobody knows).
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[Sequence[In]], Sequence[Out]],
        *,
        max_queue: int,
        max_batch: int = 256,
        keep_trying: bool = False,
        stall: float = 3.0,
        abandoned: Callable[[In, Out | None], None] | None = None,
    ) -> None:
        self.name = name
        self._flush = flush
        self.max_queue = max_queue
        self._max_batch = max_batch
        self._keep_trying = keep_trying
        self._stall = stall
        self._abandoned = abandoned
        self._jobs: queue.SimpleQueue[Job[In, Out] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._flushing_since: float | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the thread; results will be delivered to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    async def stop(self, *, grace: float) -> None:
        """Write what is queued, then end the thread; give up after ``grace`` seconds."""
        if self._thread is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, grace)
        if self._thread.is_alive():
            log.error("%s: %d items were not written before the stop", self.name, self._jobs.qsize())
            self._stopping.set()
        self._thread = None

    def submit(self, item: In) -> asyncio.Future[Out]:
        """Queue an item; the future has its result, StoreUnavailableError, or the error of its own data."""
        loop = self._loop
        if loop is None:
            raise StoreUnavailableError(f"{self.name} is not running")
        job = Job[In, Out](item, loop.create_future())
        self.take([job])
        return job.future

    def take(self, jobs: Iterable[Job[In, Out]], *, were_sent: bool = False) -> None:
        """Queue items whose futures are there already. Loop thread only.

        ``were_sent``: nobody knows whether they were written, so those that find no room are abandoned too.
        """
        for job in jobs:
            if self._jobs.qsize() >= self.max_queue:
                self._turn_away(job, "the queue is full", were_sent=were_sent)
            elif not self._keep_trying and self.is_stalled():
                self._turn_away(job, "the database does not answer", were_sent=were_sent)
            else:
                self._jobs.put(job)

    def _turn_away(self, job: Job[In, Out], reason: str, *, were_sent: bool) -> None:
        error = StoreUnavailableError(f"{self.name}: {reason}")
        if were_sent:
            self._reject([job], error)
        elif not job.future.done():
            job.future.set_exception(error)

    @property
    def is_crowded(self) -> bool:
        """Whether more than a quarter of the queue is taken."""
        return self._jobs.qsize() * 4 > self.max_queue

    def is_stalled(self) -> bool:
        """Tell whether the running flush has been away for longer than ``stall`` seconds."""
        since = self._flushing_since
        return since is not None and clock.monotonic() - since > self._stall

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            batch: list[Job[In, Out]] = []
            while job is not None:
                batch.append(job)
                if len(batch) >= self._max_batch or self._jobs.empty():
                    break
                job = self._jobs.get()
            if batch:
                self._flushing_since = clock.monotonic()
                try:
                    self._write(batch)
                except Exception:  # the thread must live: a bug in one batch may not stop all money
                    log.exception("%s: a batch failed", self.name)
                    self._refuse(batch, StoreUnavailableError(f"{self.name} failed"))
                self._flushing_since = None
            if job is None:
                connection.close()
                return

    def _write(self, batch: list[Job[In, Out]]) -> None:
        pause = 0.0
        tries = 0
        while True:
            tries += 1
            try:
                close_old_connections()
                # No probe before each batch: a connection that died costs the first try, and the second has a new one.
                connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs lack it
                results = self._flush([job.item for job in batch])
                self._flushing_since = None  # before anybody hears of it, so that who asks next is not refused
            except (OperationalError, InterfaceError) as error:
                connection.close()
                # The first failure may only be a connection that the server closed while it rested.
                if not self._keep_trying and tries > 1:
                    self._refuse(batch, StoreUnavailableError(f"{self.name}: {error}"))
                    return
                if tries > 1:
                    pause = min(LAST_PAUSE, pause * 2 or FIRST_PAUSE)
                    log.warning("%s: %d items wait, the database is away: %s", self.name, len(batch), error)
                    if self._stopping.wait(pause):
                        self._refuse(batch, StoreUnavailableError(f"{self.name} stopped"))
                        return
            except DatabaseError as error:
                self._isolate(batch, error)
                return
            else:
                self._deliver(batch, results)
                return

    def _isolate(self, batch: list[Job[In, Out]], error: Exception) -> None:
        """One item's data broke the batch: write the others one by one, so that nobody else pays for it."""
        if len(batch) == 1:
            log.error("%s: an item was refused by the database: %s", self.name, error)
            self._refuse(batch, error)
            return
        for job in batch:
            self._write([job])

    def _deliver(self, batch: list[Job[In, Out]], results: Sequence[Out]) -> None:
        self._call(self.resolve, batch, results)

    def _refuse(self, batch: list[Job[In, Out]], error: Exception) -> None:
        self._call(self._reject, batch, error)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, *args)

    def resolve(self, batch: Sequence[Job[In, Out]], results: Sequence[Out]) -> None:
        """Give results to those who wait; what nobody waits for any more is abandoned. Loop thread only."""
        for job, result in zip(batch, results, strict=True):
            if not job.future.done():
                job.future.set_result(result)
            elif self._abandoned is not None:
                self._abandoned(job.item, result)

    def _reject(self, batch: list[Job[In, Out]], error: Exception) -> None:
        for job in batch:
            if not job.future.done():
                job.future.set_exception(error)
            if self._abandoned is not None:
                self._abandoned(job.item, None)
