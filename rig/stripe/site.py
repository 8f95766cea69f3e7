"""The pages that people see: Checkout, the portal, invoices and receipts. None needs JavaScript."""

import re
from dataclasses import dataclass, field
from html import escape

from rig.stripe import cards, checkout, collection, invoices, portal
from rig.stripe.customers import attach
from rig.stripe.forms import is_true
from rig.stripe.lines import item_of
from rig.stripe.paper import draw, draw_card_form, draw_invoice, draw_row, draw_session, write_money, write_pdf
from rig.stripe.periods import write_day
from rig.stripe.state import Record, State, StripeError


@dataclass(frozen=True)
class Page:
    """An answer to a browser."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def serve(state: State, method: str, path: str, form: Record) -> Page | None:
    """Return the page at `path`, None when there is none."""
    for pattern, view in VIEWS:
        found = re.fullmatch(pattern, path)
        if found:
            try:
                return view(state, found[1], form if method == "POST" else None)
            except StripeError as error:
                return _html(draw("This page is not there.", "", error=str(error)), error.status)
    return None


def _html(text: str, status: int = 200) -> Page:
    return Page(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _go(address: str) -> Page:
    return Page(303, b"", {"Location": address})


def _read_number(form: Record | None) -> str:
    return str((form or {}).get("number", "")).replace(" ", "")


def _read_approval(form: Record) -> bool | None:
    return is_true(form["approved"]) if "approved" in form else None


def _serve_checkout(state: State, session_id: str, form: Record | None) -> Page:
    session, number, error = state.find("checkout.session", session_id), _read_number(form), ""
    if form is not None and session["status"] == "open":
        try:
            session = checkout.pay(state, session_id, number, approved=_read_approval(form))
        except StripeError as failed:
            error = str(failed)
    if session["status"] == "complete":
        return _go(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id))
    if session["status"] == "expired":
        return _html(draw("This payment page has expired.", "<p>Go back and start again.</p>"), 410)
    return _html(draw_session(session, _name_of(state, session), number=number, error=error))


def _name_of(state: State, session: Record) -> str:
    data = state.objects[f"{session['id']}/data"]
    if session["mode"] != "subscription":
        return str(data.get("description") or "Payment")
    price = state.objects[data["price"]]
    return f"{state.objects[price['product']]['name']}, every {price['recurring']['interval']}"


def _serve_invoice(state: State, invoice_id: str, form: Record | None) -> Page:
    invoice, number, error, asks = state.find("invoice", invoice_id), _read_number(form), "", False
    if form is not None and invoice["status"] in ("open", "uncollectible"):
        try:
            asks = not pay_invoice(state, invoice, number, approved=_read_approval(form))
        except StripeError as failed:
            error = str(failed)
        if invoice["status"] == "paid":
            return _go(f"/i/{invoice_id}")
    intent = invoices.intent_of(state, invoice)
    asks = asks or (form is None and intent is not None and intent["status"] == "requires_action")
    return _html(draw_invoice(invoice, asks=asks, number=number, error=error, back=None))


def pay_invoice(state: State, invoice: Record, number: str, *, approved: bool | None = None) -> bool:
    """Pay an invoice on its page; the card stays, for the subscription too. Return whether no question is left.

    A card that asks leaves the invoice open until `approved` says how it went. Raises StripeError when it fails.
    """
    intent = invoices.intent_of(state, invoice)
    if approved is not None and intent is not None and intent["status"] == "requires_action":
        collection.authenticate(state, invoice, approved=approved)
        return True
    cards.check_number(number)
    if number in cards.ASKS and approved is None:
        return False
    if approved is False:
        raise StripeError(collection.NEEDS_ACTION, status=402, kind="card_error", code="authentication_required")
    method, subscription = cards.take(state, number), invoices.subscription_of(state, invoice)
    attach(state, method, invoice["customer"])
    if number in cards.ASKS and intent is not None:
        intent.update(status="requires_action", payment_method=method["id"])
        collection.authenticate(state, invoice, approved=True)
    else:
        collection.pay(state, [invoice["id"]], {"payment_method": method["id"]})
    subscription["default_payment_method"] = method["id"]
    return True


def _serve_pdf(state: State, invoice_id: str, _form: Record | None) -> Page:
    invoice = state.find("invoice", invoice_id)
    if invoice["number"] is None:
        raise StripeError("A draft has no PDF.", status=404)
    name = f'attachment; filename="{invoice["number"]}.pdf"'
    return Page(200, write_pdf(invoice), {"Content-Type": "application/pdf", "Content-Disposition": name})


def _serve_receipt(state: State, intent_id: str, _form: Record | None) -> Page:
    intent = state.find("payment_intent", intent_id)
    if intent["status"] != "succeeded":
        raise StripeError("This payment has no receipt.", status=404)
    charge = state.objects[intent["latest_charge"]]
    rows = draw_row("Paid", write_money(charge["amount"], charge["currency"])) + draw_row(
        "On", write_day(charge["created"])
    )
    if charge["amount_refunded"]:
        rows += draw_row("Refunded", write_money(charge["amount_refunded"], charge["currency"]))
    invoice = invoices.invoice_of(state, intent)
    if invoice is not None:
        rows += draw_row("Invoice", f'<a href="/i/{invoice["id"]}">{escape(invoice["number"])}</a>')
    return _html(draw("Receipt", f"<section>{rows}</section>"))


def _serve_portal(state: State, session_id: str, form: Record | None) -> Page:
    session, error = state.find("billing_portal.session", session_id), ""
    flow = session["flow"]
    if form is not None:
        try:
            portal.act(state, session, form)
        except StripeError as failed:
            error = str(failed)
        else:
            after: Record = flow["after_completion"] if flow else {"type": "portal_homepage"}
            return _go(after["redirect"]["return_url"] if after["type"] == "redirect" else f"/p/session/{session_id}")
    features = state.objects[session["configuration"]]["features"]
    parts = []
    running = portal.find_running(state, session["customer"])
    is_open = {name: flow is None or flow["type"] == name for name in portal.FLOWS}
    if is_open["subscription_cancel"]:
        parts += [_draw_subscription(state, row, features["subscription_cancel"]) for row in running]
        parts += [] if running else ["<section><p>You have no subscription.</p></section>"]
    if is_open["payment_method_update"] and features["payment_method_update"]["enabled"]:
        form_text = draw_card_form("Save card", action="card")
        parts.append(f"<section><h2>Card</h2>{_draw_card(state, session['customer'], running)}{form_text}</section>")
    if flow is None and features["invoice_history"]["enabled"]:
        parts.append(f"<section><h2>Invoices</h2>{_draw_invoices(state, session['customer'])}</section>")
    return _html(draw("Your plan and invoices", "".join(parts), error=error, back=session["return_url"]))


def _draw_subscription(state: State, subscription: Record, canceling: Record) -> str:
    item = item_of(subscription)
    price, name = item["price"], state.objects[item["price"]["product"]]["name"]
    each = f"{write_money(price['unit_amount'] * item['quantity'], price['currency'])} per {price['recurring']['interval']}"
    rows = draw_row(f"<strong>{escape(name)}</strong>", each)
    rows += draw_row("Status", escape(subscription["status"].replace("_", " ")))
    ends = subscription["cancel_at"]
    rows += draw_row("Ends on" if ends else "Renews on", write_day(ends or item["current_period_end"]))
    if not canceling["enabled"] or subscription["schedule"]:
        return f"<section>{rows}</section>"
    action, text = ("resume", "Keep the plan") if ends else ("cancel", "Cancel at the period's end")
    if action == "cancel" and canceling["mode"] == "immediately":
        text = "Cancel now"
    return (
        f'<section>{rows}<form method="post"><input type="hidden" name="subscription" value="{subscription["id"]}">'
        f'<button class="quiet" name="action" value="{action}">{text}</button></form></section>'
    )


def _draw_card(state: State, customer_id: str, running: list[Record]) -> str:
    wanted = [row["default_payment_method"] for row in running]
    wanted.append(state.objects[customer_id]["invoice_settings"]["default_payment_method"])
    for method_id in wanted:
        if method_id:
            return f'<p class="muted">Now: card ending in {state.objects[method_id]["card"]["last4"]}</p>'
    return '<p class="muted">No card is saved.</p>'


def _draw_invoices(state: State, customer_id: str) -> str:
    rows = [
        draw_row(
            f'<a href="/i/{row["id"]}">{escape(row["number"])}</a> {write_day(row["created"])}',
            f"{write_money(row['total'], row['currency'])} · {row['status']}",
        )
        for row in state.all("invoice")
        if row["customer"] == customer_id and row["number"]
    ]
    return "".join(rows) or '<p class="muted">There are none yet.</p>'


VIEWS = (
    (r"/c/pay/([^/]+)", _serve_checkout),
    (r"/p/session/([^/]+)", _serve_portal),
    (r"/i/([^/]+)", _serve_invoice),
    (r"/i/([^/]+)/pdf", _serve_pdf),
    (r"/receipts/([^/]+)", _serve_receipt),
)
