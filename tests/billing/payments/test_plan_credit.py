"""What a paid invoice is worth in VIP credit: whole periods, changes inside of them, and nothing for what went back."""

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.payments.errors import NotAppliedError
from billing.payments.plan_credit import TierPrice, credit_of
from billing.payments.subscription_objects import (
    Line,
    LineOrigin,
    LineParent,
    Lines,
    PriceDetails,
    Pricing,
    Span,
    StripeInvoice,
)
from billing.periods import month_after
from lumyx.lib.money import NANO_PER_USD as USD

START = dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)
PRICES = {
    "m1": TierPrice("vip1", "month", 500, 4 * USD),
    "m2": TierPrice("vip2", "month", 1500, 13 * USD),
    "m4": TierPrice("vip4", "month", 6000, 60 * USD),
    "y1": TierPrice("vip1", "year", 5000, 4 * USD),
    "y2": TierPrice("vip2", "year", 15000, 13 * USD),
}


def line(
    price: str, amount: int, start: dt.datetime, end: dt.datetime, *, proration: bool = False, shape: str = "item"
) -> Line:
    """Make a line of an invoice, as a subscription's item or, in the older billing mode, as an invoice item."""
    origin = LineOrigin(proration=proration)
    parent = (
        LineParent(subscription_item_details=origin) if shape == "item" else LineParent(invoice_item_details=origin)
    )
    span = Span(int(start.timestamp()), int(end.timestamp()))
    return Line(f"il_{price}{amount}", amount, span, 1, Pricing(PriceDetails(price)), parent)


def invoice(lines: Sequence[Line], reason: str) -> StripeInvoice:
    """Make an invoice."""
    total = sum(each.amount for each in lines)
    return StripeInvoice("cus_1", "usd", total, 1, Lines(list(lines)), id="in_1", billing_reason=reason)


def worth(lines: Sequence[Line], reason: str = "subscription_cycle", anchor: dt.datetime = START):  # type: ignore[no-untyped-def]
    """Return the plans and the change of an invoice."""
    return credit_of(invoice(lines, reason), lines, PRICES, anchor=int(anchor.timestamp()))


def test_a_paid_month_gives_its_tiers_credit_from_the_anchor() -> None:
    end = month_after(START, 1)
    (plan,), change = worth([line("m2", 1500, START, end)], "subscription_create")
    assert change is None
    assert (plan.source, plan.tier_slug, plan.monthly_credits, plan.first_month) == (
        "in_1:il_m21500",
        "vip2",
        13 * USD,
        13 * USD,
    )
    assert (plan.anchor_at, plan.starts_at, plan.ends_at) == (START, START, end)


@pytest.mark.parametrize("shape", ["item", "invoice_item"])
def test_half_a_month_on_a_dearer_tier_gives_half_of_the_difference(shape: str) -> None:
    middle = START + dt.timedelta(days=14)
    end = START + dt.timedelta(days=28)
    lines = [
        line("m1", -250, middle, end, proration=True, shape=shape),
        line("m2", 750, middle, end, proration=True, shape=shape),
    ]
    plans, change = worth(lines, "subscription_update")
    assert plans == []
    assert change is not None
    assert (change.source, change.amount) == ("in_1:change", 9 * USD // 2)
    assert (change.starts_at, change.ends_at) == (middle, end)


def test_a_change_to_a_cheaper_tier_gives_nothing_and_takes_nothing() -> None:
    middle, end = START + dt.timedelta(days=14), START + dt.timedelta(days=28)
    lines = [line("m2", -750, middle, end, proration=True), line("m1", 250, middle, end, proration=True)]
    assert worth(lines, "subscription_update") == ([], None)


def test_a_change_from_the_month_to_the_year_does_not_give_the_month_twice() -> None:
    """Who spent the month's credit and changes on the first day pays eleven months more, and gets eleven months' credit more."""
    lines = [
        line("m2", -1500, START, month_after(START, 1), proration=True),
        line("y2", 15000, START, month_after(START, 12)),
    ]
    (plan,), change = worth(lines, "subscription_update")
    assert change is None
    assert (plan.interval, plan.monthly_credits, plan.replaced_credits, plan.first_month) == (
        "year",
        13 * USD,
        13 * USD,
        0,
    )


def test_a_dearer_year_inside_of_a_month_gives_the_difference_for_its_rest() -> None:
    """Of the year before it only the present month was given; the rest of that year's credit never was."""
    since, end = dt.datetime(2026, 3, 15, 9, 30, tzinfo=dt.UTC), month_after(START, 12)
    lines = [line("y1", -4000, since, end, proration=True), line("y2", 12000, since, end, proration=True)]
    (plan,), change = worth(lines, "subscription_update")
    assert change is None
    left, month = (month_after(START, 2) - since).days, 31
    assert (plan.source, plan.tier_slug, plan.starts_at, plan.ends_at) == ("in_1:change", "vip2", since, end)
    assert plan.anchor_at == START
    # 28 February to 31 March, of which the days from the 15th are left.
    assert plan.replaced_credits == pytest.approx(4 * USD * left / month, abs=1)
    assert plan.first_month == pytest.approx(9 * USD * left / month, abs=2)


def test_parts_left_for_the_renewal_are_for_the_month_that_begins() -> None:
    middle, end = START + dt.timedelta(days=14), START + dt.timedelta(days=28)
    lines = [
        line("m1", -250, middle, end, proration=True),
        line("m2", 750, middle, end, proration=True),
        line("m2", 1500, end, month_after(START, 2)),
    ]
    (plan,), change = worth(lines)
    assert plan.replaced_credits == 0
    assert change is not None
    assert (change.amount, change.starts_at, change.ends_at) == (9 * USD // 2, end, month_after(START, 2))


def test_a_renewal_on_the_last_day_of_february_keeps_its_anchor() -> None:
    anchor = dt.datetime(2028, 2, 29, 12, tzinfo=dt.UTC)
    start, end = month_after(anchor, 12), month_after(anchor, 24)
    (plan,), _ = worth([line("y1", 5000, start, end)], anchor=anchor)
    assert plan.anchor_at == anchor
    assert start.day == 28


def test_an_anchor_that_is_another_is_not_used() -> None:
    end = month_after(START, 12)
    (plan,), _ = worth([line("y1", 5000, START, end)], anchor=START + dt.timedelta(days=3))
    assert plan.anchor_at == START


def test_a_price_that_sells_nothing_is_not_applied() -> None:
    with pytest.raises(NotAppliedError, match="stripe sync"):
        worth([line("price_of_a_mug", 900, START, month_after(START, 1))])


def test_two_of_a_tier_are_not_applied() -> None:
    one = line("m1", 1000, START, month_after(START, 1))
    two = Line(one.id, one.amount, one.period, 2, one.pricing, one.parent)
    with pytest.raises(NotAppliedError, match="2 pieces"):
        worth([two])


@given(
    old=st.sampled_from(["m1", "m2", "m4"]),
    new=st.sampled_from(["m1", "m2", "m4"]),
    seconds=st.integers(1, 28 * 86400 - 1),
)
def test_a_change_never_gives_more_than_its_time_is_worth(old: str, new: str, seconds: int) -> None:
    """With the old tier's month it is at most the two tiers' shares of the month, but for the cents that Stripe rounds to."""
    whole = 28 * 86400
    moment, end = START + dt.timedelta(seconds=seconds), START + dt.timedelta(seconds=whole)
    left = whole - seconds
    lines = [
        line(old, -((PRICES[old].cents * left * 2 + whole) // (2 * whole)), moment, end, proration=True),
        line(new, (PRICES[new].cents * left * 2 + whole) // (2 * whole), moment, end, proration=True),
    ]
    lines = [each for each in lines if each.amount]
    _, change = worth(lines, "subscription_update")
    given_now = change.amount if change else 0
    fair = max(0, (PRICES[new].monthly_credits - PRICES[old].monthly_credits) * left / whole)
    assert abs(given_now - fair) <= 2 * 10_000_000


def test_a_trial_gives_nothing_and_a_part_of_a_month_its_part() -> None:
    end = month_after(START, 1)
    assert worth([line("m4", 0, START, end)], "subscription_create") == ([], None)
    assert worth([line("y1", 0, START, end)], "subscription_create") == ([], None)
    (plan,), change = worth([line("m2", 500, START, START + (end - START) / 3)], "subscription_create")
    assert (plan.first_month, change) == (13 * USD // 3, None)
