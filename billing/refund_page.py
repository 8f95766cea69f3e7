"""How an operator gives money of a payment back: what is left, what it takes of the credit, and the refund itself."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from billing.forms import RefundForm
from billing.models import RefundRequest
from billing.money_pages import MoneyPage
from billing.payments.refunds import left_of, refund_payment, refusal_of, takes, waiting_of
from billing.payments.stripe_api import payments_are_on
from billing.read_only import dollars
from lumyx.lib.money import nano_to_usd


class RefundPage(MoneyPage):
    """Give money of a payment back."""

    name, title, button = "refund", "Refund", "Refund"
    permission = "billing.add_refundrequest"
    form = RefundForm
    about = (
        "The money goes back to the card that paid; Stripe keeps its fee. The credit that was bought with it is taken back in the"
        " same measure; what was spent of it becomes a debt, which the next credit pays first."
    )
    # Stripe is asked in between.
    is_one_transaction = False

    def refusal(self, row: Any) -> str:
        """Return why nothing can be given back."""
        if not payments_are_on():
            return "Payments are off: without STRIPE_SECRET_KEY nothing can be refunded here."
        return refusal_of(row)

    def initial(self, row: Any) -> dict[str, Any]:
        """Return all that is left; or the refund that got no answer, so that it is sent again as it was."""
        if waiting := waiting_of(row):
            return {"form_id": waiting.pk, "amount": nano_to_usd(waiting.amount), "reason": waiting.reason}
        return {"amount": nano_to_usd(left_of(row))}

    def facts(self, row: Any) -> list[tuple[str, object]]:
        """Return what was paid and what is left of it, and of its credit."""
        left = left_of(row)
        whole = takes(row, left)
        waiting = waiting_of(row)
        return [
            ("Paid", dollars(row.amount)),
            ("Refunded so far", dollars(row.refunded)),
            ("Left to refund", dollars(left)),
            ("Its credit", f"{dollars(whole.credit)}, of which {dollars(whole.unspent)} is unspent"),
            *([("No answer yet", f"A refund of {dollars(waiting.amount)} is sent again below.")] if waiting else []),
        ]

    def review(self, row: Any, values: Mapping[str, Any]) -> tuple[list[tuple[str, object]], str]:
        """Return what goes back, what credit it takes, and what of that was spent."""
        amount = values["amount"]
        taken = takes(row, amount)
        facts = [
            ("Goes back to the card", dollars(amount)),
            ("Left to refund after", dollars(max(0, left_of(row) - amount))),
            ("Credit taken back", dollars(taken.credit)),
            ("Reason", values["reason"]),
        ]
        owed = taken.credit - taken.unspent
        if not owed:
            return facts, ""
        return (
            facts,
            f"{dollars(owed)} of that credit is spent or expired: what was spent of it becomes a debt of the workspace.",
        )

    def do(self, request: HttpRequest, row: Any, values: Mapping[str, Any]) -> tuple[str, str]:
        """Refund, once a form."""
        known = RefundRequest.objects.filter(pk=values["form_id"]).exclude(refund_id="").exists()
        refund = refund_payment(
            row.pk,
            amount=values["amount"],
            reason=values["reason"],
            actor_id=request.user.pk or 0,
            request_id=values["form_id"],
        )
        if known:
            return "", f"This form was sent before: the refund {refund.id} was made then, and not again."
        amount = dollars(values["amount"])
        state = "" if refund.status == "succeeded" else f" Stripe says it is {refund.status}."
        return f"Refunded {amount} ({refund.id}): {values['reason']}", f"{amount} goes back to the card.{state}"
