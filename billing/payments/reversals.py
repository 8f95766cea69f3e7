"""Money that goes back: refunds and disputes, brought from Stripe into our rows, and from there into the books."""

import datetime as dt
from collections.abc import Sequence

from billing.models import Payment, Reversal
from billing.payments.money import nano_of
from billing.payments.objects import Dispute, Refund
from billing.payments.payment_rows import PaymentRead
from billing.services import by_hand, notices, returns

#: Refunds by status: those that took, and those that came back.
_TOOK, _RETURNED = {"succeeded"}, {"failed", "canceled"}
#: Disputes whose money is gone for now; an inquiry ("warning_…") takes none.
_OPEN = {"needs_response", "under_review"}
_WON, _LOST = "won", "lost"


def apply_reversals(payment: Payment, found: PaymentRead) -> None:
    """Bring what Stripe says of a payment's refunds and disputes into the books."""
    disputes = found.disputes
    refunds = [refund for refund in found.refunds if refund.status in _TOOK | _RETURNED]
    for refund in refunds:
        _note(payment, _ref(refund), refund, is_undone=refund.status in _RETURNED)
    for dispute in disputes:
        if dispute.status in _OPEN | {_WON, _LOST}:
            _note(payment, _ref(dispute), dispute, is_undone=dispute.status == _WON)
    taken = returns.apply_reversals(payment)
    _tell_of_refunds(payment, refunds, taken)
    _freeze_or_not(payment, disputes)
    refunded = sum(nano_of(refund.amount) for refund in refunds if refund.status in _TOOK)
    status = disputes[0].status if disputes else ""
    if (payment.refunded, payment.dispute) != (refunded, status):
        payment.refunded, payment.dispute = refunded, status
        payment.save(update_fields=["refunded", "dispute"])


def _ref(found: Refund | Dispute) -> str:
    return f"refund:{found.id}" if isinstance(found, Refund) else f"dispute:{found.id}"


def _note(payment: Payment, ref: str, found: Refund | Dispute, *, is_undone: bool) -> None:
    happened_at = dt.datetime.fromtimestamp(found.created, dt.UTC)
    fresh = {"payment": payment, "amount": nano_of(found.amount), "is_undone": is_undone, "happened_at": happened_at}
    Reversal.objects.update_or_create(ref=ref, defaults={"is_undone": is_undone}, create_defaults=fresh)


def _tell_of_refunds(payment: Payment, refunds: Sequence[Refund], taken: dict[str, int]) -> None:
    for refund in refunds:
        if refund.status in _TOOK:
            notices.owe(
                "refund",
                workspace_id=payment.workspace_id,
                key=_ref(refund),
                facts={"amount": nano_of(refund.amount), "credit_taken": taken[_ref(refund)]},
            )


def _freeze_or_not(payment: Payment, disputes: Sequence[Dispute]) -> None:
    """Freeze the wallet when a dispute opens, and thaw it when it was won and no other keeps it frozen."""
    for dispute in disputes:
        if dispute.status not in _OPEN | {_WON, _LOST}:
            continue
        facts: dict[str, str | int | bool] = {"amount": nano_of(dispute.amount)}
        key = f"dispute_opened:{dispute.id}"
        if notices.owe("dispute_opened", workspace_id=payment.workspace_id, key=key, facts=facts):
            by_hand.set_frozen(workspace_id=payment.workspace_id, frozen=True)
        if dispute.status in _OPEN:
            continue
        won = dispute.status == _WON
        key = f"dispute_closed:{dispute.id}"
        is_new = notices.owe("dispute_closed", workspace_id=payment.workspace_id, key=key, facts={**facts, "won": won})
        if won and is_new and not _has_others(payment, but=dispute.id, among=disputes):
            by_hand.set_frozen(workspace_id=payment.workspace_id, frozen=False)


def _has_others(payment: Payment, *, but: str, among: Sequence[Dispute]) -> bool:
    """Whether another dispute of the workspace keeps its wallet frozen: one that is open, or that was lost."""
    if any(dispute.id != but and dispute.status in _OPEN | {_LOST} for dispute in among):
        return True
    others = Payment.objects.filter(workspace_id=payment.workspace_id, dispute__in=[*_OPEN, _LOST])
    return others.exclude(pk=payment.pk).exists()
