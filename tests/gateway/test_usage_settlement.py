"""Settlement: hold, ledger and usage event in one transaction; duplicates write nothing; late ones amend; sums agree."""

import datetime as dt
import logging
import uuid
from unittest import mock

import pytest
from django.db import connection

from accounts.models import Workspace
from billing.selectors.ledger import balance_of, broken_invariants
from billing.services import ledger
from billing.types import Admission, QuotaClaim, Settlement
from gateway import tasks
from gateway.models import UsageEvent
from gateway.selectors.usage import recent_requests
from gateway.selectors.usage_audit import unbilled_differences
from gateway.services import partitions
from gateway.services.settlement import settle_exchanges
from gateway.services.sweeping import sweep_expired_holds
from gateway.services.usage import record_usage
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.factories import fund, make_api_key, make_workspace
from tests.gateway.records import usage_record

pytestmark = pytest.mark.django_db
HOLD = 1_000


@pytest.fixture
def workspace() -> Workspace:
    """Make a workspace with one dollar."""
    row = make_workspace()
    fund(row, "1")
    return row


def admit(workspace: Workspace, *, amount: int = HOLD, ttl: float = 600.0, is_free: bool = False) -> uuid.UUID:
    """Admit a request and return its id."""
    request_id = uuid7()
    (admitted,) = ledger.admit(
        [
            Admission(
                request_id=request_id,
                workspace_id=workspace.pk,
                api_key_id=make_api_key(workspace).row.pk,
                model="sandbox/paid",
                amount=amount,
                floor=amount,
                ttl=ttl,
                quota=QuotaClaim(subject=f"u:{workspace.owner_id}", limit=25) if is_free else None,
            )
        ]
    )
    assert admitted.refusal is None
    return request_id


def pass_time(request_id: uuid.UUID) -> None:
    """Let a hold's time be over."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_hold SET expires_at = now() - interval '1 minute' WHERE id = %s", [request_id])


def test_a_settled_exchange_is_charged_and_recorded_with_the_same_number(workspace: Workspace) -> None:
    request_id = admit(workspace)
    record = usage_record(id=request_id, workspace_id=workspace.pk, charge=0)
    (settled,) = settle_exchanges([(Settlement(request_id, 700), record)])
    assert (settled.charge, settled.absorbed, settled.applied) == (700, 0, True)
    event = UsageEvent.objects.get(id=request_id)
    assert (event.charge, event.absorbed, event.status, event.output_tokens) == (700, 0, "ok", 8)
    assert balance_of(workspace.pk).posted == 1_000_000_000 - 700
    assert unbilled_differences() == []


def test_what_exceeds_the_hold_is_absorbed_and_says_so_on_the_event(workspace: Workspace) -> None:
    request_id = admit(workspace)
    settle_exchanges([(Settlement(request_id, HOLD + 5), usage_record(id=request_id, workspace_id=workspace.pk))])
    event = UsageEvent.objects.get(id=request_id)
    assert (event.charge, event.absorbed) == (HOLD, 5)
    assert unbilled_differences() == []


def test_a_duplicate_settlement_writes_nothing_and_tells_what_was_charged(workspace: Workspace) -> None:
    request_id = admit(workspace)
    record = usage_record(id=request_id, workspace_id=workspace.pk)
    settle_exchanges([(Settlement(request_id, 700), record)])
    (again,) = settle_exchanges([(Settlement(request_id, 900), usage_record(id=request_id, status="cut"))])
    assert (again.applied, again.charge) == (False, 700)
    assert UsageEvent.objects.get(id=request_id).status == "ok"
    assert balance_of(workspace.pk).posted == 1_000_000_000 - 700


def test_a_settlement_without_a_hold_records_nothing(workspace: Workspace) -> None:
    stranger = uuid7()
    (settled,) = settle_exchanges([(Settlement(stranger, 5), usage_record(id=stranger, workspace_id=workspace.pk))])
    assert settled.applied is False
    assert not UsageEvent.objects.exists()


def test_a_released_exchange_is_recorded_without_a_charge(workspace: Workspace) -> None:
    request_id = admit(workspace)
    record = usage_record(id=request_id, workspace_id=workspace.pk, status="released", http_status=502)
    (settled,) = settle_exchanges([(Settlement(request_id, None), record)])
    assert (settled.charge, settled.applied) == (0, True)
    assert UsageEvent.objects.get(id=request_id).charge == 0
    assert balance_of(workspace.pk).held == 0


def test_answers_come_in_the_order_of_the_items(workspace: Workspace) -> None:
    ids = [admit(workspace) for _ in range(5)]
    items = [
        (Settlement(request_id, number + 1), usage_record(id=request_id, workspace_id=workspace.pk))
        for number, request_id in enumerate(ids)
    ]
    settled = settle_exchanges([items[3], items[0], items[4], items[1], items[2]])
    assert [outcome.charge for outcome in settled] == [4, 1, 5, 2, 3]
    assert [outcome.request_id for outcome in settled] == [ids[n] for n in (3, 0, 4, 1, 2)]
    assert settle_exchanges([]) == []


@pytest.mark.django_db(transaction=True)
def test_if_the_usage_event_cannot_be_written_nothing_is_charged(workspace: Workspace) -> None:
    request_id = admit(workspace)
    bad = usage_record(id=request_id, workspace_id=workspace.pk, output_tokens=-1)
    with pytest.raises(Exception, match="output_tokens"):
        settle_exchanges([(Settlement(request_id, 700), bad)])
    balance = balance_of(workspace.pk)
    assert (balance.posted, balance.held) == (1_000_000_000, HOLD)
    settle_exchanges([(Settlement(request_id, 700), usage_record(id=request_id, workspace_id=workspace.pk))])
    assert balance_of(workspace.pk).posted == 1_000_000_000 - 700


def test_the_sweeper_closes_due_holds_and_records_them(workspace: Workspace) -> None:
    due, running, free = admit(workspace), admit(workspace), admit(workspace, amount=0, is_free=True)
    pass_time(due)
    pass_time(free)
    assert tasks.sweep_holds() == 2
    assert set(UsageEvent.objects.values_list("id", flat=True)) == {due, free}
    event = UsageEvent.objects.get(id=due)
    assert (event.status, event.charge, event.workspace_id, event.model) == ("expired", 0, workspace.pk, "sandbox/paid")
    assert (event.http_status, event.error_code, event.is_free) == (500, "hold_expired", False)
    assert UsageEvent.objects.get(id=free).is_free
    assert balance_of(workspace.pk).held == HOLD
    assert sweep_expired_holds() == 0
    assert not UsageEvent.objects.filter(id=running).exists()


def test_the_sweeper_goes_on_until_nothing_is_due(workspace: Workspace) -> None:
    for _ in range(5):
        pass_time(admit(workspace))
    assert sweep_expired_holds(limit=2) == 5
    assert UsageEvent.objects.count() == 5


def test_a_settlement_after_the_sweep_charges_and_amends_the_event(workspace: Workspace) -> None:
    request_id = admit(workspace)
    pass_time(request_id)
    sweep_expired_holds()
    (settled,) = settle_exchanges(
        [(Settlement(request_id, 700), usage_record(id=request_id, workspace_id=workspace.pk))]
    )
    assert (settled.applied, settled.charge) == (True, 700)
    event = UsageEvent.objects.get(id=request_id)
    assert (event.status, event.charge) == ("ok", 700)
    assert balance_of(workspace.pk).posted == 1_000_000_000 - 700
    assert unbilled_differences() == []
    assert broken_invariants() == []


def test_a_charge_that_the_ledger_never_took_is_a_difference(workspace: Workspace) -> None:
    record_usage([usage_record(workspace_id=workspace.pk, charge=9)])
    assert unbilled_differences() == [
        {
            "invariant": "usage_events_equal_usage_entries",
            "workspace_id": workspace.pk,
            "events": "9",
            "entries": "0",
        }
    ]


def test_an_entry_without_an_event_is_a_difference(workspace: Workspace) -> None:
    request_id = admit(workspace)
    ledger.settle([Settlement(request_id, 700)])
    (difference,) = unbilled_differences()
    assert (difference["events"], difference["entries"]) == ("0", "-700")


# --- requests on pages ------------------------------------------------------------------------------------------------


def test_recent_requests_are_the_workspaces_own_newest_first_page_by_page() -> None:
    ids = [uuid7() for _ in range(5)]
    record_usage(
        [usage_record(id=request_id, workspace_id=1, api_key_id=n) for n, request_id in enumerate(sorted(ids))]
    )
    record_usage([usage_record(workspace_id=2)])
    newest_first = sorted(ids, reverse=True)
    first = recent_requests(1, limit=3)
    assert [row.id for row in first] == newest_first[:3]
    assert [row.id for row in recent_requests(1, limit=3, before=first[-1].id)] == newest_first[3:]
    assert [row.api_key_id for row in recent_requests(1, limit=9, api_key_id=2)] == [2]
    assert (first[0].charge, first[0].output_tokens, first[0].status) == (18_000, 8, "ok")
    assert not hasattr(first[0], "upstream_id"), "an upstream is no business of a tenant's"


# --- tasks ------------------------------------------------------------------------------------------------------------


def existing_partitions() -> set[str]:
    """Return the names of the partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'gateway_usageevent'::regclass"
        )
        return {name for (name,) in cursor.fetchall()}


def test_partitions_are_made_three_months_ahead_and_once() -> None:
    november = dt.datetime(2031, 11, 30, tzinfo=dt.UTC)
    with mock.patch.object(clock, "now", return_value=november):
        assert tasks.make_partitions() == ["2031-11", "2031-12", "2032-01", "2032-02"]
        assert tasks.make_partitions() == []
    assert {"gateway_usageevent_203111", "gateway_usageevent_203202"} <= existing_partitions()


def test_a_month_that_cannot_have_its_partition_does_not_keep_the_others_from_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_december = int(dt.datetime(2031, 12, 5, tzinfo=dt.UTC).timestamp() * 1000)
    record_usage([usage_record(id=uuid.UUID(int=(in_december << 80) | (7 << 76) | (2 << 62)))])
    november = dt.datetime(2031, 11, 30, tzinfo=dt.UTC)
    with mock.patch.object(clock, "now", return_value=november), caplog.at_level(logging.ERROR):
        assert tasks.make_partitions() == ["2031-11", "2032-01", "2032-02"]
    assert "for 2031-12-01 cannot be made" in caplog.text


def test_an_event_lies_in_the_partition_of_its_month() -> None:
    record = usage_record()
    record_usage([record])
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM gateway_usageevent")
        assert cursor.fetchall() == [(f"gateway_usageevent_{dt.datetime.now(tz=dt.UTC):%Y%m}",)]
    assert partitions.default_partition_rows() == 0


def test_events_outside_of_every_partition_are_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    tasks.make_partitions()
    assert not caplog.records
    far = uuid.UUID(int=(0xFFFF_FFFF_FFFF << 80) | (7 << 76) | (2 << 62))
    record_usage([usage_record(id=far)])
    with caplog.at_level(logging.ERROR):
        tasks.make_partitions()
    assert "1 usage events are in the DEFAULT partition" in caplog.text


def test_a_wrong_roll_up_of_yesterday_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    assert tasks.check_rollups() == 0
    yesterday = clock.now().date() - dt.timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO gateway_dailyusage (workspace_id, api_key_id, model, day, requests, errors, input_tokens,"
            " cache_read_tokens, cache_write_tokens, output_tokens, charge) VALUES (1, 1, 'm', %s, 1, 0, 0, 0, 0, 0, 5)",
            [yesterday],
        )
    with caplog.at_level(logging.ERROR):
        assert tasks.check_rollups() == 1
    assert "does not add up" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_rolling_up_notes_when_keys_were_used_at_most_once_a_minute(workspace: Workspace) -> None:
    key = make_api_key(workspace).row
    at = clock.now() - dt.timedelta(minutes=10)

    def use(seconds: int) -> dt.datetime | None:
        record_usage([usage_record(api_key_id=key.pk, started_at=at + dt.timedelta(seconds=seconds))])
        deadline = clock.monotonic() + 30
        while tasks.aggregate_usage() == 0 and clock.monotonic() < deadline:
            pass
        key.refresh_from_db()
        return key.last_used_at

    assert use(0) == at
    assert use(59) == at, "less than a minute later it is not written"
    assert use(60) == at + dt.timedelta(seconds=60)
    assert use(-60) == at + dt.timedelta(seconds=60), "it never goes back"
