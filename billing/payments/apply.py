"""Which event is about what: each leads to one object that is fetched again, and brought into the books as it is now."""

from collections.abc import Callable, Mapping
from typing import Any

from billing.models import StripeEvent
from billing.payments import charges, customers, invoices, sessions, top_up
from billing.payments.errors import NotAppliedError


def apply_event(event: StripeEvent) -> bool:
    """Bring the books to what Stripe says now of the event's object; False for a type that says nothing to us.

    Call it in a transaction. Raises NotOursError, NotAppliedError, StripeUnreachableError.
    """
    about = _ABOUT.get(event.type)
    if about is None:
        return False
    data = event.payload.get("data")
    if not isinstance(data, Mapping) or not isinstance(data.get("object"), Mapping):
        raise NotAppliedError("The event has no object.")
    about(data)
    return True


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if isinstance(value, Mapping):  # expanded
        value = value.get("id")
    if not isinstance(value, str) or not value:
        raise NotAppliedError(f"The event's object has no {name}.")
    return value


def _by(name: str, step: Callable[[str], object]) -> Callable[[Mapping[str, Any]], None]:
    """Return what applies the object whose id is in a field of the event's."""

    def about(data: Mapping[str, Any]) -> None:
        step(_text(data["object"], name))

    return about


def _payment_if_any(data: Mapping[str, Any]) -> None:
    # Charges and refunds without a payment intent are of other products: ours always have one.
    if data["object"].get("payment_intent"):
        charges.apply_payment(_text(data["object"], "payment_intent"))


def _needs_action(data: Mapping[str, Any]) -> None:
    invoices.apply_invoice(_text(data["object"], "id"), asks_for_action=True)


def _card_removed(data: Mapping[str, Any]) -> None:
    before = data.get("previous_attributes")
    if isinstance(before, Mapping) and before.get("customer"):
        top_up.stop_without_card(_text(before, "customer"))


def _nothing(data: Mapping[str, Any]) -> None:
    """A card's new number or date needs nothing: cards are looked up when they are charged."""


_INVOICE = _by("id", invoices.apply_invoice)
_SUBSCRIPTION = _by("id", invoices.apply_subscription)
_SESSION = _by("id", sessions.apply_session)
_PAYMENT = _by("id", charges.apply_payment)
_CUSTOMER = _by("id", customers.apply_customer)

_ABOUT: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "checkout.session.completed": _SESSION,
    "checkout.session.async_payment_succeeded": _SESSION,
    "checkout.session.async_payment_failed": _SESSION,
    "checkout.session.expired": _SESSION,
    "payment_intent.succeeded": _PAYMENT,
    "payment_intent.payment_failed": _PAYMENT,
    "payment_intent.canceled": _PAYMENT,
    "charge.refunded": _payment_if_any,
    "refund.created": _payment_if_any,
    "refund.updated": _payment_if_any,
    "refund.failed": _payment_if_any,
    "charge.dispute.created": _payment_if_any,
    "charge.dispute.updated": _payment_if_any,
    "charge.dispute.funds_withdrawn": _payment_if_any,
    "charge.dispute.funds_reinstated": _payment_if_any,
    "charge.dispute.closed": _payment_if_any,
    "invoice.paid": _INVOICE,
    "invoice.payment_failed": _INVOICE,
    "invoice.payment_action_required": _needs_action,
    "invoice.voided": _INVOICE,
    "invoice.marked_uncollectible": _INVOICE,
    "customer.subscription.created": _SUBSCRIPTION,
    "customer.subscription.updated": _SUBSCRIPTION,
    "customer.subscription.deleted": _SUBSCRIPTION,
    "customer.subscription.paused": _SUBSCRIPTION,
    "customer.subscription.resumed": _SUBSCRIPTION,
    "payment_method.detached": _card_removed,
    "payment_method.automatically_updated": _nothing,
    "customer.updated": _CUSTOMER,
    "customer.deleted": _CUSTOMER,
}

#: The types that say something to us: those to choose for the endpoint at Stripe.
TYPES = frozenset(_ABOUT)
