"""The lane on a real PostgreSQL: one round trip where it can be, the long way where it must be, and each item exactly once."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from django.db import connection

from billing.selectors.ledger import balance_of, open_holds
from billing.services import ledger
from billing.types import Admission, Admitted, Refusal, Settled, Settlement
from gateway.models import UsageEvent
from gateway.services.settlement import SETTLE, Ending, settle_exchanges
from gateway.store import lane as lanes
from gateway.store.lane import Lane
from gateway.store.writer import BatchWriter, StoreUnavailableError
from tests.billing.builders import Account, make_account
from tests.gateway.records import usage_record
from tests.gateway.test_store import Lock, eventually, in_thread

pytestmark = pytest.mark.django_db(transaction=True)


class Desk:
    """Both lanes of a store, and how many items went the long way."""

    def __init__(self) -> None:
        self.long_way: list[int] = []
        self.admissions = Lane(ledger.ADMIT, BatchWriter("test-admit", self._counting(ledger.admit), max_queue=1000))
        self.settlements = Lane(
            SETTLE, BatchWriter("test-settle", self._counting(settle_exchanges), max_queue=1000, keep_trying=True)
        )

    def _counting[In, Out](
        self, flush: Callable[[Sequence[In]], Sequence[Out]]
    ) -> Callable[[Sequence[In]], Sequence[Out]]:
        def counted(items: Sequence[In]) -> Sequence[Out]:
            self.long_way.append(len(items))
            return flush(items)

        return counted

    async def admit(self, admission: Admission) -> Admitted:
        """Ask for a hold."""
        return await self.admissions.submit(admission)

    def settle(self, admission: Admission, rated: int | None) -> asyncio.Future[Settled]:
        """End a request."""
        return self.settlements.submit(ending_of(admission, rated))


def ending_of(admission: Admission, rated: int | None) -> Ending:
    """Return the end of a request with its usage event."""
    record = usage_record(id=admission.request_id, workspace_id=admission.workspace_id, api_key_id=admission.api_key_id)
    return Settlement(admission.request_id, rated, admission), record


@pytest.fixture
def account() -> Account:
    """A workspace with 10,000 nano-USD."""
    made = make_account()
    made.fund(10_000)
    return made


@pytest.fixture
async def desk(account: Account) -> AsyncIterator[Desk]:
    """Both lanes, connected."""
    made = Desk()
    made.admissions.start()
    made.settlements.start()
    await eventually(lambda: made.admissions._link.is_up and made.settlements._link.is_up)
    yield made
    await made.admissions.stop(grace=5)
    await made.settlements.stop(grace=5)


async def test_usual_requests_never_leave_the_loop(desk: Desk, account: Account) -> None:
    asked = [account.request(100) for _ in range(40)]
    answers = await asyncio.gather(*map(desk.admit, asked))
    assert [answer.held for answer in answers] == [100] * 40
    settled = await asyncio.gather(*(desk.settle(one, 40) for one in asked))
    assert [one.charge for one in settled] == [40] * 40
    assert desk.long_way == []
    assert (await in_thread(lambda: balance_of(account.id))).posted == 10_000 - 40 * 40
    assert await in_thread(lambda: UsageEvent.objects.filter(charge=40).count()) == 40


async def test_what_needs_a_decision_goes_the_long_way(desk: Desk, account: Account) -> None:
    fits, too_dear = account.request(9_000), account.request(9_000)
    answers = await asyncio.gather(desk.admit(fits), desk.admit(too_dear))
    assert sorted(answer.refusal or "" for answer in answers) == ["", Refusal.INSUFFICIENT_CREDITS]
    assert desk.long_way == [1]
    assert (await desk.settle(fits, 9_000)).charge == 9_000
    again = await desk.settle(fits, 9_000)
    assert (again.charge, again.applied) == (9_000, False)


async def test_a_request_that_comes_twice_in_a_batch_is_settled_once(desk: Desk, account: Account) -> None:
    asked = account.request(100)
    await desk.admit(asked)
    first, second = await asyncio.gather(desk.settle(asked, 70), desk.settle(asked, 70))
    assert {first.applied, second.applied} == {True, False}
    assert (await in_thread(lambda: balance_of(account.id))).posted == 9_930


async def test_a_statement_that_hangs_is_given_up_and_written_once(
    desk: Desk, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "STALL", 0.2)
    asked = account.request(100)
    await desk.admit(asked)
    lock = await asyncio.to_thread(Lock, account.id)
    future = desk.settle(asked, 70)
    await eventually(lambda: desk.long_way == [1])
    assert not future.done()
    await asyncio.to_thread(lock.release)
    assert (await future).charge == 70
    await eventually(lambda: desk.settlements._link.is_up)
    assert (await in_thread(lambda: balance_of(account.id))).posted == 9_930
    assert await in_thread(lambda: UsageEvent.objects.count()) == 1
    assert await in_thread(lambda: open_holds(account.id)) == []


async def test_a_connection_that_is_cut_is_made_anew_and_nothing_is_lost(desk: Desk, account: Account) -> None:
    asked = [account.request(100) for _ in range(30)]
    await asyncio.gather(*map(desk.admit, asked))
    futures = [desk.settle(one, 70) for one in asked[:15]]
    await in_thread(_cut_all_others)
    futures += [desk.settle(one, 70) for one in asked[15:]]
    assert [settled.charge for settled in await asyncio.gather(*futures)] == [70] * 30
    assert (await in_thread(lambda: balance_of(account.id))).posted == 10_000 - 30 * 70
    await eventually(lambda: desk.settlements._link.is_up)
    before = len(desk.long_way)
    await desk.admit(account.request(10))
    await eventually(lambda: desk.admissions._link.is_up)
    assert (await desk.admit(account.request(10))).refusal is None
    assert len(desk.long_way) <= before + 1


def _cut_all_others() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%%_plain%%' AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize("part", ["parameters", "answers"])
async def test_a_bug_in_the_short_way_costs_nobody_an_answer(desk: Desk, account: Account, part: str) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    statement = desk.admissions._statement
    desk.admissions._statement = dataclasses.replace(statement, **{part: broken}, single=None)  # type: ignore[arg-type]
    asked = [account.request(10) for _ in range(5)]
    answers = await asyncio.gather(*map(desk.admit, asked))
    assert [answer.held for answer in answers] == [10] * 5
    assert sum(desk.long_way) == 5
    assert (await in_thread(lambda: balance_of(account.id))).held == 50
    assert (await desk.settle(asked[0], 5)).charge == 5


async def test_what_waits_is_bounded_and_the_rest_is_refused(desk: Desk, account: Account) -> None:
    asked = [account.request(10) for _ in range(20)]
    await asyncio.gather(*map(desk.admit, asked))
    desk.settlements._writer.max_queue = 3
    lock = await asyncio.to_thread(Lock, account.id)
    futures = [desk.settle(one, 5) for one in asked]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(lock.release)
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    charged = [outcome for outcome in outcomes if isinstance(outcome, Settled)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailableError)]
    # One is being written and three wait here; the writer's thread has some, and three wait there.
    assert len(charged) + len(refused) == 20
    assert 7 <= len(charged) <= 12
    assert (await in_thread(lambda: balance_of(account.id))).posted == 10_000 - 5 * len(charged)
    desk.settlements._writer.max_queue = 1000
    await asyncio.gather(*(desk.settle(one, 5) for one in asked))


async def test_without_a_connection_the_writer_does_it_all(account: Account) -> None:
    desk = Desk()
    desk.admissions._writer.start()
    desk.admissions._loop = asyncio.get_running_loop()
    assert (await desk.admit(account.request(100))).held == 100
    assert desk.long_way == [1]
    await desk.admissions.stop(grace=5)


async def test_before_its_start_it_refuses(account: Account) -> None:
    with pytest.raises(StoreUnavailableError):
        await Desk().admit(account.request(1))


async def test_stop_writes_what_is_queued(desk: Desk, account: Account) -> None:
    asked = [account.request(10) for _ in range(300)]
    await asyncio.gather(*map(desk.admit, asked))
    futures = [desk.settle(one, 5) for one in asked]
    await desk.settlements.stop(grace=5)
    assert all(future.done() for future in futures)
    assert (await in_thread(lambda: balance_of(account.id))).posted == 10_000 - 300 * 5
