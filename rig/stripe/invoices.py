"""Invoices: composed, finalized, settled, voided; and the payments that belong to them."""

from rig.stripe.forms import list_page
from rig.stripe.payments import add_intent
from rig.stripe.payments import cancel as cancel_intent
from rig.stripe.state import Record, State, StripeError

LEAST_CHARGE = 50  # cents; less than that waits on the customer's balance
LIST = frozenset({"collection_method", "customer", "status", "subscription"})
PREVIEWED = "upcoming_in"
REASONS = {
    "subscription_create": "Subscription creation",
    "subscription_cycle": "Subscription update",
    "subscription_update": "Subscription update",
}


def compose(
    state: State, subscription: Record, lines: list[Record], *, reason: str, start: int, end: int
) -> Record:  # fmt: skip
    """Return a draft's fields: what the lines come to, less the customer's credit. Nothing is stored."""
    customer = state.objects[subscription["customer"]]
    subtotal, taxes = sum(line["amount"] for line in lines), [dict(tax) for line in lines for tax in line["taxes"]]
    total = subtotal + sum(tax["amount"] for tax in taxes)
    due, _ = _apply_balance(total, customer["balance"])
    details = {"subscription": subscription["id"], "metadata": dict(subscription["metadata"])}
    return {
        "amount_due": due, "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": due, "amount_shipping": 0,
        "attempt_count": 0, "attempted": False, "auto_advance": True, "automatically_finalizes_at": None,
        "automatic_tax": {"enabled": subscription["automatic_tax"]["enabled"], "status": None}, "billing_reason": reason,
        "collection_method": "charge_automatically", "currency": item_currency(subscription), "customer": customer["id"],
        "customer_email": customer["email"], "customer_name": customer["name"], "default_payment_method": None,
        "description": None, "discounts": [], "due_date": None, "effective_at": None, "ending_balance": None,
        "footer": None, "hosted_invoice_url": None, "invoice_pdf": None, "metadata": {}, "next_payment_attempt": None,
        "lines": {"object": "list", "data": lines, "has_more": False, "total_count": len(lines), "url": ""},
        "number": None, "parent": {
            "type": "subscription_details", "subscription_details": details, "quote_details": None,
        },
        "period_end": end, "period_start": start, "receipt_number": None, "starting_balance": customer["balance"],
        "status": "draft", "status_transitions": dict.fromkeys(TRANSITIONS), "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal, "total": total, "total_discount_amounts": [],
        "total_excluding_tax": subtotal, "total_pretax_credit_amounts": [], "total_taxes": taxes,
    }  # fmt: skip


TRANSITIONS = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")


def item_currency(subscription: Record) -> str:
    """Return the currency that a subscription is billed in."""
    currency: str = subscription["currency"]
    return currency


def _apply_balance(total: int, balance: int) -> tuple[int, int]:
    """Return what is due and the customer's balance afterwards; a negative balance is credit."""
    left = total + balance
    return (left, 0) if left >= LEAST_CHARGE else (0, left)


def build(
    state: State, subscription: Record, lines: list[Record], *, reason: str, start: int, end: int
) -> Record:  # fmt: skip
    """Store a draft as the subscription's latest invoice; who calls announces it."""
    fields = compose(state, subscription, lines, reason=reason, start=start, end=end)
    invoice = state.add("invoice", "in", **fields)
    for line in lines:
        line["invoice"] = invoice["id"]
    invoice["lines"]["url"] = f"/v1/invoices/{invoice['id']}/lines"
    return invoice


def finalize(state: State, invoice: Record, intent: Record | None = None) -> None:
    """Give a draft its number, use the customer's credit, and ask for what is left; nothing left is paid.

    `intent` is a payment intent that asks already, at Checkout.
    """
    customer = state.objects[invoice["customer"]]
    before = customer["balance"]
    due, after = _apply_balance(invoice["total"], before)
    invoice.update(
        amount_due=due, amount_remaining=due, starting_balance=before, ending_balance=after, status="open",
        effective_at=state.now(), automatically_finalizes_at=None, number=_next_number(state, customer),
        hosted_invoice_url=f"{state.base_url}/i/{invoice['id']}",
        invoice_pdf=f"{state.base_url}/i/{invoice['id']}/pdf",
    )  # fmt: skip
    invoice["status_transitions"]["finalized_at"] = state.now()
    if invoice["automatic_tax"]["enabled"]:
        invoice["automatic_tax"]["status"] = "complete"
    _set_balance(state, customer, after)
    if due:
        _ask_for(state, invoice, intent)
    elif intent:
        cancel_intent(state, [intent["id"]], {})
    state.emit("invoice.finalized", invoice)
    if not due:
        mark_paid(state, invoice)


def _ask_for(state: State, invoice: Record, intent: Record | None) -> None:
    due = invoice["amount_due"]
    if intent is None:
        text = REASONS.get(invoice["billing_reason"])
        intent = add_intent(
            state, amount=due, currency=invoice["currency"], customer=invoice["customer"], description=text,
            setup_future_usage="off_session",
        )  # fmt: skip
    intent["amount"] = due
    state.add(
        "invoice_payment", "inpay", invoice=invoice["id"], amount_paid=None, amount_requested=due, status="open",
        currency=invoice["currency"], is_default=True, status_transitions={"canceled_at": None, "paid_at": None},
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
    )  # fmt: skip


def _next_number(state: State, customer: Record) -> str:
    taken = [row for row in state.all("invoice") if row["customer"] == customer["id"] and row["number"]]
    return f"FAKE{customer['id'][-6:]}-{len(taken) + 1:04d}"


def _set_balance(state: State, customer: Record, balance: int) -> None:
    before = {"balance": customer["balance"]}
    if balance != customer["balance"]:
        customer["balance"] = balance
        state.emit("customer.updated", customer, before)


def payments_of(state: State, invoice: Record, status: str | None = None) -> list[Record]:
    """Return the payments of an invoice, newest first, of one status when asked."""
    kept = [row for row in state.all("invoice_payment") if row["invoice"] == invoice["id"]]
    return [row for row in kept if status in (None, row["status"])]


def intent_of(state: State, invoice: Record) -> Record | None:
    """Return the payment intent that an open invoice waits for."""
    waiting = payments_of(state, invoice, "open")
    return state.objects[waiting[0]["payment"]["payment_intent"]] if waiting else None


def invoice_of(state: State, intent: Record) -> Record | None:
    """Return the invoice that a payment intent is for."""
    for row in state.all("invoice_payment"):
        if row["payment"]["payment_intent"] == intent["id"]:
            return state.objects[row["invoice"]]
    return None


def subscription_of(state: State, invoice: Record) -> Record:
    """Return the subscription that an invoice bills."""
    return state.objects[invoice["parent"]["subscription_details"]["subscription"]]


def mark_paid(state: State, invoice: Record) -> None:
    """Note that an invoice is paid: by its payment, from the balance, or outside Stripe."""
    invoice.update(status="paid", attempted=True, amount_paid=invoice["amount_due"], amount_remaining=0)
    invoice.update(next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["paid_at"] = state.now()
    state.emit("invoice.paid", invoice)
    state.emit("invoice.payment_succeeded", invoice)
    for payment in payments_of(state, invoice, "open"):
        if state.objects[payment["payment"]["payment_intent"]]["status"] == "succeeded":
            payment.update(status="paid", amount_paid=payment["amount_requested"])
            payment["status_transitions"]["paid_at"] = state.now()
            state.emit("invoice_payment.paid", payment)
        else:
            _cancel_payment(state, payment)


def _cancel_payment(state: State, payment: Record) -> None:
    cancel_intent(state, [payment["payment"]["payment_intent"]], {})
    payment["status"] = "canceled"
    payment["status_transitions"]["canceled_at"] = state.now()


def void(state: State, invoice: Record) -> None:
    """Void an invoice and give the credit that it used back. Raises StripeError unless it is open or uncollectible."""
    _require_status(invoice, "open", "uncollectible")
    invoice.update(status="void", next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["voided_at"] = state.now()
    for payment in payments_of(state, invoice, "open"):
        _cancel_payment(state, payment)
    customer = state.objects[invoice["customer"]]
    _set_balance(state, customer, customer["balance"] + invoice["starting_balance"] - invoice["ending_balance"])
    state.emit("invoice.voided", invoice)


def mark_uncollectible(state: State, invoice: Record) -> None:
    """Write an invoice off; it can still be paid. Raises StripeError unless it is open."""
    _require_status(invoice, "open")
    invoice.update(status="uncollectible", next_payment_attempt=None, auto_advance=False)
    invoice["status_transitions"]["marked_uncollectible_at"] = state.now()
    state.emit("invoice.marked_uncollectible", invoice)


def _require_status(invoice: Record, *statuses: str) -> None:
    if invoice["status"] not in statuses:
        text = f"This invoice's status is {invoice['status']}: it must be {' or '.join(statuses)}."
        raise StripeError(text, code="invoice_not_editable")


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return an invoice."""
    return state.find("invoice", ids[0])


def list_invoices(state: State, _ids: list[str], params: Record) -> Record:
    """List invoices, of one customer, subscription, status or collection method when asked."""
    kept = state.all("invoice")
    for name in ("customer", "status", "collection_method"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    wanted = params.get("subscription")
    kept = [row for row in kept if wanted in (None, row["parent"]["subscription_details"]["subscription"])]
    return list_page(kept, params, "/v1/invoices")


def list_lines(state: State, ids: list[str], params: Record) -> Record:
    """List the lines of an invoice in their order."""
    lines = [line | {"created": 0} for line in state.find("invoice", ids[0])["lines"]["data"]]
    page = list_page(lines, params, f"/v1/invoices/{ids[0]}/lines")
    page["data"] = [{name: value for name, value in line.items() if name != "created"} for line in page["data"]]
    return page


def list_payments(state: State, _ids: list[str], params: Record) -> Record:
    """List the payments of invoices, of one invoice, status or payment when asked."""
    kept = state.all("invoice_payment")
    for name in ("invoice", "status"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    for name, value in params.get("payment", {}).items():
        kept = [row for row in kept if row["payment"].get(name) == value]
    return list_page(kept, params, "/v1/invoice_payments")


def retrieve_payment(state: State, ids: list[str], _params: Record) -> Record:
    """Return a payment of an invoice."""
    return state.find("invoice_payment", ids[0])
