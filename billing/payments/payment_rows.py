"""Payments as rows of ours: what a payment intent paid for, when, and where its receipt is."""

import datetime as dt
from dataclasses import dataclass

from billing.models import CreditOrder, Payment
from billing.payments import stripe_api
from billing.payments.money import nano_of
from billing.payments.objects import Charge, Dispute, PaymentIntent, Refund


@dataclass(frozen=True, slots=True)
class PaymentRead:
    """All that Stripe says of a payment."""

    intent: PaymentIntent
    charge: Charge | None
    refunds: list[Refund]
    disputes: list[Dispute]


def read_intent(payment_id: str) -> PaymentIntent:
    """Return a payment intent as Stripe has it now."""
    return stripe_api.send(PaymentIntent, stripe_api.client().v1.payment_intents.retrieve, payment_id)


def read_payment(intent: PaymentIntent) -> PaymentRead:
    """Return all that Stripe says of a payment.

    Call it before the books are written: from then on the wallet is locked, and no request must wait for Stripe's answer.
    """
    by_payment = {"payment_intent": intent.id}
    return PaymentRead(
        intent=intent,
        charge=_charge_of(intent),
        refunds=stripe_api.listed(Refund, stripe_api.client().v1.refunds.list, params=by_payment),
        disputes=stripe_api.listed(Dispute, stripe_api.client().v1.disputes.list, params=by_payment),
    )


def write_payment(
    found: PaymentRead, *, workspace_id: int, order: CreditOrder | None = None, invoice_id: str = ""
) -> tuple[Payment, bool]:
    """Write the row of a payment that succeeded, for an order or for an invoice; return it, and whether it is new."""
    intent, charge = found.intent, found.charge
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
