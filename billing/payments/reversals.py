"""What goes back of a payment: refunds and disputes take its credit, and return it where they came to nothing.

A refund that failed, and a dispute that was won, are booked as taken and given back even where they were never heard of before:
so the books are the same, whenever what was heard. A refund that is still under way takes nothing yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.models import Payment
from billing.payments import stripe_api
from billing.payments.money import nano_of
from billing.payments.objects import Dispute, Refund
from billing.selectors.grants import grant_from
from billing.services import ledger, notices

#: Refunds by status: those that took, and those that came back.
_TOOK, _RETURNED = {"succeeded"}, {"failed", "canceled"}
#: Disputes whose money is gone for now; an inquiry ("warning_…") takes none.
_OPEN = {"needs_response", "under_review"}
_WON, _LOST = "won", "lost"


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant that a payment made: its source and its amount in nano-USD."""

    source: str
    amount: int


def apply_reversals(payment: Payment, granted: Sequence[Granted]) -> None:
    """Bring refunds and disputes of a payment into the books: each takes its share of every grant that the payment made."""
    taken = _apply_refunds(payment, granted)
    dispute = _apply_disputes(payment, granted)
    if (payment.refunded, payment.dispute) != (taken, dispute):
        payment.refunded, payment.dispute = taken, dispute
        payment.save(update_fields=["refunded", "dispute"])


def _apply_refunds(payment: Payment, granted: Sequence[Granted]) -> int:
    refunds = stripe_api.listed(
        Refund, stripe_api.client().v1.refunds.list, params={"payment_intent": payment.stripe_id}
    )
    taken = 0
    for refund in sorted(refunds, key=lambda refund: (refund.created, refund.id)):
        if refund.status not in _TOOK | _RETURNED:
            continue
        share = _take(payment, granted, ref=f"refund:{refund.id}", cents=refund.amount)
        if refund.status in _RETURNED:
            _give_back(payment, granted, ref=f"refund:{refund.id}", cents=refund.amount)
            continue
        taken += nano_of(refund.amount)
        notices.owe(
            "refund",
            workspace_id=payment.workspace_id,
            key=f"refund:{refund.id}",
            facts={"amount": nano_of(refund.amount), "credit_taken": share},
        )
    return taken


def _apply_disputes(payment: Payment, granted: Sequence[Granted]) -> str:
    disputes = stripe_api.listed(
        Dispute, stripe_api.client().v1.disputes.list, params={"payment_intent": payment.stripe_id}
    )
    for dispute in disputes:
        if dispute.status not in _OPEN | {_WON, _LOST}:
            continue
        facts: dict[str, str | int | bool] = {"amount": nano_of(dispute.amount)}
        is_new = notices.owe(
            "dispute_opened", workspace_id=payment.workspace_id, key=f"dispute_opened:{dispute.id}", facts=facts
        )
        _take(payment, granted, ref=f"dispute:{dispute.id}", cents=dispute.amount)
        if is_new:
            ledger.set_frozen(workspace_id=payment.workspace_id, frozen=True)
        if dispute.status in _OPEN:
            continue
        is_new = notices.owe(
            "dispute_closed",
            workspace_id=payment.workspace_id,
            key=f"dispute_closed:{dispute.id}",
            facts={**facts, "won": dispute.status == _WON},
        )
        if dispute.status == _WON:
            _give_back(payment, granted, ref=f"dispute:{dispute.id}", cents=dispute.amount)
            if is_new and not _has_others(payment, but=dispute.id, among=disputes):
                ledger.set_frozen(workspace_id=payment.workspace_id, frozen=False)
    return disputes[0].status if disputes else ""


def _has_others(payment: Payment, *, but: str, among: Sequence[Dispute]) -> bool:
    """Whether another dispute of the workspace keeps its wallet frozen: one that is open, or that was lost."""
    if any(dispute.id != but and dispute.status in _OPEN | {_LOST} for dispute in among):
        return True
    others = Payment.objects.filter(workspace_id=payment.workspace_id, dispute__in=[*_OPEN, _LOST])
    return others.exclude(pk=payment.pk).exists()


def _take(payment: Payment, granted: Sequence[Granted], *, ref: str, cents: int) -> int:
    """Take a payment's credit back, in proportion to what went back; return how much."""
    taken = 0
    for grant in granted:
        share = _share(payment, grant, cents)
        if share:
            ledger.clawback(
                workspace_id=payment.workspace_id,
                grant_source=grant.source,
                source=_source(ref, grant),
                amount=share,
            )
            taken += share
    return taken


def _give_back(payment: Payment, granted: Sequence[Granted], *, ref: str, cents: int) -> None:
    for grant in granted:
        share = _share(payment, grant, cents)
        if share:
            first = grant_from(grant.source)
            ledger.grant(
                workspace_id=payment.workspace_id,
                kind=first.kind if first else ledger.PAID,
                amount=share,
                source=f"returned:{_source(ref, grant)}",
                expires_at=first.expires_at if first else None,
                note="Refund that failed" if ref.startswith("refund:") else "Dispute won",
            )


def _share(payment: Payment, grant: Granted, cents: int) -> int:
    """Return a grant's part of what went back, rounded down: tax goes back with the rest."""
    return min(grant.amount, grant.amount * nano_of(cents) // payment.amount)


def _source(ref: str, grant: Granted) -> str:
    return f"{ref}:{grant.source}"
