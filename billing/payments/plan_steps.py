"""What is asked of Stripe when a plan changes. Call it under the customer's lock. All of it raises PaymentsError."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billing.models import StripePrice
from billing.payments import stripe_api, subscriptions
from billing.payments.errors import PaymentsError
from billing.payments.subscription_objects import Schedule, StripeSubscription

logger = logging.getLogger(__name__)


def take_back(found: StripeSubscription) -> None:
    """Take back what was planned for the end of the period: another tier, or the end."""
    release_schedule(found)
    if found.ends_at_cancellation is not None:
        # An end at another time than the period's is of an operator's making.
        back = {"cancel_at_period_end": False} if found.cancel_at_period_end else {"cancel_at": ""}
        update(found, back, "resume")


@contextmanager
def plans_kept(found: StripeSubscription) -> Iterator[None]:
    """Plan again what was planned for the end of the period, where the change that took its place fails."""
    planned = subscriptions.next_price_of(found)
    try:
        yield
    except PaymentsError:
        try:
            now = subscriptions.read_subscription(found.id)
            if now.item.price.id != found.item.price.id:
                pass  # it was made after all, and only the answer was lost
            elif found.ends_at_cancellation is not None and now.ends_at_cancellation is None:
                release_schedule(now)
                update(now, _ending_as(found), "cancel")
            elif planned is not None and subscriptions.next_price_of(now) != planned:
                release_schedule(now)
                schedule(now, planned)
        except PaymentsError as error:
            logger.error("What was planned for %s was lost when a change of it failed: %s", found.id, error)
        raise


def _ending_as(found: StripeSubscription) -> dict[str, Any]:
    return {"cancel_at_period_end": True} if found.cancel_at_period_end else {"cancel_at": found.cancel_at}


def release_schedule(found: StripeSubscription) -> None:
    """Take back another tier at the end of the period."""
    if found.schedule is not None:
        release = stripe_api.client().v1.subscription_schedules.release
        stripe_api.send(Schedule, release, found.schedule, key=f"release:{found.schedule}")


def upgrade(found: StripeSubscription, price: StripePrice) -> None:
    """Let the subscription become a dearer one now, paid for at once. Raises CardError."""
    # Where the card fails, nothing changes: neither the plan nor what is owed.
    changes = {
        "items": [{"id": found.item.id, "price": price.pk}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "error_if_incomplete",
    }
    update(found, changes, f"upgrade:{price.pk}")


def schedule(found: StripeSubscription, price: StripePrice) -> None:
    """Let the subscription become another at the end of its period."""
    attempt = uuid.uuid4()
    schedules = stripe_api.client().v1.subscription_schedules
    made = stripe_api.send(
        Schedule, schedules.create, params={"from_subscription": found.id}, key=f"schedule:{found.id}:{attempt}"
    )
    present = made.phases[0]
    phases: list[dict[str, Any]] = [
        {
            "items": [{"price": found.item.price.id, "quantity": 1}],
            "start_date": present.start_date,
            "end_date": present.end_date,
        },
        {"items": [{"price": price.pk, "quantity": 1}], "duration": {"interval": price.interval, "interval_count": 1}},
    ]
    params = {"phases": phases, "end_behavior": "release", "proration_behavior": "none"}
    stripe_api.send(Schedule, schedules.update, made.id, params=params, key=f"phases:{made.id}:{attempt}")


def update(found: StripeSubscription, changes: dict[str, Any], what: str) -> None:
    """Change the subscription; ``what`` names the change."""
    # A new key each time: under the lock nobody else asks for the same, and a declined card may be another by the next try.
    key = f"{what}:{found.id}:{uuid.uuid4()}"
    update = stripe_api.client().v1.subscriptions.update
    stripe_api.send(StripeSubscription, update, found.id, params=changes, key=key)
