"""VIP credit: what a paid or comped stretch of time gives, month by month, each month once.

A month's grant has the stretch and the month's number for its source, so it does not matter how often, how late or in which
order it is asked for. A month that begins ends what is left of the months before it.
"""

import datetime as dt
import logging
from dataclasses import dataclass

from django.db import DatabaseError, transaction
from django.db.models import Exists, F, OuterRef, Q

from billing.models import CreditPeriod, CreditPlan, Interval, Subscription, Tier
from billing.periods import GRACE, months_between, share_of
from billing.services import ledger, returns
from lumyx.lib import clock

logger = logging.getLogger(__name__)

#: How long after its end a paid year is still looked at for months that were missed.
_LOOK_BACK = dt.timedelta(days=366)


@dataclass(frozen=True, slots=True)
class _Due:
    """A month whose credit is due. Amounts are nano-USD."""

    source: str
    workspace_id: int
    tier_slug: str
    amount: int
    starts_at: dt.datetime
    ends_at: dt.datetime


def refresh(workspace_id: int | None = None, *, at: dt.datetime | None = None) -> int:
    """Grant what is due at a time (now), in one workspace or in all; return how many grants were made.

    In all, one that the books refuse is logged as an error, and the next does not wait for it.
    """
    now = at or clock.now()
    due = [*_due_of_plans(workspace_id, now), *_due_of_comped(workspace_id, now)]
    known = set(
        CreditPeriod.objects.filter(source__in=[month.source for month in due]).values_list("source", flat=True)
    )
    months = sorted((month for month in due if month.source not in known), key=lambda m: (m.workspace_id, m.starts_at))
    return sum(_grant(month) if workspace_id is not None else _try_grant(month) for month in months)


def _due_of_plans(workspace_id: int | None, now: dt.datetime) -> list[_Due]:
    granted = CreditPeriod.objects.filter(source=OuterRef("source"))
    # What is over and granted need not be looked at every hour for ever.
    open_still = Q(interval=Interval.MONTH) & ~Exists(granted) | Q(interval=Interval.YEAR, ends_at__gt=now - _LOOK_BACK)
    # One that another took the place of at once has no length, and no month.
    plans = CreditPlan.objects.filter(open_still, starts_at__lte=now, ends_at__gt=F("starts_at"))
    if workspace_id is not None:
        plans = plans.filter(workspace_id=workspace_id)
    return [month for plan in plans for month in _months_of(plan, now)]


def _months_of(plan: CreditPlan, now: dt.datetime) -> list[_Due]:
    """Return the plan's months that have begun. One that began stays whole, though another plan takes over inside of it."""
    if plan.interval == Interval.MONTH:
        amount = max(0, plan.monthly_credits - plan.replaced_credits)
        return [_due(plan, plan.source, amount, plan.starts_at, plan.ends_at)]
    months = []
    for number, opens, closes in months_between(plan.anchor_at, plan.starts_at, plan.ends_at):
        start = max(opens, plan.starts_at)
        if start > now:
            break
        amount = plan.monthly_credits
        if start == plan.starts_at:
            # It may begin inside of a month, and in the place of a plan that gave something for the rest of it.
            amount = max(0, share_of(amount, closes - start, closes - opens) - plan.replaced_credits)
        months.append(_due(plan, f"{plan.source}:{number}", amount, start, closes))
    return months


def _due(plan: CreditPlan, source: str, amount: int, start: dt.datetime, end: dt.datetime) -> _Due:
    return _Due(source, plan.workspace_id, plan.tier_slug, amount, start, end)


def _due_of_comped(workspace_id: int | None, now: dt.datetime) -> list[_Due]:
    """Return the present months of subscriptions that an operator gave, which nobody pays for."""
    comped = Subscription.objects.filter(stripe_id__isnull=True, started_at__lte=now)
    if workspace_id is not None:
        comped = comped.filter(workspace_id=workspace_id)
    credits = {tier.slug: tier.monthly_credits for tier in Tier.objects.order_by("slug", "-version").distinct("slug")}
    due = []
    for row in comped:
        if row.ends_at is not None and row.ends_at <= now:
            continue
        moment = now + dt.timedelta(microseconds=1)
        for number, opens, closes in months_between(row.anchor_at or row.started_at, now, moment):
            source = f"comped:{row.pk}:{number}"
            due.append(_Due(source, row.workspace_id, row.tier_slug, credits.get(row.tier_slug, 0), opens, closes))
    return due


def _try_grant(month: _Due) -> bool:
    try:
        return _grant(month)
    except (ledger.LedgerError, ValueError, DatabaseError):
        logger.exception("The VIP credit %s of workspace %d was not granted.", month.source, month.workspace_id)
        return False


def _grant(month: _Due) -> bool:
    """Grant a month, and end what is left of those before the newest."""
    with transaction.atomic():
        _row, is_new = CreditPeriod.objects.get_or_create(
            source=month.source,
            defaults={
                "workspace_id": month.workspace_id,
                "tier_slug": month.tier_slug,
                "starts_at": month.starts_at,
                "ends_at": month.ends_at,
            },
        )
        if not is_new:
            return False
        if month.amount > 0:
            ledger.grant(
                workspace_id=month.workspace_id,
                kind=ledger.VIP,
                amount=month.amount,
                source=returns.grant_source(month.source),
                expires_at=month.ends_at + GRACE,
                note=f"{month.starts_at:%-d %b %Y} to {month.ends_at:%-d %b %Y}",
                # A month that is heard of when it is over does not pay for what happened since.
                repays_debt=month.ends_at + GRACE > clock.now(),
            )
            returns.follow_month(month.source)
        _end_older(month.workspace_id)
    return True


def _end_older(workspace_id: int) -> None:
    """End the credit of periods that were over when the newest began."""
    periods = CreditPeriod.objects.filter(workspace_id=workspace_id)
    newest = periods.order_by("-starts_at").values_list("starts_at", flat=True).first()
    if newest is not None:
        over = periods.filter(ends_at__lte=newest).values_list("source", flat=True)
        ledger.end_grants(workspace_id=workspace_id, sources=[returns.grant_source(source) for source in over])
