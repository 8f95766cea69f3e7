"""Payments as rows of ours: what a payment intent paid for, when, and where its receipt is."""

import datetime as dt

from billing.models import CreditOrder, Payment
from billing.payments import stripe_api
from billing.payments.money import nano_of
from billing.payments.objects import Charge, PaymentIntent


def read_intent(payment_id: str) -> PaymentIntent:
    """Return a payment intent as Stripe has it now."""
    return stripe_api.send(PaymentIntent, stripe_api.client().v1.payment_intents.retrieve, payment_id)


def write_payment(
    intent: PaymentIntent, *, workspace_id: int, order: CreditOrder | None = None, invoice_id: str = ""
) -> tuple[Payment, bool]:
    """Write the row of a payment that succeeded, for an order or for an invoice; return it, and whether it is new."""
    charge = _charge_of(intent)
    return Payment.objects.update_or_create(
        stripe_id=intent.id,
        defaults={
            "workspace_id": workspace_id,
            "order": order,
            "invoice_id": invoice_id,
            "charge_id": charge.id if charge else "",
            "amount": nano_of(intent.amount_received),
            "receipt_url": (charge.receipt_url if charge else None) or "",
            "paid_at": dt.datetime.fromtimestamp(charge.created if charge else intent.created, dt.UTC),
        },
    )


def _charge_of(intent: PaymentIntent) -> Charge | None:
    if intent.latest_charge is None:
        return None
    return stripe_api.send(Charge, stripe_api.client().v1.charges.retrieve, intent.latest_charge)
