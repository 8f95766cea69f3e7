"""Payment intents, their charges, and the balance transactions that money makes."""

from typing import Any

from rig.stripe.customers import find_live
from rig.stripe.forms import is_true, list_page, merge_metadata, read_amount, require
from rig.stripe.state import Record, State, StripeError

CREATE = frozenset(
    {
        "amount", "automatic_payment_methods", "confirm", "currency", "customer", "description",
        "expand", "metadata", "off_session", "payment_method", "payment_method_types",
        "receipt_email", "return_url", "setup_future_usage", "statement_descriptor_suffix",
    }
)  # fmt: skip
MESSAGES = {
    "card_declined": "Your card was declined.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


def add_intent(state: State, *, amount: int, currency: str, **fields: Any) -> Record:
    """Store a payment intent that waits for a payment method, and announce it."""
    blank = {"customer": None, "description": None, "payment_method": None, "setup_future_usage": None}
    intent = state.add(
        "payment_intent", "pi", amount=amount, amount_received=0, currency=currency.lower(), metadata={},
        status="requires_payment_method", latest_charge=None, last_payment_error=None, next_action=None,
        payment_method_types=["card"], canceled_at=None, cancellation_reason=None, **(blank | fields),
    )  # fmt: skip
    intent["client_secret"] = f"{intent['id']}_secret_fake"
    state.emit("payment_intent.created", intent)
    return intent


def create(state: State, _ids: list[str], params: Record) -> Record:
    """Create a payment intent and confirm it when asked to. Raises StripeError: 402 when the card fails."""
    amount, currency = read_amount(require(params, "amount")), require(params, "currency")
    customer, method = params.get("customer"), params.get("payment_method")
    if customer:
        find_live(state, customer)
    if method and state.find("payment_method", method, "payment_method")["customer"] != customer:
        raise StripeError("The customer does not have this payment method.", param="payment_method")
    if is_true(params.get("off_session")) and not is_true(params.get("confirm")):
        raise StripeError("off_session is allowed only when confirm is true.", param="off_session")
    if is_true(params.get("confirm")):
        require(params, "payment_method")
    names = ("customer", "description", "payment_method", "setup_future_usage")
    intent = add_intent(state, amount=amount, currency=currency, **{name: params.get(name) for name in names})
    merge_metadata(intent, params)
    if method:
        intent["status"] = "requires_confirmation"
    if is_true(params.get("confirm")):
        confirm_intent(state, intent, off_session=is_true(params.get("off_session")))
    return intent


def confirm(state: State, ids: list[str], params: Record) -> Record:
    """Confirm a payment intent. Raises StripeError."""
    intent = state.find("payment_intent", ids[0])
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        text = f"This PaymentIntent's status is {intent['status']}: it cannot be confirmed."
        raise StripeError(text, code="payment_intent_unexpected_state")
    method = params.get("payment_method") or intent["payment_method"] or require(params, "payment_method")
    if state.find("payment_method", method, "payment_method")["customer"] != intent["customer"]:
        raise StripeError("The customer does not have this payment method.", param="payment_method")
    intent["payment_method"] = method
    confirm_intent(state, intent, off_session=is_true(params.get("off_session")))
    return intent


def confirm_intent(state: State, intent: Record, *, off_session: bool) -> None:
    """Charge the intent's card as the card behaves. Raises StripeError (402) when it fails."""
    behaviour = state.behaviours[intent["payment_method"]]
    if behaviour == "succeed":
        succeed(state, intent)
    elif behaviour == "authenticate" and not off_session:
        intent["status"] = "requires_action"
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        state.emit("payment_intent.requires_action", intent)
    else:
        raise fail(state, intent, "card_declined" if behaviour == "decline" else "authentication_required")


def succeed(state: State, intent: Record) -> Record:
    """Take the money: the charge, its balance transaction and the events; return the charge."""
    charge = _add_charge(state, intent, status="succeeded", paid=True)
    transaction = add_transaction(state, kind="charge", amount=intent["amount"], source=charge)
    charge["balance_transaction"] = transaction["id"]
    charge["amount_captured"] = intent["amount"]
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    intent.update(last_payment_error=None, next_action=None)
    state.emit("charge.succeeded", charge)
    state.emit("payment_intent.succeeded", intent)
    return charge


def fail(state: State, intent: Record, code: str) -> StripeError:
    """Note a failed charge, emit its events and return the error to answer with."""
    charge = _add_charge(state, intent, status="failed", paid=False)
    charge["failure_code"], charge["failure_message"] = code, MESSAGES[code]
    decline = "authentication_required" if code == "authentication_required" else "generic_decline"
    error = {"code": code, "decline_code": decline, "message": MESSAGES[code], "type": "card_error"}
    error = error | {"charge": charge["id"], "payment_method": dict(state.objects[intent["payment_method"]])}
    intent.update(status="requires_payment_method", latest_charge=charge["id"], last_payment_error=error)
    intent.update(payment_method=None, next_action=None)
    state.emit("charge.failed", charge)
    state.emit("payment_intent.payment_failed", intent)
    fields = {key: value for key, value in error.items() if key not in ("type", "message")}
    return StripeError(MESSAGES[code], status=402, kind="card_error", payment_intent=dict(intent), **fields)


def _add_charge(state: State, intent: Record, *, status: str, paid: bool) -> Record:
    return state.add(
        "charge", "ch", amount=intent["amount"], amount_captured=0, amount_refunded=0, captured=paid, paid=paid,
        currency=intent["currency"], customer=intent["customer"], payment_intent=intent["id"], status=status,
        payment_method=intent["payment_method"], metadata=dict(intent["metadata"]), refunded=False, disputed=False,
        balance_transaction=None, failure_code=None, failure_message=None, description=intent["description"],
        receipt_url=f"{state.base_url}/receipts/{intent['id']}" if paid else None,
    )  # fmt: skip


def add_transaction(state: State, *, kind: str, amount: int, source: Record, fee: int | None = None) -> Record:
    """Store a balance transaction; without `fee`, a charge costs 2.9 % + 30 and all else nothing."""
    cost = fee if fee is not None else (amount * 29 + 500) // 1000 + 30 if kind == "charge" else 0
    return state.add(
        "balance_transaction", "txn", type=kind, amount=amount, fee=cost, net=amount - cost, source=source["id"],
        currency=source["currency"], status="available", reporting_category="dispute" if kind == "adjustment" else kind,
        available_on=state.now(), description=None, exchange_rate=None,
    )  # fmt: skip


def cancel(state: State, ids: list[str], params: Record) -> Record:
    """Cancel a payment intent that has not succeeded."""
    intent = state.find("payment_intent", ids[0])
    if intent["status"] in ("succeeded", "canceled"):
        text = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        raise StripeError(text, code="payment_intent_unexpected_state")
    intent.update(status="canceled", canceled_at=state.now(), cancellation_reason=params.get("cancellation_reason"))
    state.emit("payment_intent.canceled", intent)
    return intent


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return a payment intent."""
    return state.find("payment_intent", ids[0])


def retrieve_charge(state: State, ids: list[str], _params: Record) -> Record:
    """Return a charge."""
    return state.find("charge", ids[0])


def list_intents(state: State, _ids: list[str], params: Record) -> Record:
    """List payment intents, of one customer when asked."""
    wanted = params.get("customer")
    kept = [intent for intent in state.all("payment_intent") if wanted in (None, intent["customer"])]
    return list_page(kept, params, "/v1/payment_intents")


def list_transactions(state: State, _ids: list[str], params: Record) -> Record:
    """List balance transactions, of one type or source when asked."""
    kept = state.all("balance_transaction")
    for name in ("type", "source", "currency"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    return list_page(kept, params, "/v1/balance_transactions")
