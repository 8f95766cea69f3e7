"""Checkout sessions in payment mode and their hosted page, which works without JavaScript."""

from html import escape

from rig.stripe.customers import create as create_customer
from rig.stripe.customers import find_live, save_method
from rig.stripe.forms import check_known, is_true, list_page, merge_metadata, read_amount, require
from rig.stripe.payments import add_intent, fail, succeed
from rig.stripe.state import Record, State, StripeError

CREATE = frozenset(
    {
        "automatic_tax", "cancel_url", "client_reference_id", "currency", "customer",
        "customer_creation", "customer_email", "customer_update", "expand", "expires_at",
        "invoice_creation", "line_items", "locale", "metadata", "mode", "payment_intent_data",
        "payment_method_types", "saved_payment_method_options", "submit_type", "success_url",
    }
)  # fmt: skip
INTENT_DATA = ("description", "metadata", "receipt_email", "setup_future_usage", "statement_descriptor_suffix")
PAYS, DECLINES, AUTHENTICATES = "4242424242424242", "4000000000000002", "4000002500003155"


def create(state: State, _ids: list[str], params: Record) -> Record:
    """Create an open session. Raises StripeError for what is missing, unknown or not served."""
    if require(params, "mode") != "payment":
        raise StripeError("This fake serves mode=payment only.", param="mode")
    require(params, "success_url")
    intent_data = params.get("payment_intent_data", {})
    check_known(intent_data, INTENT_DATA, "payment_intent_data")
    if params.get("customer"):
        find_live(state, params["customer"])
    subtotal, currency = _sum_lines(require(params, "line_items"))
    taxed = is_true(params.get("automatic_tax", {}).get("enabled"))
    tax = (subtotal * state.tax_percent + 50) // 100 if taxed else 0
    expires_at = int(params.get("expires_at", state.now() + 86400))
    if not state.now() + 1800 <= expires_at <= state.now() + 86400:
        raise StripeError("expires_at must be between 30 minutes and 24 hours from now.", param="expires_at")
    plain = ("cancel_url", "client_reference_id", "customer", "customer_email", "locale", "success_url")
    session = state.add(
        "checkout.session", "cs_test", **{name: params.get(name) for name in plain}, mode="payment", status="open",
        payment_status="unpaid", payment_intent=None, subscription=None, invoice=None, currency=currency, metadata={},
        amount_subtotal=subtotal, amount_total=subtotal + tax, expires_at=expires_at, customer_details=None,
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
        automatic_tax={"enabled": taxed, "status": "complete" if taxed else None},
        saved_payment_method_options=params.get("saved_payment_method_options"),
    )  # fmt: skip
    session["url"] = f"{state.base_url}/c/pay/{session['id']}"
    merge_metadata(session, params)
    state.behaviours[session["id"]] = "open"
    state.objects[f"{session['id']}/data"] = {"object": "checkout.data", **intent_data}
    return session


def _sum_lines(lines: list[Record]) -> tuple[int, str]:
    total, currencies = 0, set()
    for index, line in enumerate(lines):
        where = f"line_items[{index}]"
        check_known(line, ("price_data", "quantity"), where)
        price = require(line, "price_data")
        check_known(
            price, ("currency", "product", "product_data", "tax_behavior", "unit_amount"), f"{where}[price_data]"
        )
        unit = read_amount(require(price, "unit_amount"), f"{where}[price_data][unit_amount]")
        total += unit * read_amount(line.get("quantity", "1"), f"{where}[quantity]")
        currencies.add(str(require(price, "currency")).lower())
    if len(currencies) != 1:
        raise StripeError("All line items must have the same currency.", param="line_items")
    return total, currencies.pop()


def pay(state: State, session_id: str, number: str = PAYS, *, approved: bool | None = None) -> Record:
    """Pay a session as its customer does. Raises StripeError (402) when the card fails.

    A card that needs authentication leaves the session open until `approved` says how it went.
    """
    session = _find_open(state, session_id)
    if number not in (PAYS, DECLINES, AUTHENTICATES):
        raise StripeError("Your card number is incorrect.", status=402, kind="card_error", code="incorrect_number")
    if number == AUTHENTICATES and approved is None:
        return session
    data = state.objects[f"{session_id}/data"]
    if session["customer"] is None:
        session["customer"] = create_customer(state, [], {"email": session["customer_email"]})["id"]
    intent = _intent_of(state, session, data)
    keeps = data.get("setup_future_usage")
    behaviour = "decline" if number == DECLINES else "succeed"
    method = save_method(state, customer=None, number=number, behaviour=behaviour)
    intent["payment_method"] = method["id"]
    if number == DECLINES or approved is False:
        raise fail(state, intent, "card_declined" if number == DECLINES else "authentication_required")
    if keeps:
        method["customer"] = session["customer"]
        state.emit("payment_method.attached", method)
    succeed(state, intent)
    email = state.objects[session["customer"]]["email"]
    session.update(status="complete", payment_status="paid", url=None, customer_details={"email": email})
    state.emit("checkout.session.completed", session)
    return session


def _intent_of(state: State, session: Record, data: Record) -> Record:
    if session["payment_intent"] is not None:
        return state.objects[session["payment_intent"]]
    intent = add_intent(
        state, amount=session["amount_total"], currency=session["currency"], customer=session["customer"],
        description=data.get("description"), setup_future_usage=data.get("setup_future_usage"),
    )  # fmt: skip
    merge_metadata(intent, data)
    session["payment_intent"] = intent["id"]
    return intent


def _find_open(state: State, session_id: str) -> Record:
    session = state.find("checkout.session", session_id)
    if session["status"] != "open":
        raise StripeError(f"This Session is {session['status']}: only an open one can be paid or expired.")
    return session


def expire(state: State, ids: list[str], _params: Record) -> Record:
    """Expire an open session."""
    session = _find_open(state, ids[0])
    session.update(status="expired", url=None)
    state.emit("checkout.session.expired", session)
    return session


def expire_due(state: State) -> None:
    """Expire every open session whose time is over."""
    for session in reversed(state.all("checkout.session")):
        if session["status"] == "open" and session["expires_at"] <= state.now():
            expire(state, [session["id"]], {})


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return a session."""
    return state.find("checkout.session", ids[0])


def list_sessions(state: State, _ids: list[str], params: Record) -> Record:
    """List sessions, of one customer, payment intent or status when asked."""
    kept = state.all("checkout.session")
    for name in ("customer", "payment_intent", "status"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    return list_page(kept, params, "/v1/checkout/sessions")


def draw_page(session: Record, *, number: str = "", error: str = "") -> str:
    """Return the page of an open session: the card's form, or Approve and Fail for authentication."""
    total = f"{session['amount_total'] / 100:.2f} {escape(session['currency'].upper())}"
    if number == AUTHENTICATES and not error:
        fields = (
            f'<input type="hidden" name="number" value="{number}"><p>Your bank asks you to confirm.</p>'
            '<button name="approved" value="true">Approve</button> <button name="approved" value="false">Fail</button>'
        )
    else:
        fields = f'<label>Card number <input name="number" value="{PAYS}"></label> <button>Pay</button>'
    cancel = f'<a href="{escape(session["cancel_url"])}">Cancel</a>' if session["cancel_url"] else ""
    alert = f'<p role="alert">{escape(error)}</p>' if error else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Fake Checkout</title>'
        f'<body style="font:1rem sans-serif;max-width:30rem;margin:3rem auto"><h1>Pay {total}</h1>{alert}'
        f'<form method="post">{fields}</form><p>{cancel}</p></body></html>'
    )
