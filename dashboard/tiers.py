"""Tiers as pages show them beside each other: what they cost by the month and by the year, and what they are to a workspace."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from billing.selectors.payments import PlanSeen
from billing.selectors.tiers import FREE

if TYPE_CHECKING:
    from billing.models import Tier

Interval = Literal["month", "year"]
MONTHS = 12


@dataclass(frozen=True, slots=True)
class Offer:
    """A tier by the month or by the year. Amounts are nano-USD.

    ``deed`` is what a workspace can do about it: current, subscribe, upgrade, downgrade, planned (it becomes that by itself),
    cancel (Free, for one that pays), or empty.
    """

    tier: "Tier"
    interval: Interval
    deed: str = ""
    #: Which word the button has where only the interval changes.
    is_same_tier: bool = False
    #: The one step up that the page stresses.
    is_next: bool = False

    @property
    def price(self) -> int:
        """What an interval costs."""
        return self.tier.yearly_price if self.interval == "year" else self.tier.monthly_price

    @property
    def saving(self) -> str:
        """What the year saves, for a badge: "2 months free", "save 5%", or nothing."""
        return saving_of_tier(self.tier)


def saving_of_tier(tier: "Tier") -> str:
    """Return in words what a year of a tier saves; empty where it is not sold by the year, or saves nothing."""
    return saving_of(tier.monthly_price, tier.yearly_price)


def saving_of(monthly: int, yearly: int) -> str:
    """Return in words what a year saves against twelve months; empty where it is not sold or saves nothing. Prices in nano-USD."""
    saved = MONTHS * monthly - yearly
    if not yearly or saved <= 0:
        return ""
    months, rest = divmod(saved, monthly)
    if months and not rest:
        return f"{months} month{'s' if months > 1 else ''} free"
    percent = 100 * saved // (MONTHS * monthly)
    return f"save {percent}%" if percent else ""


def is_price_of(tier: "Tier | None", plan: PlanSeen | None) -> bool:
    """Tell whether a tier's present price is what a plan costs: who subscribed before a change keeps the old one."""
    if tier is None or plan is None or plan.is_comped:
        return True
    return tier.version == 1 or tier.created_at <= plan.started_at


def monthly_credits_of(tier: "Tier | None", plan: PlanSeen | None) -> int:
    """Return what a workspace gets of VIP credit a month (nano-USD): what was sold, else what its tier brings."""
    if plan is not None and plan.monthly_credits is not None:
        return plan.monthly_credits
    return tier.monthly_credits if tier else 0


def offers_for(tiers: Sequence["Tier"], plan: PlanSeen | None, *, interval: Interval) -> list[Offer]:
    """Return every tier by the month or by the year; one that is not sold by the year is left out of the years."""
    ranks = {tier.slug: tier.rank for tier in tiers}
    deeds = [
        (tier, _deed(tier, plan, ranks, interval))
        for tier in tiers
        if interval == "month" or tier.yearly_price or tier.slug == FREE
    ]
    above = ranks.get(plan.tier_slug, 0) if plan else 0
    steps = [tier.slug for tier, deed in deeds if deed in {"subscribe", "upgrade"} and tier.rank > above]
    slug = plan.tier_slug if plan else FREE
    return [
        Offer(tier, interval, deed, is_same_tier=tier.slug == slug, is_next=tier.slug in steps[:1])
        for tier, deed in deeds
    ]


def _deed(tier: "Tier", plan: PlanSeen | None, ranks: dict[str, int], interval: str) -> str:
    if plan is None:
        return "current" if tier.slug == FREE else "subscribe"
    if tier.slug == FREE:
        return "" if plan.is_comped else "planned" if plan.cancels_at else "cancel"
    if plan.is_comped:
        return "current" if plan.tier_slug == tier.slug else "subscribe"
    if (plan.tier_slug, plan.interval) == (tier.slug, interval):
        return "current"
    if (plan.next_tier_slug, plan.next_interval) == (tier.slug, interval):
        return "planned"
    old = ranks.get(plan.tier_slug, tier.rank)
    is_dearer = tier.rank > old or (tier.rank == old and interval == "year")
    return "upgrade" if is_dearer else "downgrade"
