"""VIP credit comes month by month, once, whenever and however often it is asked for."""

import datetime as dt
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.models import CreditPeriod, CreditPlan, Subscription
from billing.periods import GRACE, month_after, share_of
from billing.selectors.ledger import balance_of, broken_invariants, entries_of
from billing.services import ledger, tiers, vip
from billing.tasks import refresh_vip_credits, sweep_grants
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD
from tests.billing.builders import Account, admit_one, make_account, run_sql, settle_one

pytestmark = pytest.mark.django_db

USD = NANO_PER_USD
_numbers = itertools.count(1)
SetNow = Callable[[dt.datetime], None]


@pytest.fixture
def account() -> Account:
    """A workspace with a key and nothing else."""
    return make_account()


@pytest.fixture
def set_now(monkeypatch: pytest.MonkeyPatch) -> SetNow:
    """Set the service's time. The database's own stays: what is granted for the past has expired there."""
    return lambda moment: monkeypatch.setattr(clock, "now", lambda: moment)


def plan(
    account: Account,
    starts_at: dt.datetime,
    *,
    months: int = 12,
    interval: str = "year",
    credits: int = 4,
    **more: object,
) -> CreditPlan:
    """Make a plan that was paid for, from its anchor on."""
    fields = {
        "source": f"in_{next(_numbers)}:il_1",
        "workspace_id": account.id,
        "subscription_id": "sub_1",
        "tier_slug": "vip1",
        "interval": interval,
        "monthly_credits": credits * USD,
        "anchor_at": starts_at,
        "starts_at": starts_at,
        "ends_at": month_after(starts_at, months),
    }
    return CreditPlan.objects.create(**{**fields, **more})


def periods_of(account: Account) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return the months that were granted, oldest first."""
    return list(
        CreditPeriod.objects.filter(workspace_id=account.id).order_by("starts_at").values_list("starts_at", "ends_at")
    )


def grants_of(account: Account) -> list[tuple[object, ...]]:
    """Return (amount, remaining) of the VIP grants by their time."""
    return run_sql(
        "SELECT amount, remaining FROM billing_creditgrant WHERE wallet_id = %s AND kind = 'vip' ORDER BY expires_at, id",
        account.id,
    )


def test_a_paid_month_is_credit_until_its_end_and_a_little_longer(account: Account) -> None:
    start = clock.now() - dt.timedelta(days=3)
    month = plan(account, start, months=1, interval="month", credits=13)
    assert refresh_vip_credits() == 1
    assert refresh_vip_credits() == 0
    balance = balance_of(account.id)
    assert balance.by_kind == {"vip": 13 * USD}
    assert balance.next_expiry == month.ends_at + GRACE
    (line,) = entries_of(account.id, limit=5)
    assert (line.ref, line.grant_source) == (f"vip:{month.source}", f"vip:{month.source}")


def test_the_next_month_ends_what_is_left_and_leaves_paid_credit_alone(account: Account) -> None:
    account.fund(5 * USD)
    start = clock.now() - dt.timedelta(days=31)
    plan(account, start, months=1, interval="month")
    vip.refresh(account.id)
    plan(account, month_after(start, 1), months=1, interval="month")
    assert vip.refresh(account.id) == 1
    assert [remaining for _amount, remaining in grants_of(account)] == [0, 4 * USD]
    assert balance_of(account.id).by_kind == {"vip": 4 * USD, "paid": 5 * USD}
    assert [(line.kind, line.amount) for line in entries_of(account.id, limit=2)] == [
        ("expire", -4 * USD),
        ("grant", 4 * USD),
    ]


def test_months_that_come_in_the_wrong_order_leave_the_same_books(account: Account) -> None:
    start = clock.now() - dt.timedelta(days=31)
    plan(account, month_after(start, 1), months=1, interval="month")
    vip.refresh(account.id)
    plan(account, start, months=1, interval="month")
    vip.refresh(account.id)
    assert [remaining for _amount, remaining in grants_of(account)] == [0, 4 * USD]
    assert balance_of(account.id).by_kind == {"vip": 4 * USD}


@pytest.mark.parametrize("day", [28, 29, 30, 31])
def test_a_year_gives_twelve_months_once_each_though_the_worker_was_away_for_a_week(
    account: Account, set_now: SetNow, day: int
) -> None:
    anchor = dt.datetime(2024, 1, day, 15, 0, tzinfo=dt.UTC)
    account.fund(7 * USD)
    plan(account, anchor)
    away = (month_after(anchor, 4) - dt.timedelta(days=3), month_after(anchor, 4) + dt.timedelta(days=4))
    moment = anchor
    while moment < month_after(anchor, 13):
        if not away[0] < moment < away[1]:
            set_now(moment)
            for _ in range(3):
                refresh_vip_credits()
                sweep_grants()
        moment += dt.timedelta(hours=17)
    assert periods_of(account) == [(month_after(anchor, n), month_after(anchor, n + 1)) for n in range(12)]
    assert grants_of(account) == [(4 * USD, 0)] * 12
    assert balance_of(account.id).by_kind == {"paid": 7 * USD}
    assert sum(line.amount for line in entries_of(account.id, limit=100) if line.kind == "expire") == -48 * USD


@settings(max_examples=30, deadline=None)
@given(
    day=st.integers(1, 31),
    visits=st.lists(st.integers(0, 400 * 24), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_whenever_it_is_asked_for_a_year_gives_the_same(day: int, visits: list[int], order: random.Random) -> None:
    account = make_account()
    anchor = dt.datetime(2024, 1, day, tzinfo=dt.UTC)
    plan(account, anchor)
    order.shuffle(visits)
    with pytest.MonkeyPatch.context() as patch:
        for hours in [*visits, 400 * 24]:
            moment = anchor + dt.timedelta(hours=hours)
            patch.setattr(clock, "now", lambda moment=moment: moment)
            vip.refresh(account.id)
    assert periods_of(account) == [(month_after(anchor, n), month_after(anchor, n + 1)) for n in range(12)]
    assert [amount for amount, _remaining in grants_of(account)] == [4 * USD] * 12
    assert broken_invariants() == []


def test_a_year_that_changes_its_tier_inside_of_a_month_gives_the_difference(account: Account) -> None:
    start = clock.now() - dt.timedelta(days=10)
    plan(account, start, ends_at=start + dt.timedelta(days=5))
    since = start + dt.timedelta(days=5)
    month = month_after(start, 1) - start
    left = month_after(start, 1) - since
    given = share_of(4 * USD, left, month)
    plan(
        account,
        since,
        credits=13,
        anchor_at=start,
        ends_at=month_after(start, 12),
        tier_slug="vip2",
        replaced_credits=given,
    )
    assert vip.refresh(account.id) == 2
    extra = share_of(13 * USD, left, month) - given
    assert sorted(grants_of(account)) == [(4 * USD, 4 * USD), (extra, extra)]
    assert balance_of(account.id).by_kind == {"vip": 4 * USD + extra}


def test_a_comped_subscription_gives_the_present_month(account: Account) -> None:
    tiers.set_tier(account.id, tier_slug="vip2")
    Subscription.objects.filter(workspace_id=account.id).update(started_at=clock.now() - dt.timedelta(days=100))
    assert refresh_vip_credits() == 1
    assert refresh_vip_credits() == 0
    assert balance_of(account.id).by_kind == {"vip": 13 * USD}
    (start, end) = periods_of(account)[0]
    assert start <= clock.now() < end


def test_a_comped_subscription_that_ended_gives_nothing(account: Account) -> None:
    tiers.set_tier(account.id, tier_slug="vip2")
    tiers.set_tier(account.id, tier_slug="free")
    assert refresh_vip_credits() == 0


def test_a_tier_without_credit_makes_no_grant(account: Account) -> None:
    tiers.change_tier("vip1", monthly_credits=0)
    tiers.set_tier(account.id, tier_slug="vip1")
    assert refresh_vip_credits() == 1
    assert grants_of(account) == []


def test_one_workspace_is_refreshed_alone(account: Account) -> None:
    other = make_account()
    for each in (account, other):
        plan(each, clock.now(), months=1, interval="month")
    assert vip.refresh(account.id) == 1
    assert balance_of(other.id).posted == 0
    assert ledger.sweep_grants() == 0


def test_a_month_that_is_over_when_it_is_heard_of_repays_no_debt(account: Account) -> None:
    source = account.fund(5 * USD)
    request = account.request(5 * USD)
    admit_one(request)
    settle_one(request, 5 * USD)
    ledger.clawback(workspace_id=account.id, grant_source=source, source="refund")
    long_ago = month_after(clock.now(), -3)
    plan(account, long_ago, months=1, interval="month")
    assert vip.refresh(account.id) == 1
    assert balance_of(account.id).by_kind == {"overdraft": -5 * USD}
    plan(account, clock.now(), months=1, interval="month")
    assert vip.refresh(account.id) == 1
    assert balance_of(account.id).by_kind == {"overdraft": -1 * USD}
