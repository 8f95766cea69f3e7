"""Buying credit: our order comes first, Stripe's page takes the money, and what Stripe then says makes the credit."""

from django.conf import settings
from django.db import transaction

from accounts.models import Workspace
from accounts.services.audit import record
from billing.models import CreditOrder, OrderKind
from billing.payments import orders, stripe_api
from billing.payments.customers import customer_for
from billing.payments.errors import PaymentsError
from billing.payments.money import CURRENCY, cents_of
from billing.payments.objects import CheckoutSession
from lumyx.lib.money import NANO_PER_USD, format_usd, nano_to_usd

#: US dollars: what the page offers, and the least and the most of an amount of one's own.
PRESETS = (5, 10, 25, 50, 100)
LEAST, MOST = 5, 1000


class AmountError(PaymentsError, ValueError):
    """An amount of credit that is not sold."""


def start_checkout(
    workspace: Workspace,
    *,
    user_id: int,
    email: str,
    amount: int,
    success_url: str,
    cancel_url: str,
    saves_card: bool = False,
) -> CheckoutSession:
    """Order credit for ``amount`` nano-USD, and return the checkout at Stripe (``url``) where it is paid.

    ``saves_card``: the card is kept at Stripe, for automatic top-ups.

    Raises:
        AmountError: below, above or not whole cents.
        PaymentsOffError, StripeUnreachableError, StripeRefusedError: nothing was ordered that could be paid.
    """
    if not LEAST * NANO_PER_USD <= amount <= MOST * NANO_PER_USD:
        raise AmountError(f"Credit is sold from ${LEAST} to ${MOST:,} at a time, not for {format_usd(amount)}.")
    try:
        cents = cents_of(amount)
    except ValueError:
        raise AmountError("Credit is sold in whole cents.") from None
    customer = customer_for(workspace, email=email)
    order = CreditOrder.objects.create(
        workspace=workspace, kind=OrderKind.CHECKOUT, amount=amount, created_by_id=user_id
    )
    session = stripe_api.send(
        CheckoutSession,
        stripe_api.client().v1.checkout.sessions.create,
        params={
            "mode": "payment",
            "customer": customer,
            "client_reference_id": workspace.slug,
            "success_url": success_url,
            "cancel_url": cancel_url,
            **_sold(order, cents, saves_card=saves_card),
            **tax_of_checkout(),
        },
        key=f"checkout:{order.pk}",
    )
    order.session_id = session.id
    with transaction.atomic():
        order.save(update_fields=["session_id"])
        details = {"amount": f"${nano_to_usd(amount)}"}
        record("billing.checkout_started", workspace_id=workspace.pk, target=("order", order.pk, ""), details=details)
    return session


def _sold(order: CreditOrder, cents: int, *, saves_card: bool) -> dict[str, object]:
    """Return what a checkout sells, and the marks by which its payment finds the order."""
    carried = {orders.ORDER_ID: str(order.pk)}
    product = {"name": f"{format_usd(order.amount)} of LumyxAI credit"}
    price = {"currency": CURRENCY, "unit_amount": cents, "product_data": product}
    keeps = {"setup_future_usage": "off_session"} if saves_card else {}
    return {
        "line_items": [{"quantity": 1, "price_data": price}],
        "metadata": carried,
        "payment_intent_data": {"metadata": carried, **keeps},
    }


def tax_of_checkout() -> dict[str, object]:
    """Return what a checkout is told of tax: Stripe adds it where the operator switched that on."""
    if not settings.STRIPE_AUTOMATIC_TAX:
        return {}
    return {"automatic_tax": {"enabled": True}, "customer_update": {"address": "auto"}}
