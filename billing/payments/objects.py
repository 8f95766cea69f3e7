"""Stripe's objects, as far as they are read: typed values of ours, so that nothing else of the SDK travels on.

Amounts are in the currency's smallest unit, as Stripe has them (US cents); times are Unix seconds.
"""

from typing import Any

import msgspec
from msgspec import Struct, field

from billing.payments.errors import NotAppliedError


class Customer(Struct, frozen=True):
    """cus_…"""

    id: str
    deleted: bool = False


class CheckoutSession(Struct, frozen=True):
    """cs_…"""

    id: str
    mode: str
    status: str | None = None
    payment_status: str = ""
    customer: str | None = None
    currency: str | None = None
    amount_subtotal: int | None = None
    amount_total: int | None = None
    payment_intent: str | None = None
    subscription: str | None = None
    url: str | None = None
    livemode: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


class PaymentIntent(Struct, frozen=True):
    """pi_…"""

    id: str
    status: str
    amount: int
    currency: str
    created: int
    amount_received: int = 0
    customer: str | None = None
    latest_charge: str | None = None
    livemode: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


class Charge(Struct, frozen=True):
    """ch_…"""

    id: str
    amount: int
    currency: str
    created: int
    payment_intent: str | None = None
    customer: str | None = None
    receipt_url: str | None = None


class Refund(Struct, frozen=True):
    """re_…: what went, or is to go, back to the customer."""

    id: str
    amount: int
    currency: str
    created: int
    status: str | None = None
    payment_intent: str | None = None
    charge: str | None = None


class Dispute(Struct, frozen=True):
    """dp_…: a payment that its payer's bank takes back. Its status says how it stands."""

    id: str
    amount: int
    currency: str
    created: int
    status: str
    payment_intent: str | None = None
    charge: str | None = None


def read[T](wanted: type[T], given: dict[str, Any]) -> T:
    """Return an object as ``wanted``. Raises NotAppliedError for a shape that Stripe did not have when this was written."""
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        name = f"{given.get('object', 'object')} {given.get('id', '')}".strip()
        raise NotAppliedError(f"Stripe's {name} has a shape that is not known here: {error}") from None
