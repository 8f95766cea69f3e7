"""Subscriptions in our rows: which tier, until when, and how they stand, as Stripe says it now."""

import datetime as dt

from django.db import transaction

from billing.models import CreditPlan, Interval, StripeCustomer, StripePrice, Subscription, SubscriptionStatus, Tier
from billing.payments import stripe_api
from billing.payments.customers import let_stripe_take_its_time, lock_customer
from billing.payments.errors import NotAppliedError, NotOursError, StripeRefusedError
from billing.payments.subscription_objects import Schedule, StripeSubscription
from billing.services import notices
from lumyx.lib import clock

#: Stripe's words for a subscription that gives its tier's rights; whatever is not here gives none.
_STATUS = {
    "active": SubscriptionStatus.ACTIVE,
    "trialing": SubscriptionStatus.ACTIVE,
    "past_due": SubscriptionStatus.PAST_DUE,
}
#: The first payment has not come: nothing has begun yet, and perhaps nothing will.
_NOT_BEGUN = {"incomplete", "incomplete_expired"}
#: A notice of what is older than this would only surprise.
_NEWS = dt.timedelta(days=7)


def read_subscription(subscription_id: str) -> StripeSubscription:
    """Return a subscription as Stripe has it now."""
    return stripe_api.send(StripeSubscription, stripe_api.client().v1.subscriptions.retrieve, subscription_id)


def begun_at_stripe(customer_id: str) -> str | None:
    """Return a subscription to a tier that a customer has at Stripe now, whether or not our rows know it; None without one."""
    subscriptions = stripe_api.client().v1.subscriptions
    found = stripe_api.listed(StripeSubscription, subscriptions.list, params={"customer": customer_id})
    begun = [each for each in found if each.ended_at is None and each.status not in _NOT_BEGUN]
    # What else an operator sells to the same customer is not ours.
    ours = set(StripePrice.objects.values_list("pk", flat=True))
    return next((each.id for each in begun if any(item.price.id in ours for item in each.items.data)), None)


def write_subscription(customer: StripeCustomer, found: StripeSubscription) -> Subscription | None:
    """Bring our row to what Stripe says of a subscription, and return it; None where nothing has begun.

    Call it under the customer's lock. A subscription that an operator gave ends where a paid one begins.

    Raises:
        NotAppliedError: its price sells no tier, or another paid subscription of the workspace is open.
    """
    row = Subscription.objects.filter(stripe_id=found.id).first()
    if row is None and found.status in _NOT_BEGUN:
        return None
    price = sold_by(found.item.price.id)
    if found.ended_at is None:
        _make_room(customer, found.id, _at(found.start_date))
    next_price = next_price_of(found)
    row, _ = Subscription.objects.update_or_create(
        stripe_id=found.id,
        defaults={
            **_standing(found),
            "workspace_id": customer.workspace_id,
            "tier_slug": price.tier_slug,
            "source": "stripe",
            "interval": price.interval,
            "next_tier_slug": next_price.tier_slug if next_price else "",
            "next_interval": next_price.interval if next_price else "",
        },
    )
    _tell(row)
    return row


def is_as_written(row: Subscription | None, found: StripeSubscription) -> bool:
    """Tell whether our row surely says of a subscription what Stripe says. With a plan for its next period it is never sure."""
    if row is None:
        return found.status in _NOT_BEGUN
    if found.schedule is not None or row.next_tier_slug:
        return False
    price = StripePrice.objects.filter(pk=found.item.price.id).values_list("tier_slug", "interval").first()
    return price == (row.tier_slug, row.interval) and all(
        getattr(row, name) == value for name, value in _standing(found).items()
    )


def _standing(found: StripeSubscription) -> dict[str, object]:
    """Return how a subscription stands, as our row has it."""
    status = _STATUS.get(found.status, SubscriptionStatus.PAUSED)
    cancels_at = found.ends_at_cancellation
    return {
        "started_at": _at(found.start_date),
        "ends_at": _at(found.ended_at) if found.ended_at is not None else None,
        "status": status,
        "anchor_at": _at(found.billing_cycle_anchor),
        "period_ends_at": _at(found.item.current_period_end),
        "past_due_since": _at(found.item.current_period_start) if status == SubscriptionStatus.PAST_DUE else None,
        "cancels_at": _at(cancels_at) if cancels_at is not None else None,
    }


def cut_plans(row: Subscription) -> None:
    """Let each paid year end where what took its place began, or where the subscription ended."""
    plans = list(CreditPlan.objects.filter(subscription_id=row.stripe_id).order_by("starts_at", "source"))
    for number, plan in enumerate(plans):
        if plan.interval != Interval.YEAR:
            continue
        later = [other.starts_at for other in plans[number + 1 :]]
        end = min([plan.ends_at, *later, *([row.ends_at] if row.ends_at else [])])
        end = max(end, plan.starts_at)
        if end != plan.ends_at:
            plan.ends_at = end
            plan.save(update_fields=["ends_at"])


def sold_by(price_id: str) -> StripePrice:
    """Return the tier and interval that a price sells. Raises NotAppliedError."""
    price = StripePrice.objects.filter(pk=price_id).first()
    if price is None:
        raise NotAppliedError(f"The price {price_id} sells no tier here. `manage.py stripe sync` makes those that do.")
    return price


def tier_name(slug: str) -> str:
    """Return a tier's name in its newest version."""
    return Tier.objects.filter(slug=slug).order_by("-version").values_list("name", flat=True).first() or slug


def lock_subscription(subscription_id: str) -> tuple[StripeCustomer, StripeSubscription]:
    """Lock the customer of a subscription, and return both as they are now. Raises NotOursError."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("A lock needs a transaction.")
    let_stripe_take_its_time()
    known_to = Subscription.objects.filter(stripe_id=subscription_id).values_list("workspace_id", flat=True).first()
    customer = lock_customer(read_subscription(subscription_id).customer, workspace_id=known_to)
    found = read_subscription(subscription_id)
    if found.customer != customer.stripe_id and customer.workspace_id != known_to:
        raise NotOursError(f"The subscription {subscription_id} is another customer's now.")
    return customer, found


def next_price_of(found: StripeSubscription) -> StripePrice | None:
    """Return what the subscription becomes at the end of its period; None: what it is."""
    if found.schedule is None or found.ended_at is not None:
        return None
    schedule = stripe_api.send(Schedule, stripe_api.client().v1.subscription_schedules.retrieve, found.schedule)
    later = [phase for phase in schedule.phases if phase.start_date >= found.item.current_period_end]
    if not later or not later[0].items:
        return None
    price = sold_by(later[0].items[0].price)
    return price if price.pk != found.item.price.id else None


def _make_room(customer: StripeCustomer, subscription_id: str, since: dt.datetime) -> None:
    rows = Subscription.objects.filter(workspace_id=customer.workspace_id, ends_at__isnull=True)
    for other in rows.exclude(stripe_id=subscription_id):
        if other.stripe_id is not None:
            if _has_ended(customer, other.stripe_id):
                continue
            raise NotAppliedError(
                f"The workspace pays for {other.stripe_id} already. Cancel {subscription_id} at Stripe, give its money"
                " back, and apply this event again."
            )
        other.ends_at = max(since, other.started_at)
        other.save(update_fields=["ends_at"])


def _has_ended(customer: StripeCustomer, subscription_id: str) -> bool:
    """Tell whether a subscription that is open in our rows has ended at Stripe; then it ends in our row, too."""
    try:
        found = read_subscription(subscription_id)
    except StripeRefusedError:
        return False
    if found.ended_at is None:
        return False
    write_subscription(customer, found)
    return True


def _tell(row: Subscription) -> None:
    """Owe the notices that follow from how a subscription stands."""
    facts: dict[str, str | int | bool] = {"tier_name": tier_name(row.tier_slug), "interval": row.interval}
    period_end = row.period_ends_at.isoformat() if row.period_ends_at else ""
    if row.status == SubscriptionStatus.PAST_DUE and row.past_due_since and row.ends_at is None:
        notices.owe(
            "subscription_past_due",
            workspace_id=row.workspace_id,
            key=f"past_due:{row.stripe_id}:{row.past_due_since.isoformat()}",
            facts={**facts, "period_end": period_end},
        )
    if row.ends_at is not None and row.ends_at > clock.now() - _NEWS:
        notices.owe(
            "subscription_ended",
            workspace_id=row.workspace_id,
            key=f"ended:{row.stripe_id}",
            facts={**facts, "period_end": row.ends_at.isoformat()},
        )


def _at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
