"""Customers and the payment methods that Checkout saved for them."""

from rig.stripe.forms import list_page, merge_metadata
from rig.stripe.state import Record, State, StripeError

PLAIN = ("name", "email", "phone", "description", "address", "preferred_locales", "tax_exempt")
FIELDS = frozenset({*PLAIN, "metadata", "expand", "invoice_settings"})
SETTINGS: Record = {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None}


def create(state: State, _ids: list[str], params: Record) -> Record:
    """Create a customer."""
    plain = dict.fromkeys(PLAIN) | {"preferred_locales": [], "tax_exempt": "none"}
    given = {name: params[name] for name in PLAIN if name in params}
    customer = state.add(
        "customer", "cus", **(plain | given), balance=0, currency=None, delinquent=False,
        invoice_settings=dict(SETTINGS), metadata={},
    )  # fmt: skip
    merge_metadata(customer, params)
    state.emit("customer.created", customer)
    return customer


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return a customer; of a deleted one only that it is deleted."""
    customer = state.find("customer", ids[0])
    return {"id": ids[0], "object": "customer", "deleted": True} if customer.get("deleted") else customer


def find_live(state: State, customer_id: str, param: str = "customer") -> Record:
    """Return a customer that is not deleted. Raises StripeError."""
    customer = state.find("customer", customer_id, param)
    if customer.get("deleted"):
        raise StripeError(f"No such customer: '{customer_id}'", code="resource_missing", param=param)
    return customer


def update(state: State, ids: list[str], params: Record) -> Record:
    """Change a customer, its metadata and its default payment method."""
    customer = find_live(state, ids[0], "id")
    settings = params.get("invoice_settings", {})
    method_id = settings.get("default_payment_method")
    if method_id and state.find("payment_method", method_id, "default_payment_method")["customer"] != ids[0]:
        raise StripeError("The customer does not have this payment method.", code="resource_missing")
    before = {name: customer[name] for name in (*params.keys() & set(PLAIN), "metadata", "invoice_settings")}
    customer.update({name: params[name] or None for name in PLAIN if name in params})
    if "default_payment_method" in settings:
        customer["invoice_settings"] = customer["invoice_settings"] | {"default_payment_method": method_id or None}
    merge_metadata(customer, params)
    changed = {name: value for name, value in before.items() if customer[name] != value}
    if changed:
        state.emit("customer.updated", customer, changed)
    return customer


def delete(state: State, ids: list[str], _params: Record) -> Record:
    """Delete a customer; its payments stay."""
    customer = find_live(state, ids[0], "id")
    customer["deleted"] = True
    state.emit("customer.deleted", {key: value for key, value in customer.items() if key != "deleted"})
    return {"id": ids[0], "object": "customer", "deleted": True}


def save_method(state: State, *, customer: str | None, number: str, behaviour: str) -> Record:
    """Store a card; `behaviour` is how it answers from now on: succeed, decline or authenticate."""
    card = {"brand": "visa", "last4": number[-4:], "exp_month": 12, "exp_year": 2034, "funding": "credit"}
    method = state.add("payment_method", "pm", type="card", card=card, customer=customer, metadata={})
    state.behaviours[method["id"]] = behaviour
    return method


def attach(state: State, method: Record, customer: str) -> None:
    """Give a card to a customer."""
    method["customer"] = customer
    state.emit("payment_method.attached", method)


def retrieve_method(state: State, ids: list[str], _params: Record) -> Record:
    """Return a payment method."""
    return state.find("payment_method", ids[0])


def list_methods(state: State, _ids: list[str], params: Record) -> Record:
    """List the payment methods of a customer."""
    wanted = params.get("customer")
    kept = [method for method in state.all("payment_method") if method["customer"] and method["customer"] == wanted]
    return list_page(kept, params, "/v1/payment_methods")


def detach(state: State, ids: list[str], _params: Record) -> Record:
    """Take a payment method from its customer. Raises StripeError when it has none."""
    method = state.find("payment_method", ids[0])
    owner = method["customer"]
    if owner is None:
        raise StripeError("The payment method you provided is not attached to a customer so detachment is impossible.")
    method["customer"] = None
    settings = state.objects[owner]["invoice_settings"]
    if settings["default_payment_method"] == ids[0]:
        settings["default_payment_method"] = None
    state.emit("payment_method.detached", method, {"customer": owner})
    return method
