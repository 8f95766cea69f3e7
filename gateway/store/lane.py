"""Group commit in the event loop: the usual batch is one statement and one round trip, with no thread to wake or wait for.

What queued while the last batch ran is the next one. What the statement declines, and all that goes wrong, is handed to the
BatchWriter with the same futures: it decides case by case, keeps trying or refuses, as that module says. Handing over is safe at
any moment because both write with the request's id as the idempotency key.
"""

import asyncio
import contextlib
import logging
from collections import deque

from gateway.store.link import Link
from gateway.store.writer import BatchWriter, Job
from lumyx.lib import clock
from lumyx.lib.prepared import Prepared, Rows

log = logging.getLogger(__name__)

#: Seconds that a batch may take before the connection is given up: a paused server, a network that swallows packets.
STALL = 1.5
#: Under load batches begin this many seconds apart at least: a larger batch costs less, and at that pace nobody feels it.
PACE = 0.004
#: The size of a batch that counts as load.
BUSY = 4
#: Seconds that a stop waits for a connection that is just being made.
KEEPER_PATIENCE = 4.0


class Lane[In, Out]:
    """Runs ``statement`` over batches of items; ``writer`` takes what it cannot do. Loop thread only.

    ``flush``: see gateway.store.link.Link.
    """

    def __init__(
        self, statement: Prepared[In, Out], writer: BatchWriter[In, Out], *, flush: bool = True, max_batch: int = 256
    ) -> None:
        self._statement = statement
        self._writer = writer
        self._max_batch = max_batch
        self._link = Link(statement, flush=flush)
        self._keeper: asyncio.Task[None] | None = None
        self._waiting: deque[Job[In, Out]] = deque()
        self._running: list[Job[In, Out]] = []
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Set at the end, when nothing is queued any more.
        self._idle: asyncio.Event | None = None

    def start(self) -> None:
        """Start the writer, and connect."""
        self._loop = asyncio.get_running_loop()
        self._writer.start()
        self._keeper = self._loop.create_task(self._link.keep_up())

    async def stop(self, *, grace: float) -> None:
        """Write what is queued, for at most ``grace`` seconds, then close the connections."""
        deadline = clock.monotonic() + grace
        self._idle = asyncio.Event()
        if self._waiting or self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace)
        self._hand_over()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper], timeout=KEEPER_PATIENCE)
        await self._writer.stop(grace=max(0.1, deadline - clock.monotonic()))

    def submit(self, item: In) -> asyncio.Future[Out]:
        """Queue an item; the future has its result, StoreUnavailableError, or the error of its own data."""
        if self._loop is None or not self._link.is_up or len(self._waiting) >= self._writer.max_queue:
            return self._writer.submit(item)
        job = Job(item, self._loop.create_future())
        self._waiting.append(job)
        if self._timer is None and not self._running:
            self._flush()
        return job.future

    def submit_aside(self, item: In) -> asyncio.Future[Out]:
        """Queue an item that the statement would decline."""
        return self._writer.submit(item)

    def _flush(self) -> None:
        assert self._loop is not None  # noqa: S101  start() has set it
        self._timer = None
        if not self._link.is_up:
            self._hand_over()
            return
        batch = self._running = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
        statement = self._statement.for_size(len(batch))
        try:
            parameters = statement.parameters([job.item for job in batch])
        except Exception:
            log.exception("%s: a batch of %d could not be made; it goes the long way", statement.name, len(batch))
            parameters = None
        if parameters is None:
            self._running = []
            self._writer.take(batch)
            self._go_on(len(batch))
            return
        self._began = self._loop.time()
        self._stall = self._loop.call_later(STALL, self._give_up)
        self._link.run(statement, parameters, self._on_done)

    def _give_up(self) -> None:
        self._link.drop(TimeoutError(f"no answer within {STALL} s"))

    def _on_done(self, outcome: Rows | Exception) -> None:
        batch, self._running = self._running, []
        if self._stall is not None:
            self._stall.cancel()
        if isinstance(outcome, Exception):
            log.warning("%s: %d items go the long way: %s", self._statement.name, len(batch), str(outcome).strip())
            self._writer.take(batch, were_sent=True)
        else:
            self._deliver(batch, outcome)
        self._go_on(len(batch))

    def _deliver(self, batch: list[Job[In, Out]], rows: Rows) -> None:
        try:
            results = self._statement.answers([job.item for job in batch], rows)
        except Exception:
            log.exception("%s: an answer cannot be read; %d items go the long way", self._statement.name, len(batch))
            self._writer.take(batch, were_sent=True)
            return
        if results is None:
            self._writer.take(batch)
        else:
            self._writer.resolve(batch, results)

    def _go_on(self, size: int) -> None:
        """Begin the next batch if something waits: at once, or under load when the pace allows it."""
        assert self._loop is not None  # noqa: S101  start() has set it
        if not self._waiting:
            if self._idle is not None:
                self._idle.set()
            return
        if not self._link.is_up:
            self._hand_over()
        elif size >= BUSY:
            self._timer = self._loop.call_at(self._began + PACE, self._flush)
        else:
            # In the loop's next turn, so that all that asks in this one is in the batch.
            self._timer = self._loop.call_soon(self._flush)

    def _hand_over(self) -> None:
        """Let the writer have all that waits."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self._writer.take(waiting)
        if self._idle is not None and not self._running:
            self._idle.set()

    @property
    def is_crowded(self) -> bool:
        """Whether much waits to be written, here or in the writer's thread."""
        return self._writer.is_crowded or len(self._waiting) * 4 > self._writer.max_queue
