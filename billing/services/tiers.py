"""Writes tiers, who is on which, and operators' limits. A tier is never edited: a change is a new version."""

import datetime as dt

from django.db import transaction

from accounts.models import Workspace
from accounts.services.audit import record
from billing.models import LimitOverride, Subscription, Tier
from billing.selectors.tiers import FREE, is_paid_for
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD

OPERATOR = "operator"

#: slug, name, USD a month, USD a year, requests to free models a UTC day, requests a minute, USD of VIP credit a month.
SEEDS = (
    (FREE, "Free", 0, 0, 25, 60, 0),
    ("vip1", "VIP 1", 5, 50, 100, 120, 4),
    ("vip2", "VIP 2", 15, 150, 300, 300, 13),
    ("vip3", "VIP 3", 30, 300, 600, 600, 28),
    ("vip4", "VIP 4", 60, 600, 1000, 1200, 60),
)


class UnknownTierError(ValueError):
    """There is no tier of that slug."""


class PaidSubscriptionError(ValueError):
    """The workspace pays for its tier at Stripe: it changes there, not by hand."""


class Unchanged:
    """The value of an argument that was not given (None means: inherit)."""


UNCHANGED = Unchanged()


def ensure_tiers() -> None:
    """Write the first version of each tier that has none. Twice is once; operators' versions stay."""
    existing = set(Tier.objects.values_list("slug", flat=True))
    Tier.objects.bulk_create(
        [
            Tier(
                slug=slug,
                name=name,
                rank=rank,
                monthly_price=price * NANO_PER_USD,
                yearly_price=yearly * NANO_PER_USD,
                monthly_credits=credit * NANO_PER_USD,
                daily_requests=daily,
                requests_per_minute=minute,
            )
            for rank, (slug, name, price, yearly, daily, minute, credit) in enumerate(SEEDS)
            if slug not in existing
        ],
        ignore_conflicts=True,
    )


def change_tier(
    slug: str,
    *,
    name: str | None = None,
    monthly_price: int | None = None,
    yearly_price: int | None = None,
    monthly_credits: int | None = None,
    daily_requests: int | None = None,
    requests_per_minute: int | None = None,
    is_public: bool | None = None,
) -> Tier:
    """Write a new version of a tier with what is given changed (amounts in nano-USD). Nothing changed: no new version.

    Raises:
        UnknownTierError: no tier has that slug.
    """
    given = {
        "name": name,
        "monthly_price": monthly_price,
        "yearly_price": yearly_price,
        "monthly_credits": monthly_credits,
        "daily_requests": daily_requests,
        "requests_per_minute": requests_per_minute,
        "is_public": is_public,
    }
    with transaction.atomic():
        tier = Tier.objects.select_for_update().filter(slug=slug).order_by("-version").first()
        if tier is None:
            raise UnknownTierError(_unknown(slug))
        changes = {key: value for key, value in given.items() if value is not None and value != getattr(tier, key)}
        if not changes:
            return tier
        for key, value in changes.items():
            setattr(tier, key, value)
        tier.pk, tier.version, tier.created_at = None, tier.version + 1, clock.now()
        tier.save(force_insert=True)
        return tier


def set_tier(workspace_id: int, *, tier_slug: str, source: str = OPERATOR) -> None:
    """Put a workspace on a tier from now on: its open subscription ends, another begins ("free": none). Twice is once.

    Raises:
        UnknownTierError: no tier has that slug.
        PaidSubscriptionError: the workspace pays for the tier that it has.
    """
    if not Tier.objects.filter(slug=tier_slug).exists():
        raise UnknownTierError(_unknown(tier_slug))
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace_id)
        now = _now_after(workspace_id)
        live = Subscription.objects.filter(workspace_id=workspace_id, ends_at__isnull=True)
        if is_paid_for(workspace_id):
            raise PaidSubscriptionError(
                "The workspace pays for its plan. Cancel that at Stripe, or let its people change it."
            )
        if tier_slug != FREE and live.filter(tier_slug=tier_slug).exists():
            return
        live.update(ends_at=now)
        Subscription.objects.filter(workspace_id=workspace_id, ends_at__gt=now).update(ends_at=now)
        if tier_slug != FREE:
            Subscription.objects.create(workspace_id=workspace_id, tier_slug=tier_slug, source=source, started_at=now)
        record("billing.tier_set", workspace_id=workspace_id, target=("tier", tier_slug, tier_slug))


def set_limits(
    workspace_id: int,
    *,
    requests_per_minute: int | Unchanged | None = UNCHANGED,
    daily_requests: int | Unchanged | None = UNCHANGED,
) -> None:
    """Set an operator's limits for a workspace: 0 is unlimited, None inherits the tier's, what is not given stays."""
    given = {"requests_per_minute": requests_per_minute, "daily_requests": daily_requests}
    changes = {key: value for key, value in given.items() if not isinstance(value, Unchanged)}
    if any(value is not None and value < 0 for value in changes.values()):
        raise ValueError("A limit is 0 (unlimited) or more.")
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace_id)
        LimitOverride.objects.update_or_create(workspace_id=workspace_id, defaults=changes)
        LimitOverride.objects.filter(
            workspace_id=workspace_id, requests_per_minute__isnull=True, daily_requests__isnull=True
        ).delete()
        details = {name: "the tier's" if value is None else value for name, value in changes.items()}
        record("workspace.limits_changed", workspace_id=workspace_id, details=details)


def _now_after(workspace_id: int) -> dt.datetime:
    """Return now, but later than the start of every subscription, so that two changes in one moment keep their order."""
    last = Subscription.objects.filter(workspace_id=workspace_id).order_by("-started_at").first()
    now = clock.now()
    return now if last is None else max(now, last.started_at + dt.timedelta(microseconds=1))


def _unknown(slug: str) -> str:
    known = ", ".join(sorted(set(Tier.objects.values_list("slug", flat=True))))
    return f"There is no tier {slug!r}. There are: {known or 'none; run `manage.py migrate`'}."
