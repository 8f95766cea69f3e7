"""Whole months of old usage events are dropped, never one that is still needed; sums and ledger entries stay."""

import datetime as dt
import logging
import secrets
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from billing.models import LedgerEntry
from billing.selectors.books import books_hash
from billing.services import ledger
from billing.types import Settlement
from gateway import tasks
from gateway.models import DailyUsage, DroppedUsage, HourlyUsage, UsageEvent, UsageWatermark
from gateway.protocols.receipt import DetailsGoneError
from gateway.selectors.charge_audit import audit_charges
from gateway.selectors.receipts import receipt_of
from gateway.selectors.usage import totals_of
from gateway.selectors.usage_audit import unbilled_differences
from gateway.selectors.usage_retention import details_are_gone, first_id_kept, oldest_month_kept
from gateway.services.partitions import make_partitions, month_after
from gateway.services.retention import drop_old_usage
from gateway.services.rollups import rebuild
from gateway.services.settlement import settle_exchanges
from gateway.services.usage import record_usage
from lumyx.lib import clock
from tests.billing.builders import Account, make_account, run_sql
from tests.gateway.records import usage_record
from tests.gateway.test_usage_rollups import record, roll_up_all

pytestmark = pytest.mark.django_db(transaction=True)
MONTHS = [dt.date(2024, 1, 1), dt.date(2024, 2, 1), dt.date(2024, 3, 1)]
WORDS = [f"{month:%Y-%m}" for month in MONTHS]


def exists(month: dt.date) -> bool:
    """Tell whether a month has its partition."""
    return run_sql("SELECT to_regclass(%s) IS NOT NULL", f"gateway_usageevent_{month:%Y%m}") == [(True,)]


def id_at(at: dt.datetime) -> uuid.UUID:
    """Make the id that a request of that moment has."""
    return uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | secrets.randbits(60))


def moment(month: dt.date, day: int = 10) -> dt.datetime:
    """Return noon of a day of the month."""
    return dt.datetime.combine(month.replace(day=day), dt.time(12), tzinfo=dt.UTC)


def old_record(month: dt.date, **values: Any) -> Any:
    """Return a record of a request of that month."""
    return usage_record(id=id_at(moment(month)), started_at=moment(month), **values)


def spend(account: Account, at: dt.datetime, charge: int) -> uuid.UUID:
    """Let a request of that moment be admitted, settled and recorded."""
    request = account.request(charge)
    request = type(request)(
        **{name: getattr(request, name) for name in request.__struct_fields__} | {"request_id": id_at(at)}
    )
    ledger.admit([request])
    event = usage_record(id=request.request_id, workspace_id=account.id, started_at=at)
    settle_exchanges([(Settlement(request.request_id, charge), event)])
    return request.request_id


@pytest.fixture(autouse=True)
def old_partitions(settings: Any) -> Iterator[None]:
    """Give three months of 2024 their partitions, and keep one month only."""
    settings.LUMYX_USAGE_RETENTION_MONTHS = 1
    for month in MONTHS:
        run_sql("SELECT gateway_make_usage_partition(%s)", month)
    yield
    with connection.cursor() as cursor:
        for month in MONTHS:
            cursor.execute(f"DROP TABLE IF EXISTS gateway_usageevent_{month:%Y%m}")


def test_whole_old_months_go_and_sums_and_the_ledger_stay() -> None:
    account = make_account()
    account.fund(1_000)
    gone = [spend(account, moment(month), 10 + number) for number, month in enumerate(MONTHS)]
    kept = spend(account, clock.now(), 100)
    roll_up_all()
    before, totals = books_hash(), totals_of(account.id)
    assert tasks.drop_old_usage() == WORDS
    assert [exists(month) for month in MONTHS] == [False, False, False]
    assert list(UsageEvent.objects.values_list("id", flat=True)) == [kept]
    assert books_hash() == before
    assert LedgerEntry.objects.filter(kind="usage").count() == 4
    assert totals_of(account.id) == totals
    assert DailyUsage.objects.count() == HourlyUsage.objects.count() == 4
    assert unbilled_differences() == [], "what is gone is no difference"
    assert [details_are_gone(one) for one in (*gone, kept)] == [True, True, True, False]
    audit = audit_charges(account.id)
    assert {row["subject"] for row in audit.wrong} <= {str(kept)}, "what is gone is not looked for"
    with pytest.raises(DetailsGoneError, match="are not kept any more"):
        receipt_of(account.id, request_id=gone[0])
    assert receipt_of(account.id, request_id=kept) is not None
    assert tasks.drop_old_usage() == []


def test_charges_of_kept_months_are_still_compared_with_the_ledger() -> None:
    account = make_account()
    account.fund(1_000)
    spend(account, moment(MONTHS[0]), 10)
    kept = spend(account, clock.now(), 100)
    roll_up_all()
    drop_old_usage()
    UsageEvent.objects.filter(id=kept).update(charge=99)
    assert [(row["events"], row["entries"]) for row in unbilled_differences()] == [("99", "-100")]


def test_without_the_setting_nothing_goes(settings: Any) -> None:
    settings.LUMYX_USAGE_RETENTION_MONTHS = 0
    assert drop_old_usage() == []
    assert all(exists(month) for month in MONTHS)
    assert oldest_month_kept() is None
    assert not details_are_gone(id_at(moment(MONTHS[0])))


def test_the_months_before_the_present_one_that_the_setting_names_stay(settings: Any) -> None:
    today = clock.now().date()
    age = (today.year - MONTHS[1].year) * 12 + today.month - MONTHS[1].month
    settings.LUMYX_USAGE_RETENTION_MONTHS = age
    assert drop_old_usage() == WORDS[:1]
    assert [exists(month) for month in MONTHS] == [False, True, True]
    assert oldest_month_kept() == MONTHS[1]
    edge = dt.datetime(2024, 2, 1, tzinfo=dt.UTC)
    assert details_are_gone(id_at(edge - dt.timedelta(milliseconds=1)))
    assert not details_are_gone(id_at(edge))
    assert run_sql("SELECT gateway_uuid7_floor(%s)", edge) == [(first_id_kept(),)]


def test_the_present_and_the_next_months_are_never_dropped() -> None:
    make_partitions()
    drop_old_usage()
    assert all(exists(month_after(clock.now().date(), ahead)) for ahead in range(-1, 4))


def test_a_month_whose_events_are_not_rolled_up_stays_and_keeps_the_younger_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(old_record(MONTHS[0]))
    roll_up_all()
    record(old_record(MONTHS[1]))
    with caplog.at_level(logging.WARNING):
        assert drop_old_usage() == WORDS[:1]
    assert (
        "2024-02 are older than is kept, but stay until the next run: not all of them are in the roll-ups"
        in caplog.text
    )
    assert [exists(month) for month in MONTHS] == [False, True, True]
    roll_up_all()
    assert drop_old_usage() == WORDS[1:]
    assert totals_of(1).requests == 2


def test_a_month_with_an_amendment_that_is_not_rolled_up_stays() -> None:
    expired = old_record(MONTHS[0], status="expired", charge=0)
    record(expired)
    roll_up_all()
    record(usage_record(id=expired.id, charge=40, started_at=expired.started_at))
    assert drop_old_usage() == []
    roll_up_all()
    assert drop_old_usage() == WORDS
    assert totals_of(1).charge == 40


def test_a_month_with_an_open_request_stays() -> None:
    account = make_account()
    account.fund(100)
    run_sql(
        "UPDATE billing_wallet SET held = held + 7 WHERE workspace_id = %s",
        account.id,
    )
    request_id = id_at(moment(MONTHS[1]))
    run_sql(
        "INSERT INTO billing_hold (id, wallet_id, amount, expires_at, model) VALUES (%s, %s, 7, now() + interval '1 day', 'x')",
        request_id,
        account.id,
    )
    assert drop_old_usage() == WORDS[:1]
    ledger.settle([Settlement(request_id, None)])
    assert drop_old_usage() == WORDS[1:]


def test_after_a_restore_into_a_new_cluster_nothing_goes_until_the_rebuild() -> None:
    record(old_record(MONTHS[0]))
    roll_up_all()
    UsageWatermark.objects.update(xid=2**60)
    assert drop_old_usage() == []
    rebuild()
    roll_up_all()
    assert drop_old_usage() == WORDS


def test_a_writer_that_has_not_committed_is_waited_for_and_then_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    written, may_commit = threading.Event(), threading.Event()

    def work() -> None:
        with transaction.atomic():
            record_usage([old_record(MONTHS[0])])
            written.set()
            may_commit.wait(30)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert written.wait(10)
    try:
        with caplog.at_level(logging.WARNING):
            assert drop_old_usage() == []
        assert "a long transaction" in caplog.text or "not all of them are in the roll-ups" in caplog.text
        assert exists(MONTHS[0])
    finally:
        may_commit.set()
        thread.join(30)
    assert drop_old_usage() == [], "the roll-up has not seen it"
    roll_up_all()
    assert drop_old_usage() == WORDS
    assert totals_of(1).requests == 1


def test_two_workers_at_once_drop_each_month_once() -> None:
    failures: list[BaseException] = []
    gate = threading.Barrier(3)

    def work() -> None:
        try:
            gate.wait(10)
            drop_old_usage()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    drop_old_usage()  # what one that ran into a lock left for the next day
    assert sorted(DroppedUsage.objects.values_list("month", flat=True)) == MONTHS


def test_the_default_partition_and_what_is_in_it_stay() -> None:
    stray = usage_record(id=id_at(dt.datetime(2021, 5, 5, tzinfo=dt.UTC)))
    record(stray)
    roll_up_all()
    assert drop_old_usage() == WORDS
    assert UsageEvent.objects.get().id == stray.id
    assert run_sql("SELECT count(*) FROM gateway_usageevent_default") == [(1,)]


def test_a_rebuild_keeps_the_sums_of_dropped_months_and_doubles_nothing_at_their_edge() -> None:
    midnight = dt.datetime(2024, 4, 1, tzinfo=dt.UTC)
    run_sql("SELECT gateway_make_usage_partition(%s)", midnight.date())
    try:
        record(old_record(MONTHS[2], charge=5))
        last = midnight - dt.timedelta(hours=12)
        record(usage_record(id=id_at(last), started_at=last, charge=7))
        # It came before midnight and got its id after it: its event is kept, its day's others are not.
        record(usage_record(id=id_at(midnight), started_at=midnight - dt.timedelta(milliseconds=3), charge=1))
        roll_up_all()
        DroppedUsage.objects.bulk_create([DroppedUsage(month=month) for month in MONTHS])
        for month in MONTHS:
            run_sql(f"DROP TABLE gateway_usageevent_{month:%Y%m}")
        before = (totals_of(1), sorted(DailyUsage.objects.values_list("day", "requests", "charge")))
        assert rebuild() == 1
        roll_up_all()
        assert (totals_of(1), sorted(DailyUsage.objects.values_list("day", "requests", "charge"))) == before
        record(usage_record(charge=2))
        roll_up_all()
        assert totals_of(1).charge == before[0].charge + 2
    finally:
        run_sql("DROP TABLE gateway_usageevent_202404")
