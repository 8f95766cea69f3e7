"""The nightly checks of usage and the books: silent when all is right, and each finds what is its own to find."""

import datetime as dt
import random
import uuid
from copy import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from billing.models import CreditGrant, DailyQuota, Hold, LedgerEntry
from billing.selectors.books import rows_of_books
from billing.services import ledger
from billing.types import Settlement
from gateway.models import DailyUsage, UsageEvent
from gateway.selectors.usage_books import books_by_day
from gateway.services.reconciliation import CHECKS, SWEEPER_SLACK, Check, usage_checks
from gateway.services.settlement import settle_exchanges
from lumyx.lib import clock
from tests.billing.builders import Account, make_account, run_sql
from tests.gateway.records import usage_record
from tests.gateway.test_usage_rollups import roll_up_all

pytestmark = pytest.mark.django_db(transaction=True)
DAY = dt.timedelta(days=1)
MILLISECOND = dt.timedelta(milliseconds=1)


def midnight() -> dt.datetime:
    """Return when this UTC day began."""
    return clock.now().replace(hour=0, minute=0, second=0, microsecond=0)


def spend(account: Account, at: dt.datetime, charge: int, *, started_at: dt.datetime | None = None) -> uuid.UUID:
    """Let a request whose id is of that moment be admitted, settled and recorded."""
    number = (round(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | random.getrandbits(60)
    request = replace(account.request(charge), request_id=uuid.UUID(int=number))
    ledger.admit([request])
    event = usage_record(id=request.request_id, workspace_id=account.id, started_at=started_at or at)
    settle_exchanges([(Settlement(request.request_id, charge), event)])
    return request.request_id


@pytest.fixture
def account() -> Account:
    """Give a workspace with credit, and a request on each of four days."""
    made = make_account()
    made.fund(1_000_000)
    for days in range(4):
        spend(made, midnight() - days * DAY + dt.timedelta(hours=1), 10 + days)
    roll_up_all()
    return made


def checks() -> dict[str, Check]:
    """Run all, by name."""
    return {check.name: check for check in usage_checks()}


def wrong() -> dict[str, list[str]]:
    """Return what they found, by name; checks that found nothing are left out."""
    return {check.name: check.wrong for check in usage_checks() if check.wrong}


def test_right_books_pass_every_check_and_each_says_how_much_it_looked_at(account: Account) -> None:
    request = account.request(5)
    ledger.admit([request])
    assert [type(check) for check in usage_checks()] == [Check] * len(CHECKS)
    assert {name: (check.looked_at, check.wrong) for name, check in checks().items()} == {
        "ledger_invariants": (rows_of_books(), []),
        "usage_charges_are_entries": (3, []),
        "holds_are_closed_in_time": (1, []),
        "rollups_are_events": (1, []),
    }
    sizes = [model.objects.count() for model in (LedgerEntry, CreditGrant, Hold, DailyQuota)]
    assert rows_of_books() == sum(sizes) > 0


def test_an_empty_installation_has_nothing_wrong() -> None:
    assert wrong() == {}


@pytest.mark.breaks_the_books
def test_a_broken_invariant_is_told(account: Account) -> None:
    run_sql("UPDATE billing_wallet SET posted = posted + 1 WHERE workspace_id = %s", account.id)
    found = wrong()
    assert found.keys() == {"ledger_invariants"}
    assert any(f"wallet {account.id}" in line for line in found["ledger_invariants"])


@pytest.mark.parametrize(("days", "is_seen"), [(0, True), (1, True), (2, True), (3, False)])
def test_a_charge_that_the_ledger_did_not_take_is_told_for_the_last_three_days(
    account: Account, days: int, is_seen: bool
) -> None:
    day = (midnight() - days * DAY).date()
    assert UsageEvent.objects.filter(charge=10 + days).update(charge=99) == 1
    expected = [f"{day}: usage events were charged 99 nano-USD, the ledger took {10 + days}."]
    assert wrong().get("usage_charges_are_entries", []) == (expected if is_seen else [])


def test_an_entry_whose_event_is_missing_is_told(account: Account) -> None:
    UsageEvent.objects.filter(charge=11).delete()
    day = (midnight() - DAY).date()
    assert wrong()["usage_charges_are_entries"] == [f"{day}: usage events were charged 0 nano-USD, the ledger took 11."]


def test_a_request_across_midnight_counts_on_the_day_of_its_id_on_both_sides(account: Account) -> None:
    yesterday = (midnight() - DAY).date()
    before = {row.day: row.charge for row in books_by_day(first=yesterday, last=midnight().date())}
    # It came before midnight and got its id after it; it got its id before midnight and was written in the books today.
    spend(account, midnight(), 100, started_at=midnight() - MILLISECOND)
    spend(account, midnight() - MILLISECOND, 1_000)
    after = books_by_day(first=yesterday, last=midnight().date())
    assert [(row.day, row.charge - before[row.day], row.booked - before[row.day]) for row in after] == [
        (yesterday, 1_000, 1_000),
        (midnight().date(), 100, 100),
    ]
    roll_up_all()
    assert wrong() == {}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    strategies.lists(
        strategies.tuples(
            strategies.integers(-3 * 86_400_000, 0), strategies.integers(-5, 5), strategies.integers(1, 1_000)
        ),
        max_size=6,
    )
)
def test_whenever_requests_come_and_start_both_sides_agree(
    account: Account, requests: list[tuple[int, int, int]]
) -> None:
    for milliseconds, shift, charge in requests:
        at = midnight() + milliseconds * MILLISECOND
        spend(account, at, charge, started_at=at + shift * MILLISECOND)
    roll_up_all()
    assert wrong() == {}


def test_a_hold_that_nobody_closed_is_told_when_the_sweeper_has_had_its_time(account: Account) -> None:
    request = account.request(5)
    ledger.admit([request])

    def late(seconds: float) -> list[str]:
        run_sql(
            "UPDATE billing_hold SET expires_at = statement_timestamp() - make_interval(secs => %s) WHERE id = %s",
            seconds,
            request.request_id,
        )
        return checks()["holds_are_closed_in_time"].wrong

    assert late(SWEEPER_SLACK - 30) == []
    (line,) = late(SWEEPER_SLACK + 30)
    assert line.startswith(f"Hold {request.request_id} of workspace {account.id} is open, 330 s after its time.")
    ledger.settle([Settlement(request.request_id, None)])
    assert checks()["holds_are_closed_in_time"] == Check("holds_are_closed_in_time", 0, [])


def test_a_roll_up_of_yesterday_that_is_not_its_events_is_told(account: Account) -> None:
    yesterday = (midnight() - DAY).date()
    DailyUsage.objects.filter(day=yesterday).update(charge=1)
    (line,) = wrong()["rollups_are_events"]
    assert line.startswith(f"{yesterday}: the daily roll-up of workspace {account.id}, key 10, model sandbox/paid")
