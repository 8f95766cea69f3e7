"""Refunds by operators: our request comes first, with who and why; Stripe is asked once; the credit follows what Stripe says.

The request's id comes from the form and is the key at Stripe, so that a second press, and a try after no answer, refund once.
"""

import datetime as dt
import logging
import uuid
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Sum

from accounts.services.audit import record
from billing.models import Payment, RefundRequest
from billing.payments import charges, stripe_api
from billing.payments.errors import PaymentsError, StripeRefusedError
from billing.payments.money import NANO_PER_CENT, cents_of
from billing.payments.objects import Refund
from billing.selectors.grants import grant_from
from billing.services import returns
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from lumyx.lib.money import format_usd, nano_to_usd

_logger = logging.getLogger(__name__)

#: So long Stripe knows a key for certain. A request without an answer is sent again within it, and nothing else before that.
_KEY_LIFE = dt.timedelta(hours=24)
#: Disputes whose money is not ours for now; an inquiry ("warning_…") may be answered with a refund.
_OPEN = {"needs_response", "under_review"}
#: Stripe's limit for a value of metadata, and ours for a reason.
LONGEST_REASON = 500


class RefundError(PaymentsError, ValueError):
    """A refund that is not asked for at Stripe; nothing was written."""


@dataclass(frozen=True, slots=True)
class Takes:
    """What a refund takes of the credit that its payment made, in nano-USD: ``unspent`` of it is still there."""

    credit: int
    unspent: int


def refund_payment(
    payment_id: str, *, amount: int | None, reason: str, actor_id: int, request_id: uuid.UUID | None = None
) -> Refund:
    """Give money of a payment back, nano-USD (None: all that is left), and take its share of the credit at once.

    ``request_id`` is of the form that it came from: the same one refunds once, and is answered with the same refund. Where
    the credit cannot be taken at once, the event that Stripe sends does it.

    Raises:
        RefundError: no such payment, no reason, an open dispute, nothing left, an amount that is not whole cents, above zero
            and at most what is left; or another refund of the payment that waits for its answer.
        PaymentsOffError, StripeRefusedError: nothing was refunded.
        StripeUnreachableError: nobody knows; the same request may be sent again.
    """
    api = stripe_api.client().v1  # before anything is written: it refuses where payments are off
    request = _request(payment_id, amount, reason.strip(), actor_id, request_id or uuid7())
    if request.refund_id:
        return stripe_api.send(Refund, api.refunds.retrieve, request.refund_id)
    refund = _ask(request)
    try:
        charges.apply_payment(payment_id)
    except PaymentsError as error:
        _logger.warning("The refund %s is in the books when Stripe's event of it is applied: %s", refund.id, error)
    return refund


def _ask(request: RefundRequest) -> Refund:
    """Ask Stripe for a refund, and keep its answer, yes or no."""
    carried = {"refund_request": str(request.pk), "operator": str(request.actor_id), "reason": request.reason}
    try:
        refund = stripe_api.send(
            Refund,
            stripe_api.client().v1.refunds.create,
            params={
                "payment_intent": request.payment_id,
                "amount": cents_of(request.amount),
                "metadata": carried,
            },
            key=f"refund:{request.pk}",
        )
    except StripeRefusedError as error:
        _answer(request, error=str(error)[:500])
        raise
    _answer(request, refund_id=refund.id)
    return refund


def _answer(request: RefundRequest, **answer: str) -> None:
    """Keep Stripe's answer; where the same form was sent twice, the first answer is there."""
    with transaction.atomic():
        is_first = RefundRequest.objects.filter(pk=request.pk, refund_id="", error="").update(**answer)
        if is_first and "refund_id" in answer:
            record(
                "billing.refunded",
                workspace_id=request.payment.workspace_id,
                target=("payment", request.payment_id, request.payment_id),
                details={"amount": f"${nano_to_usd(request.amount)}"},
            )


def left_of(payment: Payment) -> int:
    """Return what of a payment can still be given back, in nano-USD: also what Stripe has not told us of yet is gone."""
    told = {ref.removeprefix("refund:") for ref in payment.reversals.values_list("ref", flat=True)}
    asked = payment.refund_requests.exclude(refund_id="").exclude(refund_id__in=told)
    untold = asked.aggregate(sum=Sum("amount"))["sum"] or 0
    return max(0, payment.amount - payment.refunded - untold)


def refusal_of(payment: Payment) -> str:
    """Return why nothing of a payment can be given back now, in words; empty where it can."""
    if payment.dispute == "lost":
        return "The payer's bank has taken this payment back already: there is nothing to refund."
    if payment.dispute in _OPEN:
        return "A dispute about this payment is open: Stripe decides where its money goes. Answer it at Stripe first."
    if not left_of(payment):
        return "All of this payment was refunded already."
    return ""


def waiting_of(payment: Payment) -> RefundRequest | None:
    """Return the refund of a payment that got no answer from Stripe and is to be sent again before any other, if there is one."""
    return (
        RefundRequest.objects.filter(payment=payment, refund_id="", error="", at__gt=clock.now() - _KEY_LIFE)
        .order_by("-at")
        .first()
    )


def takes(payment: Payment, amount: int) -> Takes:
    """Return what giving back ``amount`` nano-USD takes of the credit. What was spent of it becomes debt."""
    whole = returns.whole_of(payment)
    credit = unspent = 0
    for granted in returns.granted_by(payment):
        share = returns.share_of(granted, amount, whole)
        seen = grant_from(granted.source)
        credit += share
        unspent += min(share, seen.remaining if seen else 0)
    return Takes(credit, unspent)


def _request(payment_id: str, amount: int | None, reason: str, actor_id: int, request_id: uuid.UUID) -> RefundRequest:
    """Return the row of a request, written and committed unless it is there already."""
    if not 0 < len(reason) <= LONGEST_REASON:
        raise RefundError(f"A refund needs a reason of at most {LONGEST_REASON} characters.")
    # Committed before Stripe is asked, so that what was asked is known whatever happens then.
    with transaction.atomic(durable=True):
        payment = Payment.objects.select_for_update(of=("self",)).filter(pk=payment_id).first()
        if payment is None:
            raise RefundError(f"There is no payment {payment_id}.")
        earlier = RefundRequest.objects.filter(pk=request_id).first()
        if earlier is not None:
            return _again(earlier, payment_id, amount)
        amount = _checked(payment, amount)
        return RefundRequest.objects.create(
            pk=request_id, payment=payment, amount=amount, reason=reason, actor_id=actor_id
        )


def _again(earlier: RefundRequest, payment_id: str, amount: int | None) -> RefundRequest:
    """Return a request that came before, if it is the same and may be sent again."""
    if earlier.payment_id != payment_id or amount not in {None, earlier.amount}:
        raise RefundError("This form was sent before with another amount. Open it anew.")
    if earlier.error:
        raise RefundError(f"Stripe refused this refund before: {earlier.error} Open the form anew to try again.")
    if not earlier.refund_id and earlier.at < clock.now() - _KEY_LIFE:
        raise RefundError("This form is older than a day. Open it anew.")
    return earlier


def _checked(payment: Payment, amount: int | None) -> int:
    """Return what is to be given back. Raises RefundError."""
    if refusal := refusal_of(payment):
        raise RefundError(refusal)
    if waiting := waiting_of(payment):
        raise RefundError(
            f"A refund of {format_usd(waiting.amount)} of this payment got no answer from Stripe. Send that one again first."
        )
    left = left_of(payment)
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise RefundError(
            f"A refund of this payment is above zero and at most {format_usd(left)}, which is left of it."
        )
    if amount % NANO_PER_CENT:
        raise RefundError("A refund is in whole cents.")
    return amount
