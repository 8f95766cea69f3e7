"""Checkout sessions in payment and subscription mode: created, paid, expired, listed."""

from rig.stripe import invoices, subscriptions
from rig.stripe.cards import ASKS, FAILS, PAYS, check_number, take
from rig.stripe.changes import read_price
from rig.stripe.collection import after_payment
from rig.stripe.customers import attach, find_live
from rig.stripe.customers import create as create_customer
from rig.stripe.forms import check_known, list_page, merge_metadata, read_amount, read_time, require
from rig.stripe.lines import collects_tax
from rig.stripe.payments import add_intent, fail, succeed
from rig.stripe.state import Record, State, StripeError

CREATE = frozenset(
    {
        "allow_promotion_codes", "automatic_tax", "billing_address_collection", "cancel_url", "client_reference_id",
        "consent_collection", "currency", "custom_text", "customer", "customer_creation", "customer_email",
        "customer_update", "expand", "expires_at", "invoice_creation", "line_items", "locale", "metadata", "mode",
        "payment_intent_data", "payment_method_collection", "payment_method_types", "phone_number_collection",
        "saved_payment_method_options", "submit_type", "subscription_data", "success_url", "tax_id_collection",
    }
)  # fmt: skip
INTENT_DATA = ("description", "metadata", "receipt_email", "setup_future_usage", "statement_descriptor_suffix")
SUBSCRIPTION_DATA = ("billing_mode", "description", "metadata")
OF_MODE = {
    "payment": ("customer_creation", "invoice_creation", "payment_intent_data", "submit_type"),
    "subscription": ("payment_method_collection", "subscription_data"),
}
PRICE_DATA = ("currency", "product", "product_data", "tax_behavior", "unit_amount")


def create(state: State, _ids: list[str], params: Record) -> Record:
    """Create an open session. Raises StripeError for what is missing, unknown or not served."""
    mode, data = require(params, "mode"), _read_data(params)
    require(params, "success_url")
    if params.get("customer"):
        find_live(state, params["customer"])
    elif "customer_update" in params:
        raise StripeError("`customer_update` can only be used with `customer`.", param="customer_update")
    lines = require(params, "line_items")
    subtotal, currency = _sum_prices(state, lines) if mode == "subscription" else _sum_lines(lines)
    taxed = collects_tax(params)
    tax = (subtotal * state.tax_percent + 50) // 100 if taxed else 0
    expires_at = read_time(params.get("expires_at", state.now() + 86400), "expires_at")
    if not state.now() + 1800 <= expires_at <= state.now() + 86400:
        raise StripeError("expires_at must be between 30 minutes and 24 hours from now.", param="expires_at")
    plain = (
        "allow_promotion_codes", "billing_address_collection", "cancel_url", "client_reference_id", "customer",
        "customer_email", "locale", "payment_method_collection", "saved_payment_method_options", "success_url",
    )  # fmt: skip
    session = state.add(
        "checkout.session", "cs_test", **{name: params.get(name) for name in plain}, mode=mode, status="open",
        payment_status="unpaid", payment_intent=None, subscription=None, invoice=None, currency=currency, metadata={},
        amount_subtotal=subtotal, amount_total=subtotal + tax, expires_at=expires_at, customer_details=None,
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
        automatic_tax={"enabled": taxed, "status": "complete" if taxed else None},
    )  # fmt: skip
    session["url"] = f"{state.base_url}/c/pay/{session['id']}"
    merge_metadata(session, params)
    plans = {"price": lines[0]["price"], "quantity": int(lines[0].get("quantity", 1))} if mode == "subscription" else {}
    state.objects[f"{session['id']}/data"] = {"object": "checkout.data", **data, **plans}
    return session


def _read_data(params: Record) -> Record:
    """Return what the session hands on to its intent or subscription. Raises StripeError."""
    mode = params["mode"]
    if mode not in OF_MODE:
        raise StripeError("This fake serves mode=payment and mode=subscription only.", param="mode")
    for other, names in OF_MODE.items():
        for name in params.keys() & set(names) if other != mode else ():
            raise StripeError(f"You can not pass `{name}` in `{mode}` mode.", param=name)
    name, known = (
        ("payment_intent_data", INTENT_DATA) if mode == "payment" else ("subscription_data", SUBSCRIPTION_DATA)
    )
    data: Record = params.get(name, {})
    check_known(data, known, name)
    return data


def _sum_lines(lines: list[Record]) -> tuple[int, str]:
    total, currencies = 0, set()
    for index, line in enumerate(lines):
        where = f"line_items[{index}]"
        check_known(line, ("price_data", "quantity"), where)
        price = require(line, "price_data")
        check_known(price, PRICE_DATA, f"{where}[price_data]")
        unit = read_amount(require(price, "unit_amount"), f"{where}[price_data][unit_amount]")
        total += unit * read_amount(line.get("quantity", "1"), f"{where}[quantity]")
        currencies.add(str(require(price, "currency")).lower())
    if len(currencies) != 1:
        raise StripeError("All line items must have the same currency.", param="line_items")
    return total, currencies.pop()


def _sum_prices(state: State, lines: list[Record]) -> tuple[int, str]:
    if len(lines) != 1:
        raise StripeError("This fake has one item per subscription.", param="line_items")
    check_known(lines[0], ("price", "quantity"), "line_items[0]")
    price = read_price(state, require(lines[0], "price"), "line_items[0][price]")
    quantity = read_amount(lines[0].get("quantity", "1"), "line_items[0][quantity]")
    return price["unit_amount"] * quantity, price["currency"]


def pay(state: State, session_id: str, number: str = PAYS, *, approved: bool | None = None) -> Record:
    """Pay a session as its customer does. Raises StripeError (402) when the card fails.

    A card that needs authentication leaves the session open until `approved` says how it went.
    """
    session = _find_open(state, session_id)
    check_number(number)
    if number in ASKS and approved is None:
        return session
    data = state.objects[f"{session_id}/data"]
    if session["customer"] is None:
        session["customer"] = create_customer(state, [], {"email": session["customer_email"]})["id"]
    intent = _intent_of(state, session, data)
    method = take(state, number)
    intent["payment_method"] = method["id"]
    if number in FAILS or approved is False:
        raise fail(state, intent, "card_declined" if number in FAILS else "authentication_required")
    if session["mode"] == "subscription":
        _subscribe(state, session, data, intent, method)
    else:
        if data.get("setup_future_usage"):
            attach(state, method, session["customer"])
        succeed(state, intent)
    email = state.objects[session["customer"]]["email"]
    session.update(status="complete", payment_status="paid", url=None, customer_details={"email": email})
    state.emit("checkout.session.completed", session)
    return session


def _subscribe(state: State, session: Record, data: Record, intent: Record, method: Record) -> None:
    """Start the subscription that a session sells, its first invoice paid by the session's intent."""
    attach(state, method, session["customer"])
    price, params = state.objects[data["price"]], data | {"automatic_tax": session["automatic_tax"]}
    subscription = subscriptions.start(
        state, session["customer"], price, data["quantity"], params, method=method["id"]
    )  # fmt: skip
    invoice = state.objects[subscription["latest_invoice"]]
    session.update(subscription=subscription["id"], invoice=invoice["id"])
    state.emit("customer.subscription.created", subscription)
    state.emit("invoice.created", invoice)
    invoices.finalize(state, invoice, intent)
    if invoice["status"] == "open":
        invoice.update(attempt_count=1, attempted=True)
        succeed(state, intent)
        invoices.mark_paid(state, invoice)
    after_payment(state, invoice)


def _intent_of(state: State, session: Record, data: Record) -> Record:
    """Return the session's intent; that of a subscription is seen on its invoice only."""
    if "intent" in data:
        return state.objects[data["intent"]]
    is_sale = session["mode"] == "payment"
    intent = add_intent(
        state, amount=session["amount_total"], currency=session["currency"], customer=session["customer"],
        description=data.get("description") if is_sale else "Subscription creation",
        setup_future_usage=data.get("setup_future_usage") if is_sale else "off_session",
    )  # fmt: skip
    data["intent"] = intent["id"]
    if is_sale:
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


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return a session."""
    return state.find("checkout.session", ids[0])


def list_sessions(state: State, _ids: list[str], params: Record) -> Record:
    """List sessions, of one customer, payment intent, subscription or status when asked."""
    kept = state.all("checkout.session")
    for name in ("customer", "payment_intent", "status", "subscription"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    return list_page(kept, params, "/v1/checkout/sessions")
