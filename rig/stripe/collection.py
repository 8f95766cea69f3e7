"""Collecting invoices: the attempt, what a failure does to the subscription, the retries, and the recovery."""

import copy

from rig.stripe import invoices, payments
from rig.stripe.forms import is_true
from rig.stripe.lifecycle import announce, end, set_period, set_price, set_status
from rig.stripe.state import Record, State, StripeError

RETRY_DAYS = (1, 3, 5)  # each counted from the attempt before
PAY = frozenset({"expand", "forgive", "off_session", "paid_out_of_band", "payment_method"})
NEEDS_ACTION = "This payment requires additional user action before it can be completed successfully."


def attempt(state: State, invoice: Record, *, method: str | None = None, is_automatic: bool = True) -> None:
    """Charge an open invoice off session. Raises StripeError (402 from the card) after the failure was noted."""
    if is_automatic or invoice["attempt_count"] == 0:
        invoice["attempt_count"] += 1
    invoice["attempted"] = True
    intent = invoices.intent_of(state, invoice)
    if intent is None:
        return _settle(state, invoice)
    chosen = method or _find_method(state, invoice)
    if chosen is None:
        _note_failure(state, invoice, is_automatic=is_automatic)
        text = "This customer has no attached payment source or default payment method."
        raise StripeError(text, code="resource_missing")
    intent["payment_method"] = chosen
    if state.behaviours[chosen] == "authenticate":
        intent.update(status="requires_action", next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}})
        state.emit("payment_intent.requires_action", intent)
        _note_failure(state, invoice, is_automatic=is_automatic, needs_action=True)
        fields: Record = {"code": "invoice_payment_intent_requires_action", "payment_intent": dict(intent)}
        raise StripeError(NEEDS_ACTION, status=402, kind="card_error", **fields)
    try:
        payments.confirm_intent(state, intent, off_session=True)
    except StripeError:
        _note_failure(state, invoice, is_automatic=is_automatic)
        raise
    return _settle(state, invoice)


def _find_method(state: State, invoice: Record) -> str | None:
    """Return the card to charge: the subscription's, else the customer's, as long as the customer has it."""
    customer = state.objects[invoice["customer"]]
    wanted = invoices.subscription_of(state, invoice)["default_payment_method"]
    for method in (wanted, customer["invoice_settings"]["default_payment_method"]):
        if method and state.objects[method]["customer"] == customer["id"]:
            return str(method)
    return None


def _note_failure(state: State, invoice: Record, *, is_automatic: bool, needs_action: bool = False) -> None:
    if is_automatic:
        tried = invoice["attempt_count"]
        again = state.now() + RETRY_DAYS[tried - 1] * 86400 if tried <= len(RETRY_DAYS) else None
        invoice.update(next_payment_attempt=again, auto_advance=again is not None)
    if needs_action:
        state.emit("invoice.payment_action_required", invoice)
    state.emit("invoice.payment_failed", invoice)


def collect(state: State, invoice: Record) -> None:
    """Charge an invoice by the retry schedule; the subscription is past due after a failure, and over after the last."""
    if invoice["status"] != "open":
        return after_payment(state, invoice)
    try:
        attempt(state, invoice)
    except StripeError:
        subscription = invoices.subscription_of(state, invoice)
        is_latest = subscription["latest_invoice"] == invoice["id"]
        if invoice["next_payment_attempt"] is None and subscription["status"] != "canceled":
            if state.after_retries == "cancel":
                end(state, subscription, "payment_failed")
            else:
                set_status(state, subscription, "unpaid")
        elif is_latest and subscription["status"] == "active":
            set_status(state, subscription, "past_due")
    return None


def _settle(state: State, invoice: Record) -> None:
    invoices.mark_paid(state, invoice)
    after_payment(state, invoice)


def after_payment(state: State, invoice: Record) -> None:
    """Let the subscription follow an invoice that is paid, void or written off: its pending change, its recovery."""
    if invoice["status"] in ("draft", "open"):
        return
    subscription = invoices.subscription_of(state, invoice)
    pending = pending_of(state, subscription)
    if pending and pending["invoice"] == invoice["id"]:
        apply_pending(state, subscription, is_paid=invoice["status"] == "paid")
    if subscription["latest_invoice"] == invoice["id"] and subscription["status"] in ("past_due", "unpaid"):
        set_status(state, subscription, "active")


def pending_of(state: State, subscription: Record) -> Record | None:
    """Return the change that waits for its invoice's payment."""
    return state.objects.get(f"{subscription['id']}/pending") if subscription["pending_update"] else None


def drop_pending(state: State, subscription: Record) -> None:
    """Void the invoice of a change that waits, and the change with it."""
    pending = pending_of(state, subscription)
    if pending:
        void(state, [pending["invoice"]], {})


def apply_pending(state: State, subscription: Record, *, is_paid: bool) -> None:
    """Make the change that waits, or drop it."""
    before, pending = copy.deepcopy(subscription), state.objects.pop(f"{subscription['id']}/pending")
    subscription["pending_update"] = None
    if not is_paid:
        state.emit("customer.subscription.pending_update_expired", subscription)
        return
    change = pending["change"]
    set_price(subscription, state.objects[change["price"]], change["quantity"])
    if change["anew"]:
        subscription["billing_cycle_anchor"] = change["start"]
        set_period(subscription, change["start"], change["end"])
    subscription["latest_invoice"] = pending["invoice"]
    state.emit("customer.subscription.pending_update_applied", subscription)
    announce(state, subscription, before)


def pay(state: State, ids: list[str], params: Record) -> Record:
    """Pay an invoice now. Raises StripeError when it cannot be paid or its card fails (402)."""
    invoice = state.find("invoice", ids[0])
    method = params.get("payment_method")
    if method and state.find("payment_method", method, "payment_method")["customer"] != invoice["customer"]:
        raise StripeError("The customer does not have this payment method.", param="payment_method")
    if invoice["status"] == "draft":
        invoices.finalize(state, invoice)
        after_payment(state, invoice)
        if invoice["status"] == "paid":
            return invoice
    if invoice["status"] not in ("open", "uncollectible"):
        raise StripeError(f"Invoice is already {invoice['status']}.", code="invoice_not_editable")
    if is_true(params.get("paid_out_of_band")):
        _settle(state, invoice)
    else:
        attempt(state, invoice, method=method, is_automatic=False)
    return invoice


def finalize(state: State, ids: list[str], _params: Record) -> Record:
    """Finalize a draft. Raises StripeError for what is none."""
    invoice = state.find("invoice", ids[0])
    if invoice["status"] != "draft":
        raise StripeError("This invoice is already finalized.", code="invoice_not_editable")
    invoices.finalize(state, invoice)
    after_payment(state, invoice)
    return invoice


def void(state: State, ids: list[str], _params: Record) -> Record:
    """Void an invoice."""
    invoice = state.find("invoice", ids[0])
    invoices.void(state, invoice)
    after_payment(state, invoice)
    return invoice


def mark_uncollectible(state: State, ids: list[str], _params: Record) -> Record:
    """Write an invoice off."""
    invoice = state.find("invoice", ids[0])
    invoices.mark_uncollectible(state, invoice)
    after_payment(state, invoice)
    return invoice


def confirm_intent(state: State, ids: list[str], params: Record) -> Record:
    """Confirm a payment intent; the invoice that it is for follows."""
    intent = payments.confirm(state, ids, params)
    _follow(state, intent)
    return intent


def _follow(state: State, intent: Record) -> None:
    invoice = invoices.invoice_of(state, intent)
    if invoice is not None and intent["status"] == "succeeded" and invoice["status"] in ("open", "uncollectible"):
        _settle(state, invoice)


def authenticate(state: State, invoice: Record, *, approved: bool) -> Record:
    """Answer the bank's question about an invoice as its customer. Raises StripeError: nothing is asked, or refused."""
    intent = invoices.intent_of(state, invoice)
    if intent is None or intent["status"] != "requires_action":
        raise StripeError(f"The payment of {invoice['id']} waits for no authentication.")
    if not approved:
        raise payments.fail(state, intent, "authentication_required")
    payments.succeed(state, intent)
    _follow(state, intent)
    return invoice
