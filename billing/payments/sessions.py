"""Checkout sessions, as they come to an end: in a payment, or in nothing."""

from django.db import transaction

from billing.models import OrderState
from billing.payments import charges, invoices, orders, stripe_api
from billing.payments.customers import lock_customer
from billing.payments.errors import NotOursError
from billing.payments.objects import CheckoutSession


def apply_session(session_id: str) -> None:
    """Bring in what a checkout session led to: its payment, or that it came to nothing."""
    with transaction.atomic():
        first = _read(session_id)
        lock_customer(first.customer, workspace_id=orders.workspace_of(first.metadata.get(orders.ORDER_ID, "")))
        session = _read(session_id)
        if session.mode == "subscription":
            if session.subscription:
                invoices.apply_subscription(session.subscription)
            return
        if session.mode != "payment":
            raise NotOursError(f"A checkout session of the mode {session.mode} is not ours.")
        if session.payment_intent:
            charges.apply_payment(session.payment_intent)
        if session.status == "expired":
            orders.finish_order(orders.order_of(session.metadata.get(orders.ORDER_ID)), OrderState.EXPIRED)


def _read(session_id: str) -> CheckoutSession:
    return stripe_api.send(CheckoutSession, stripe_api.client().v1.checkout.sessions.retrieve, session_id)
