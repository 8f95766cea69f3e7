"""Roll-ups are exact: under late commits, two workers, amendments, and a transaction that stays open; readers see the tail."""

import datetime as dt
import io
import json
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction

from gateway.models import DailyUsage, HourlyUsage, UsageWatermark
from gateway.selectors.patience import patient_cursor
from gateway.selectors.usage import totals_of, usage_by_day_and_model, usage_by_key
from gateway.selectors.usage_audit import rollup_differences
from gateway.services.rollups import WatermarkAheadError, roll_up
from gateway.services.usage import UsageRecord, record_usage
from lumyx.lib.ids import uuid7
from tests.gateway.records import NOON, expired_record, usage_record

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = dt.timedelta(hours=1)
type OpenTransaction = Callable[[UsageRecord], Callable[[], None]]


def record(*records: UsageRecord) -> None:
    """Write events in a transaction of their own."""
    with transaction.atomic():
        record_usage(records)


def roll_up_all() -> int:
    """Roll up until everything that is committed is counted; other databases of the cluster may hold it up for a moment."""
    counted, deadline = 0, time.monotonic() + 60
    while True:
        counted += roll_up()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM gateway_usageevent WHERE greatest(committed_xid, amended_xid) >="
                " (SELECT xid FROM gateway_usagewatermark)::text::xid8"
            )
            if cursor.fetchone() == (0,):
                return counted
        assert time.monotonic() < deadline, "a transaction somewhere in the cluster has been open for a minute"
        time.sleep(0.05)


def in_thread(work: Callable[[], None]) -> threading.Thread:
    """Run on a connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def open_transaction() -> Iterator[OpenTransaction]:
    """Give a function that writes an event in a transaction that stays open, and returns the function that commits it."""
    threads: list[tuple[threading.Thread, threading.Event]] = []

    def start(event: UsageRecord) -> Callable[[], None]:
        written, may_commit = threading.Event(), threading.Event()

        def work() -> None:
            with transaction.atomic():
                record_usage([event])
                written.set()
                may_commit.wait(30)

        thread = in_thread(work)
        assert written.wait(10)
        threads.append((thread, may_commit))

        def commit() -> None:
            may_commit.set()
            thread.join(30)

        return commit

    yield start
    for thread, may_commit in threads:
        may_commit.set()
        thread.join(30)


def test_events_are_summed_by_hour_day_key_and_model() -> None:
    record(
        usage_record(),
        usage_record(charge=2, started_at=NOON + dt.timedelta(minutes=59, seconds=59)),
        usage_record(started_at=NOON + HOUR),
        usage_record(api_key_id=None),
        usage_record(model="sandbox/echo", charge=0),
        usage_record(workspace_id=2),
    )
    assert roll_up_all() == 6
    hourly = HourlyUsage.objects.get(workspace_id=1, api_key_id=10, model="sandbox/paid", hour=NOON)
    assert (hourly.requests, hourly.charge, hourly.input_tokens, hourly.output_tokens) == (2, 18_002, 24, 16)
    assert (hourly.cache_read_tokens, hourly.cache_write_tokens, hourly.errors) == (4, 2, 0)
    assert HourlyUsage.objects.count() == 5
    daily = DailyUsage.objects.get(workspace_id=1, api_key_id=10, model="sandbox/paid")
    assert (daily.day, daily.requests, daily.charge) == (NOON.date(), 3, 36_002)
    assert DailyUsage.objects.filter(workspace_id=1, api_key_id=0).count() == 1
    assert rollup_differences(NOON.date()) == []


@pytest.mark.parametrize(
    ("status", "http_status", "errors"),
    [
        ("ok", 200, 0),
        ("client_closed", 499, 0),
        ("client_closed", 200, 0),
        ("cut", 200, 1),
        ("upstream_error", 502, 1),
        ("released", 502, 1),
        ("released", 400, 1),
        ("released", 200, 0),
        ("expired", 500, 1),
    ],
)
def test_what_counts_as_an_error(status: str, http_status: int, errors: int) -> None:
    record(usage_record(status=status, http_status=http_status))
    assert totals_of(1).errors == errors
    roll_up_all()
    assert totals_of(1).errors == errors
    assert DailyUsage.objects.get().errors == errors


def test_rolling_up_again_adds_nothing() -> None:
    record(usage_record())
    roll_up_all()
    assert roll_up() == 0
    assert HourlyUsage.objects.get().requests == 1


def test_a_second_run_adds_to_the_same_rows() -> None:
    record(usage_record(charge=1))
    roll_up_all()
    record(usage_record(charge=2))
    roll_up_all()
    assert HourlyUsage.objects.get().charge == DailyUsage.objects.get().charge == 3


def test_an_event_with_an_older_transaction_that_commits_later_is_not_lost(open_transaction: OpenTransaction) -> None:
    commit_older = open_transaction(usage_record(charge=1))
    record(usage_record(charge=2))  # a younger transaction, committed first
    roll_up()
    assert not HourlyUsage.objects.exists(), "the window must end below the open transaction"
    assert totals_of(1).charge == 2, "readers see the tail"
    commit_older()
    assert totals_of(1).charge == 3
    roll_up_all()
    assert (HourlyUsage.objects.get().requests, HourlyUsage.objects.get().charge) == (2, 3)


def test_a_charge_shows_at_once_and_is_never_counted_twice() -> None:
    record(usage_record(charge=5))
    before = totals_of(1)
    roll_up_all()
    assert totals_of(1) == before
    record(usage_record(charge=6))
    assert (totals_of(1).requests, totals_of(1).charge) == (2, 11)


@pytest.mark.parametrize("rolled_before_amendment", [True, False])
def test_an_amended_event_is_counted_once_with_its_real_numbers(rolled_before_amendment: bool) -> None:
    expired = expired_record()
    record(expired)
    if rolled_before_amendment:
        roll_up_all()
    assert (totals_of(1).requests, totals_of(1).errors, totals_of(1).charge) == (1, 1, 0)
    record(usage_record(id=expired.id, charge=40, started_at=NOON + HOUR))
    tail = totals_of(1)
    assert (tail.requests, tail.errors, tail.charge, tail.output_tokens) == (1, 0, 40, 8)
    roll_up_all()
    assert totals_of(1) == tail
    row = HourlyUsage.objects.get()
    assert (row.hour, row.requests, row.errors, row.charge) == (NOON, 1, 0, 40)
    assert rollup_differences(NOON.date()) == []


def test_an_amendment_is_exact_when_the_roll_up_ran_between_its_transaction_and_its_commit(
    open_transaction: OpenTransaction,
) -> None:
    expired = expired_record()
    record(expired)
    commit = open_transaction(usage_record(id=expired.id, charge=40))
    record(usage_record(charge=1))
    roll_up()
    assert totals_of(1).charge == 1
    commit()
    assert (totals_of(1).requests, totals_of(1).errors, totals_of(1).charge) == (2, 0, 41)
    roll_up_all()
    assert (totals_of(1).requests, totals_of(1).errors, totals_of(1).charge) == (2, 0, 41)
    assert rollup_differences(NOON.date()) == []


def test_two_workers_and_writers_that_commit_out_of_order_lose_and_double_nothing() -> None:
    expired = [expired_record() for _ in range(60)]
    record(*expired)
    stop = threading.Event()

    def write(seed: int) -> Callable[[], None]:
        def work() -> None:
            order = random.Random(seed)
            for number in range(30):
                with transaction.atomic():
                    record_usage([usage_record(charge=1, started_at=NOON + order.choice((0, 1, 2)) * HOUR)])
                    if number % 2:
                        record_usage([usage_record(id=expired[seed * 15 + number // 2].id, charge=1)])
                    time.sleep(order.random() / 200)

        return work

    def roll() -> None:
        while not stop.is_set():
            roll_up()

    rollers = [in_thread(roll), in_thread(roll)]
    writers = [in_thread(write(seed)) for seed in range(4)]
    seen = [totals_of(1).requests]
    while any(writer.is_alive() for writer in writers):
        seen.append(totals_of(1).requests)
    stop.set()
    for thread in writers + rollers:
        thread.join(60)
    assert seen == sorted(seen), "a reader never sees the count fall"
    roll_up_all()
    assert (totals_of(1).requests, totals_of(1).charge, totals_of(1).errors) == (180, 180, 0)
    assert sum(HourlyUsage.objects.values_list("requests", flat=True)) == 180
    assert rollup_differences(NOON.date()) == []


def test_a_roll_up_that_fails_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    record(usage_record())
    roll_up_all()
    before = UsageWatermark.objects.get().xid
    record(usage_record())
    monkeypatch.setattr("gateway.services.rollups._ROLL", "SELECT 1/0, now(), 0")
    with pytest.raises(Exception, match="division by zero"):
        roll_up()
    assert UsageWatermark.objects.get().xid == before
    monkeypatch.undo()
    roll_up_all()
    assert totals_of(1).requests == 2


def test_a_wrong_roll_up_is_found_by_recounting() -> None:
    record(usage_record())
    roll_up_all()
    HourlyUsage.objects.update(charge=1)
    found = rollup_differences(NOON.date())
    assert found == [{"rollup": "hourly", "workspace_id": 1, "api_key_id": 10, "model": "sandbox/paid"}]
    DailyUsage.objects.all().delete()
    assert [difference["rollup"] for difference in rollup_differences(NOON.date())] == ["daily", "hourly"]


def test_days_are_days_of_utc_and_the_range_includes_both_ends() -> None:
    midnight = NOON.replace(hour=0)
    record(
        usage_record(started_at=midnight - dt.timedelta(microseconds=1), charge=1),
        usage_record(started_at=midnight, charge=2),
        usage_record(started_at=midnight + dt.timedelta(days=1), charge=4),
    )
    for _ in ("tail", "rolled"):
        today = usage_by_day_and_model(1, start=NOON.date(), end=NOON.date())
        assert [(row.day, row.model, row.totals.charge) for row in today] == [(NOON.date(), "sandbox/paid", 2)]
        both = usage_by_day_and_model(1, start=NOON.date() - dt.timedelta(days=1), end=NOON.date())
        assert [row.totals.charge for row in both] == [2, 1]
        assert totals_of(1, start=NOON.date()).charge == 6
        roll_up_all()


def test_usage_of_other_workspaces_is_not_seen() -> None:
    record(usage_record(workspace_id=1), usage_record(workspace_id=2, api_key_id=20, id=uuid7()))
    for _ in ("tail", "rolled"):
        assert totals_of(1).requests == 1
        assert usage_by_key(1).keys() == {10}
        assert usage_by_day_and_model(3, start=NOON.date(), end=NOON.date()) == []
        assert totals_of(3).requests == 0
        roll_up_all()


def test_a_roll_up_that_has_much_to_catch_up_with_is_not_cut_by_the_limit_of_requests() -> None:
    record(usage_record())
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '1ms'")
        # It would be too short for anything that reads a table of events.
        with pytest.raises(OperationalError, match="statement timeout"):
            cursor.execute("SELECT pg_sleep(0.01)")
    try:
        with patient_cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01)")
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("10min",)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")


def test_after_a_restore_into_a_new_cluster_the_roll_up_stops_and_a_rebuild_makes_it_exact() -> None:
    expired = expired_record()
    record(expired, usage_record(charge=1))
    record(usage_record(id=expired.id, charge=40))
    roll_up_all()
    DailyUsage.objects.create(workspace_id=1, api_key_id=10, model="old", day=dt.date(2020, 1, 1), charge=7)
    # The watermark of a cluster that was far ahead of this one.
    UsageWatermark.objects.update(xid=2**60)
    record(usage_record(charge=2))
    with pytest.raises(WatermarkAheadError, match=r"manage\.py usage rebuild"):
        roll_up()
    assert totals_of(1, start=NOON.date()).charge == 41, "what came since is not seen"
    out = io.StringIO()
    call_command("usage", "rebuild", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"events": 3}
    assert (totals_of(1, start=NOON.date()).charge, totals_of(1, start=NOON.date()).requests) == (43, 3)
    roll_up_all()
    assert HourlyUsage.objects.get().charge == 43
    assert totals_of(1).charge == 43 + 7, "days whose events are gone keep their sums"
    assert rollup_differences(NOON.date()) == []
    record(usage_record(charge=3))
    roll_up_all()
    assert totals_of(1).charge == 46 + 7
