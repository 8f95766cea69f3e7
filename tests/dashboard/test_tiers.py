"""What a year saves, and what can be done about a tier."""

import datetime as dt
from dataclasses import replace

import pytest

from billing.models import Tier
from billing.selectors.payments import PlanSeen
from dashboard.tiers import Interval, offers_for, saving_of
from lumyx.lib.money import NANO_PER_USD as USD

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
TIERS = [
    Tier(slug=slug, rank=rank, monthly_price=5 * rank * USD, yearly_price=50 * rank * USD)
    for rank, slug in enumerate(("free", "vip1", "vip2", "vip3"))
]
PLAN = PlanSeen(
    tier_slug="vip2",
    is_comped=False,
    status="active",
    interval="month",
    started_at=NOW,
    period_ends_at=NOW,
    next_credits_at=NOW,
    past_due_since=None,
    cancels_at=None,
    next_tier_slug="",
    next_interval="",
)


@pytest.mark.parametrize(
    ("monthly", "yearly", "text"),
    [
        (5 * USD, 50 * USD, "2 months free"),
        (5 * USD, 55 * USD, "1 month free"),
        (10 * USD, 99 * USD, "save 17%"),
        (10 * USD, 119_999 * USD // 1000, ""),
        (5 * USD, 60 * USD, ""),
        (5 * USD, 70 * USD, ""),
        (5 * USD, 0, ""),
        (0, 0, ""),
    ],
)
def test_what_a_year_saves(monthly: int, yearly: int, text: str) -> None:
    assert saving_of(monthly, yearly) == text


@pytest.mark.parametrize(
    ("plan", "interval", "deeds"),
    [
        (None, "month", ["current", "subscribe", "subscribe", "subscribe"]),
        (None, "year", ["current", "subscribe", "subscribe", "subscribe"]),
        (PLAN, "month", ["cancel", "downgrade", "current", "upgrade"]),
        (PLAN, "year", ["cancel", "downgrade", "upgrade", "upgrade"]),
        (replace(PLAN, interval="year"), "month", ["cancel", "downgrade", "downgrade", "upgrade"]),
        (replace(PLAN, is_comped=True), "month", ["", "subscribe", "current", "subscribe"]),
        (replace(PLAN, cancels_at=NOW), "month", ["planned", "downgrade", "current", "upgrade"]),
        (
            replace(PLAN, next_tier_slug="vip1", next_interval="month"),
            "month",
            ["cancel", "planned", "current", "upgrade"],
        ),
    ],
)
def test_what_can_be_done_about_each_tier(plan: PlanSeen | None, interval: Interval, deeds: list[str]) -> None:
    offers = offers_for(TIERS, plan, interval=interval)
    assert [offer.deed for offer in offers] == deeds
    assert [offer.tier.slug for offer in offers if offer.is_next] == ["vip1" if plan is None else "vip3"]
    assert [offer.price for offer in offers] == [(50 if interval == "year" else 5) * rank * USD for rank in range(4)]
