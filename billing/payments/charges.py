"""Payments in the books: a payment for an order is credit, and what goes back of it takes credit back (``reversals``).

All of it follows from what Stripe says of the payment now, so it does not matter which event came first, or twice.
"""

import datetime as dt

from django.db import transaction

from billing.models import CreditOrder, OrderKind, OrderState, Payment
from billing.payments import orders, stripe_api
from billing.payments.customers import charge_of, lock_customer
from billing.payments.errors import NotAppliedError
from billing.payments.money import CURRENCY, cents_of, nano_of
from billing.payments.objects import CheckoutSession, PaymentIntent
from billing.payments.reversals import Granted, apply_reversals
from billing.services import ledger, notices


def apply_payment(payment_id: str) -> None:
    """Bring the books to what Stripe says of a payment: credit for its order, and what went back of it.

    Raises:
        NotOursError: not of an order of a workspace here.
        NotAppliedError: another currency, or an amount that is not the order's.
    """
    with transaction.atomic():
        customer = lock_customer(_read(payment_id).customer)
        # Read again under the lock: the first reading may be older than what another worker has applied since.
        intent = _read(payment_id)
        order = orders.order_of(intent.metadata.get(orders.ORDER_ID))
        if order.workspace_id != customer.workspace_id:
            raise NotAppliedError(f"The order {order.pk} belongs to another workspace than its customer.")
        if intent.status != "succeeded":
            return  # at a checkout, the person may try another card
        _check_amount(order, intent)
        granted = _grant(order, intent)
        apply_reversals(_payment_row(order, intent), [granted])


def source_of(payment_id: str) -> str:
    """Return the source of the grant that a payment makes."""
    return f"payment:{payment_id}"


def _read(payment_id: str) -> PaymentIntent:
    return stripe_api.send(PaymentIntent, stripe_api.client().v1.payment_intents.retrieve, payment_id)


def _grant(order: CreditOrder, intent: PaymentIntent) -> Granted:
    source = source_of(intent.id)
    ledger.grant(
        workspace_id=order.workspace_id,
        kind=ledger.PAID,
        amount=order.amount,
        source=source,
        note="Automatic top-up" if order.kind == OrderKind.TOP_UP else "Purchase",
    )
    orders.finish_order(order, OrderState.PAID)
    return Granted(source, order.amount)


def _payment_row(order: CreditOrder, intent: PaymentIntent) -> Payment:
    charge = charge_of(intent)
    paid_at = dt.datetime.fromtimestamp(charge.created if charge else intent.created, dt.UTC)
    receipt_url = (charge.receipt_url if charge else None) or ""
    payment, is_new = Payment.objects.update_or_create(
        stripe_id=intent.id,
        defaults={
            "workspace_id": order.workspace_id,
            "order": order,
            "charge_id": charge.id if charge else "",
            "amount": nano_of(intent.amount_received),
            "receipt_url": receipt_url,
            "paid_at": paid_at,
        },
    )
    if is_new:
        notices.owe(
            "receipt",
            workspace_id=order.workspace_id,
            key=f"receipt:{intent.id}",
            facts={
                "amount": payment.amount,
                "credit": order.amount,
                "is_top_up": order.kind == OrderKind.TOP_UP,
                "receipt_url": receipt_url,
                "paid_at": paid_at.isoformat(),
            },
        )
    return payment


def _check_amount(order: CreditOrder, intent: PaymentIntent) -> None:
    """See that what was paid is what was ordered; tax may come on top. Raises NotAppliedError."""
    if intent.currency != CURRENCY:
        raise NotAppliedError(f"The payment {intent.id} is in {intent.currency.upper()}, and credit is sold in USD.")
    wanted, paid = cents_of(order.amount), intent.amount_received
    if order.session_id is not None:
        session = stripe_api.send(CheckoutSession, stripe_api.client().v1.checkout.sessions.retrieve, order.session_id)
        if session.payment_status != "paid" or session.payment_intent != intent.id:
            raise NotAppliedError(f"The checkout {session.id} of the order {order.pk} was not paid by {intent.id}.")
        if session.currency != CURRENCY:
            raise NotAppliedError(f"The checkout {session.id} is not in USD.")
        # Tax is in the total and not in the subtotal.
        if session.amount_total != paid:
            raise NotAppliedError(f"The checkout {session.id} says {session.amount_total} cents, and {paid} were paid.")
        paid = session.amount_subtotal or 0
    if paid != wanted:
        raise NotAppliedError(f"The order {order.pk} is for {wanted} cents, and {paid} were paid.")
