"""What payments that went back take of the credit that they made. From our own rows alone: Stripe is not asked.

Each refund and dispute takes its share of every grant of its payment, once, and gives it again where it came to nothing. A year's
credit comes by the month: a month that is granted after the refund loses the same share as those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.models import CreditPeriod, Invoice, Payment, Reversal
from billing.selectors.grants import grant_from
from billing.services import ledger


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant that a payment made: its source and its amount in nano-USD."""

    source: str
    amount: int


def grant_source(period_source: str) -> str:
    """Return the source of the grant that a period of VIP credit makes."""
    return f"vip:{period_source}"


def payment_source(payment_id: str) -> str:
    """Return the source of the grant that a payment for an order makes."""
    return f"payment:{payment_id}"


def granted_by(payment: Payment) -> list[Granted]:
    """Return the grants that a payment has made so far, oldest first."""
    if payment.order is not None:
        return [Granted(payment_source(payment.stripe_id), payment.order.amount)]
    periods = CreditPeriod.objects.filter(
        workspace_id=payment.workspace_id, source__startswith=f"{payment.invoice_id}:"
    ).order_by("starts_at", "source")
    found = []
    for source in periods.values_list("source", flat=True):
        grant = grant_from(grant_source(source))
        if grant is not None:
            found.append(Granted(grant_source(source), grant.amount))
    return found


def follow_month(period_source: str) -> None:
    """Let a month that was granted just now lose what its payment's refunds and disputes take of it."""
    invoice_id = period_source.partition(":")[0]
    for payment in Payment.objects.filter(invoice_id=invoice_id).exclude(invoice_id="") if invoice_id else ():
        apply_reversals(payment)


def apply_reversals(payment: Payment) -> dict[str, int]:
    """Bring a payment's refunds and disputes into the books; return what each takes now, by its ref, in nano-USD."""
    reversals = list(payment.reversals.order_by("happened_at", "ref"))
    if not reversals:
        return {}
    granted, whole = granted_by(payment), whole_of(payment)
    return {reversal.ref: _apply(payment, reversal, granted, whole) for reversal in reversals}


def whole_of(payment: Payment) -> int:
    """Return what was paid for the credit in all: of an invoice a part may have come from the customer's balance at Stripe."""
    total = Invoice.objects.filter(pk=payment.invoice_id).values_list("total", flat=True).first()
    return max(payment.amount, total or 0)


def share_of(grant: Granted, amount: int, whole: int) -> int:
    """Return what going back ``amount`` of a payment of ``whole`` takes of one of its grants, in nano-USD."""
    # Rounded down: tax goes back with the rest.
    return min(grant.amount, grant.amount * amount // whole)


def _apply(payment: Payment, reversal: Reversal, granted: Sequence[Granted], whole: int) -> int:
    taken = 0
    for grant in granted:
        share = share_of(grant, reversal.amount, whole)
        if not share:
            continue
        source = f"{reversal.ref}:{grant.source}"
        ledger.clawback(workspace_id=payment.workspace_id, grant_source=grant.source, source=source, amount=share)
        if reversal.is_undone:
            _give_back(payment, grant, share, source)
        else:
            taken += share
    return taken


def _give_back(payment: Payment, grant: Granted, share: int, source: str) -> None:
    first = grant_from(grant.source)
    ledger.grant(
        workspace_id=payment.workspace_id,
        kind=first.kind if first else ledger.PAID,
        amount=share,
        source=f"returned:{source}",
        expires_at=first.expires_at if first else None,
        note="Refund that failed" if source.startswith("refund:") else "Dispute won",
    )
