"""The batching writer: groups what waits, refuses or keeps during an outage, and lets no item pay for another's data."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from django.db import DataError, OperationalError

from gateway.store.writer import BatchWriter, Job, StoreUnavailableError


class Flush:
    """A flush under the test's control: blocks until released, fails as told, remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.poison: int | None = None

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.entered.set()
        self.gate.wait(5)
        self.batches.append(list(items))
        if self.failures:
            raise self.failures.pop(0)
        if self.poison in items:
            raise DataError("this item's data is bad")
        return [item * 10 for item in items]


@pytest.fixture
async def flush() -> Flush:
    """A flush that answers ten times its item."""
    return Flush()


type Make = Callable[..., BatchWriter[int, int]]


@pytest.fixture
async def make(flush: Flush) -> AsyncIterator[Make]:
    """Make a started writer; it is stopped after the test."""
    made: list[BatchWriter[int, int]] = []

    def start(**options: object) -> BatchWriter[int, int]:
        writer = BatchWriter("test", flush, **{"max_queue": 1000, **options})  # type: ignore[arg-type]
        writer.start()
        made.append(writer)
        return writer

    yield start
    flush.gate.set()
    for writer in made:
        await writer.stop(grace=5)


async def test_what_waits_during_a_flush_goes_into_the_next_one(flush: Flush, make: Make) -> None:
    writer = make()
    flush.gate.clear()
    first = writer.submit(0)
    await asyncio.to_thread(flush.entered.wait, 5)
    others = [writer.submit(number) for number in range(1, 50)]
    flush.gate.set()
    assert await asyncio.gather(first, *others) == [number * 10 for number in range(50)]
    assert flush.batches == [[0], list(range(1, 50))]


async def test_a_batch_is_never_larger_than_its_limit(flush: Flush, make: Make) -> None:
    writer = make(max_batch=8)
    flush.gate.clear()
    futures = [writer.submit(number) for number in range(30)]
    flush.gate.set()
    await asyncio.gather(*futures)
    assert max(map(len, flush.batches)) <= 8
    assert [item for batch in flush.batches for item in batch] == list(range(30))


async def test_one_broken_connection_is_not_noticed(flush: Flush, make: Make) -> None:
    writer = make()
    flush.failures = [OperationalError("the connection is closed")]
    assert await writer.submit(1) == 10


async def test_an_outage_refuses_what_may_not_wait(flush: Flush, make: Make) -> None:
    given_up: list[tuple[int, int | None]] = []
    writer = make(abandoned=lambda item, result: given_up.append((item, result)))
    flush.failures = [OperationalError("away"), OperationalError("away")]
    with pytest.raises(StoreUnavailableError):
        await writer.submit(7)
    # Nobody knows whether its commit arrived.
    assert given_up == [(7, None)]


async def test_an_outage_keeps_what_must_not_be_lost(flush: Flush, make: Make) -> None:
    writer = make(keep_trying=True)
    flush.failures = [OperationalError("away") for _ in range(5)]
    assert await writer.submit(3) == 30
    assert len(flush.batches) == 6


async def test_bad_data_of_one_item_fails_that_item_alone(flush: Flush, make: Make) -> None:
    writer = make()
    flush.gate.clear()
    first = writer.submit(0)
    await asyncio.to_thread(flush.entered.wait, 5)
    flush.poison = 3
    futures = [writer.submit(number) for number in (2, 3, 4)]
    flush.gate.set()
    await first
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert results[0] == 20
    assert isinstance(results[1], DataError)
    assert results[2] == 40


async def test_a_full_queue_refuses_at_once(flush: Flush, make: Make) -> None:
    writer = make(max_queue=2)
    flush.gate.clear()
    running = writer.submit(0)
    await asyncio.to_thread(flush.entered.wait, 5)
    kept = [writer.submit(1), writer.submit(2)]
    with pytest.raises(StoreUnavailableError, match="full"):
        await writer.submit(3)
    flush.gate.set()
    assert await asyncio.gather(running, *kept) == [0, 10, 20]


async def test_newcomers_are_refused_while_a_flush_hangs(flush: Flush, make: Make) -> None:
    writer = make(stall=0.05)
    flush.gate.clear()
    hanging = writer.submit(0)
    await asyncio.sleep(0.1)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        await writer.submit(1)
    flush.gate.set()
    assert await hanging == 0
    assert await writer.submit(2) == 20


async def test_an_item_that_nobody_waits_for_any_more_is_reported_with_its_result(flush: Flush, make: Make) -> None:
    given_up: list[tuple[int, int | None]] = []
    writer = make(abandoned=lambda item, result: given_up.append((item, result)))
    flush.gate.clear()
    future = writer.submit(5)
    await asyncio.to_thread(flush.entered.wait, 5)
    future.cancel()
    flush.gate.set()
    assert await writer.submit(6) == 60
    assert given_up == [(5, 50)]


async def test_stop_writes_what_is_queued(flush: Flush, make: Make) -> None:
    writer = make()
    flush.gate.clear()
    futures = [writer.submit(number) for number in range(5)]
    flush.gate.set()
    await writer.stop(grace=5)
    assert [future.result() for future in futures] == [0, 10, 20, 30, 40]


async def test_what_was_never_queued_is_refused_and_not_abandoned(flush: Flush, make: Make) -> None:
    given_up: list[int] = []
    writer = make(max_queue=1, abandoned=lambda item, _: given_up.append(item))
    flush.gate.clear()
    futures = [writer.submit(number) for number in range(10)]
    flush.gate.set()
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert sum(isinstance(outcome, StoreUnavailableError) for outcome in outcomes) >= 7
    assert given_up == []


async def test_what_may_have_been_written_is_abandoned_where_there_is_no_room(flush: Flush, make: Make) -> None:
    given_up: list[int] = []
    writer = make(max_queue=0, abandoned=lambda item, _: given_up.append(item))
    job = Job[int, int](7, asyncio.get_running_loop().create_future())
    writer.take([job], were_sent=True)
    with pytest.raises(StoreUnavailableError):
        await job.future
    assert given_up == [7]
