"""Money that goes back: refunds, whole and partial, and disputes."""

from rig.stripe.forms import list_page, merge_metadata, read_amount
from rig.stripe.payments import add_transaction
from rig.stripe.state import Record, State, StripeError

CREATE = frozenset({"amount", "charge", "payment_intent", "reason", "metadata", "expand"})
DISPUTE_FEE = 1500


def create_refund(state: State, _ids: list[str], params: Record, *, status: str = "succeeded") -> Record:
    """Give back a charge or a part of it; `status` may be pending. Raises StripeError when more is asked than is left."""
    charge = _find_charge(state, params)
    left = charge["amount"] - charge["amount_refunded"]
    if not charge["paid"] or left == 0:
        raise StripeError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = read_amount(params["amount"]) if "amount" in params else left
    if amount > left:
        text = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise StripeError(text, param="amount")
    refund = state.add(
        "refund", "re", amount=amount, charge=charge["id"], payment_intent=charge["payment_intent"], metadata={},
        currency=charge["currency"], reason=params.get("reason"), status=status, failure_reason=None,
    )  # fmt: skip
    merge_metadata(refund, params)
    refund["balance_transaction"] = add_transaction(state, kind="refund", amount=-amount, source=refund)["id"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    state.emit("refund.created", refund)
    state.emit("charge.refunded", charge)
    return refund


def _find_charge(state: State, params: Record) -> Record:
    if "charge" in params:
        return state.find("charge", params["charge"], "charge")
    if "payment_intent" not in params:
        raise StripeError("One of the following params should be provided: payment_intent or charge.")
    intent = state.find("payment_intent", params["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        raise StripeError("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
    return state.find("charge", intent["latest_charge"], "charge")


def fail_refund(state: State, refund_id: str) -> Record:
    """Let a refund fail afterwards, as a bank can: its money returns to the balance."""
    refund = state.find("refund", refund_id)
    if refund["status"] == "failed":
        raise StripeError(f"Refund {refund_id} has failed already.")
    before = {"status": refund["status"]}
    refund.update(status="failed", failure_reason="lost_or_stolen_card")
    back = add_transaction(state, kind="refund_failure", amount=refund["amount"], source=refund)
    refund["failure_balance_transaction"] = back["id"]
    charge = state.objects[refund["charge"]]
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    state.emit("refund.updated", refund, before)
    state.emit("refund.failed", refund)
    return refund


def finish_refund(state: State, refund_id: str) -> Record:
    """Let a pending refund succeed. Raises StripeError for another."""
    refund = state.find("refund", refund_id)
    if refund["status"] != "pending":
        raise StripeError(f"Refund {refund_id} is {refund['status']}, not pending.")
    refund["status"] = "succeeded"
    state.emit("refund.updated", refund, {"status": "pending"})
    return refund


def retrieve_refund(state: State, ids: list[str], _params: Record) -> Record:
    """Return a refund."""
    return state.find("refund", ids[0])


def list_refunds(state: State, _ids: list[str], params: Record) -> Record:
    """List refunds, of one charge or payment intent when asked."""
    kept = state.all("refund")
    for name in ("charge", "payment_intent"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    return list_page(kept, params, "/v1/refunds")


def open_dispute(state: State, charge_id: str, amount: int | None = None) -> Record:
    """Dispute a charge: its money and a fee of 15.00 are withdrawn at once."""
    charge = state.find("charge", charge_id)
    if charge["disputed"] or not charge["paid"] or charge["refunded"]:
        raise StripeError(f"Charge {charge_id} is disputed already, was given back, or was not paid.")
    left = charge["amount"] - charge["amount_refunded"]
    dispute = state.add(
        "dispute", "du", amount=amount or left, charge=charge_id, currency=charge["currency"],
        payment_intent=charge["payment_intent"], reason="fraudulent", status="needs_response", metadata={},
        is_charge_refundable=False, balance_transactions=[],
    )  # fmt: skip
    charge["disputed"] = True
    state.emit("charge.dispute.created", dispute)
    row = add_transaction(state, kind="adjustment", amount=-dispute["amount"], source=dispute, fee=DISPUTE_FEE)
    dispute["balance_transactions"].append(dict(row))
    state.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close_dispute(state: State, dispute_id: str, *, won: bool) -> Record:
    """Close a dispute; a won one brings the money back, the fee stays."""
    dispute = state.find("dispute", dispute_id)
    if dispute["status"] in ("won", "lost"):
        raise StripeError(f"Dispute {dispute_id} is closed already.")
    dispute["status"] = "won" if won else "lost"
    state.emit("charge.dispute.closed", dispute, {"status": "needs_response"})
    if won:
        row = add_transaction(state, kind="adjustment", amount=dispute["amount"], source=dispute)
        dispute["balance_transactions"].append(dict(row))
        state.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def retrieve_dispute(state: State, ids: list[str], _params: Record) -> Record:
    """Return a dispute."""
    return state.find("dispute", ids[0])


def list_disputes(state: State, _ids: list[str], params: Record) -> Record:
    """List disputes, of one charge or payment intent when asked."""
    kept = state.all("dispute")
    for name in ("charge", "payment_intent"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    return list_page(kept, params, "/v1/disputes")
