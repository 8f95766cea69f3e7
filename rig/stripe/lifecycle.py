"""What a subscription goes through: it is announced, changes its status, its price and its period, and ends."""

import copy

from rig.stripe.lines import item_of
from rig.stripe.state import Record, State

ENDED = ("canceled", "incomplete_expired")


def announce(state: State, subscription: Record, before: Record) -> None:
    """Emit customer.subscription.updated with what differs from `before`, a deep copy; nothing when nothing does."""
    changed = {name: value for name, value in before.items() if subscription[name] != value}
    if changed:
        state.emit("customer.subscription.updated", subscription, changed)


def set_status(state: State, subscription: Record, status: str) -> None:
    """Change the status of a subscription that has not ended."""
    if subscription["status"] in ENDED:
        return
    before = copy.deepcopy(subscription)
    subscription["status"] = status
    announce(state, subscription, before)


def set_price(subscription: Record, price: Record, quantity: int) -> None:
    """Put another price and quantity on the item."""
    recurring = price["recurring"]
    plan = {
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "currency": price["currency"], "interval": recurring["interval"], "product": price["product"],
        "interval_count": recurring["interval_count"], "livemode": False, "usage_type": "licensed",
    }  # fmt: skip
    item_of(subscription).update(price=copy.deepcopy(price), plan=plan, quantity=quantity)


def set_period(subscription: Record, start: int, end: int) -> None:
    """Move the item's period, and the end of a subscription that ends with its period."""
    item_of(subscription).update(current_period_start=start, current_period_end=end)
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = end


def end(state: State, subscription: Record, reason: str) -> None:
    """Cancel at once: no invoice of it is collected any more, and its schedule goes with it."""
    now = state.now()
    subscription.update(status="canceled", ended_at=now, canceled_at=subscription["canceled_at"] or now)
    subscription.update(pending_update=None)
    details = subscription["cancellation_details"]
    details["reason"] = details["reason"] or reason
    for invoice in state.all("invoice"):
        parent = invoice["parent"]["subscription_details"]
        if parent["subscription"] == subscription["id"] and invoice["status"] in ("draft", "open"):
            invoice.update(auto_advance=False, next_payment_attempt=None, automatically_finalizes_at=None)
    if subscription["schedule"]:
        schedule = state.objects[subscription["schedule"]]
        schedule.update(status="canceled", canceled_at=now, current_phase=None)
        subscription["schedule"] = None
        state.emit("subscription_schedule.canceled", schedule)
    state.emit("customer.subscription.deleted", subscription)
