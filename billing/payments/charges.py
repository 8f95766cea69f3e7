"""Payments in the books: for an order it is credit, for an invoice see ``invoices``; what goes back takes credit back.

All of it follows from what Stripe says of the payment now, so it does not matter which event came first, or twice.
"""

from django.db import transaction

from billing.models import CreditOrder, OrderKind, OrderState, Payment, StripeCustomer
from billing.payments import invoices, orders, stripe_api
from billing.payments.customers import let_stripe_take_its_time, lock_customer
from billing.payments.errors import NotAppliedError, NotYetError
from billing.payments.money import CURRENCY, cents_of
from billing.payments.objects import CheckoutSession, PaymentIntent
from billing.payments.payment_rows import read_intent, read_payment, write_payment
from billing.payments.reversals import apply_reversals
from billing.services import ledger, notices, returns


def apply_payment(payment_id: str) -> None:
    """Bring the books to what Stripe says of a payment: credit for what it paid, and what went back of it.

    Raises:
        NotOursError: not of an order or an invoice of a workspace here.
        NotAppliedError: another currency, or an amount that is not the order's.
    """
    with transaction.atomic():
        let_stripe_take_its_time()
        first = read_intent(payment_id)
        customer = lock_customer(first.customer, workspace_id=_known_to(first))
        # Read again under the lock: the first reading may be older than what another worker has applied since.
        intent = read_intent(payment_id)
        if orders.ORDER_ID in intent.metadata:
            _apply_to_order(customer, intent)
        else:
            invoices.apply_invoice_payment(customer, intent)


def _known_to(intent: PaymentIntent) -> int | None:
    """Return the workspace that our rows say a payment is of, if they know it."""
    known = Payment.objects.filter(pk=intent.id).values_list("workspace_id", flat=True).first()
    if known is None and orders.ORDER_ID in intent.metadata:
        return orders.workspace_of(intent.metadata[orders.ORDER_ID])
    return known


def _apply_to_order(customer: StripeCustomer, intent: PaymentIntent) -> None:
    order = orders.order_of(intent.metadata[orders.ORDER_ID])
    if order.workspace_id != customer.workspace_id:
        raise NotAppliedError(f"The order {order.pk} belongs to another workspace than its customer.")
    if intent.status != "succeeded":
        return  # at a checkout, the person may try another card
    _check_amount(order, intent)
    found = read_payment(intent)
    _grant(order, intent)
    payment, is_new = write_payment(found, workspace_id=order.workspace_id, order=order)
    if is_new:
        _owe_receipt(order, payment)
    apply_reversals(payment, found)


def _grant(order: CreditOrder, intent: PaymentIntent) -> None:
    ledger.grant(
        workspace_id=order.workspace_id,
        kind=ledger.PAID,
        amount=order.amount,
        source=returns.payment_source(intent.id),
        note="Automatic top-up" if order.kind == OrderKind.TOP_UP else "Purchase",
    )
    orders.finish_order(order, OrderState.PAID)


def _owe_receipt(order: CreditOrder, payment: Payment) -> None:
    notices.owe(
        "receipt",
        workspace_id=order.workspace_id,
        key=f"receipt:{payment.stripe_id}",
        facts={
            "amount": payment.amount,
            "credit": order.amount,
            "is_top_up": order.kind == OrderKind.TOP_UP,
            "receipt_url": payment.receipt_url,
            "paid_at": payment.paid_at.isoformat(),
        },
    )


def _check_amount(order: CreditOrder, intent: PaymentIntent) -> None:
    """See that what was paid is what was ordered; tax may come on top. Raises NotAppliedError, NotYetError."""
    if intent.currency != CURRENCY:
        raise NotAppliedError(f"The payment {intent.id} is in {intent.currency.upper()}, and credit is sold in USD.")
    wanted, paid = cents_of(order.amount), intent.amount_received
    if order.session_id is not None:
        session = stripe_api.send(CheckoutSession, stripe_api.client().v1.checkout.sessions.retrieve, order.session_id)
        if session.status == "open":
            # The payment is told of a moment before its checkout is complete.
            raise NotYetError(f"The checkout {session.id} of the order {order.pk} is not complete yet.")
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
