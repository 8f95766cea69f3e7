"""Products and their prices, one-off or recurring."""

from rig.stripe.forms import check_known, is_true, list_page, merge_metadata, read_amount, require
from rig.stripe.state import Record, State, StripeError

PRODUCT = frozenset({"active", "description", "expand", "metadata", "name", "tax_code"})
PRICE_UPDATE = frozenset({"active", "expand", "lookup_key", "metadata", "nickname", "transfer_lookup_key"})
PRICE = PRICE_UPDATE | {"currency", "product", "recurring", "tax_behavior", "unit_amount"}
INTERVALS = ("day", "week", "month", "year")


def create_product(state: State, _ids: list[str], params: Record) -> Record:
    """Create a product."""
    product = state.add(
        "product", "prod", name=require(params, "name"), active=is_true(params.get("active", "true")), metadata={},
        description=params.get("description"), tax_code=params.get("tax_code"), default_price=None,
    )  # fmt: skip
    merge_metadata(product, params)
    state.emit("product.created", product)
    return product


def update_product(state: State, ids: list[str], params: Record) -> Record:
    """Change a product."""
    product = state.find("product", ids[0])
    product.update({name: params[name] for name in ("name", "description", "tax_code") if name in params})
    product["active"] = is_true(params.get("active", product["active"]))
    merge_metadata(product, params)
    state.emit("product.updated", product)
    return product


def retrieve_product(state: State, ids: list[str], _params: Record) -> Record:
    """Return a product."""
    return state.find("product", ids[0])


def create_price(state: State, _ids: list[str], params: Record) -> Record:
    """Create a price of a product. Raises StripeError for a lookup key that is taken and not transferred."""
    product = state.find("product", require(params, "product"), "product")["id"]
    amount, currency = read_amount(require(params, "unit_amount"), "unit_amount"), require(params, "currency")
    recurring = _read_recurring(params["recurring"]) if "recurring" in params else None
    _take_lookup_key(state, params, None)
    price = state.add(
        "price", "price", product=product, unit_amount=amount, unit_amount_decimal=str(amount), metadata={},
        currency=currency.lower(), recurring=recurring, type="recurring" if recurring else "one_time",
        active=is_true(params.get("active", "true")), lookup_key=params.get("lookup_key"), billing_scheme="per_unit",
        nickname=params.get("nickname"), tax_behavior=params.get("tax_behavior", "unspecified"),
    )  # fmt: skip
    merge_metadata(price, params)
    state.emit("price.created", price)
    return price


def _read_recurring(given: Record) -> Record:
    check_known(given, ("interval", "interval_count", "usage_type"), "recurring")
    if require(given, "interval") not in INTERVALS:
        text = f"Invalid recurring[interval]: must be one of {', '.join(INTERVALS)}"
        raise StripeError(text, param="recurring[interval]")
    count = read_amount(given.get("interval_count", "1"), "recurring[interval_count]")
    return {"interval": given["interval"], "interval_count": count, "usage_type": "licensed", "meter": None}


def _take_lookup_key(state: State, params: Record, own: str | None) -> None:
    key = params.get("lookup_key")
    for price in state.all("price"):
        if key and price["lookup_key"] == key and price["id"] != own:
            if not is_true(params.get("transfer_lookup_key")):
                text = f"A price (`{price['id']}`) already uses that lookup key."
                raise StripeError(text, param="lookup_key")
            price["lookup_key"] = None


def update_price(state: State, ids: list[str], params: Record) -> Record:
    """Change a price's flag, names and metadata; its amount never changes."""
    price = state.find("price", ids[0])
    _take_lookup_key(state, params, ids[0])
    price.update({name: params[name] or None for name in ("lookup_key", "nickname") if name in params})
    price["active"] = is_true(params.get("active", price["active"]))
    merge_metadata(price, params)
    state.emit("price.updated", price)
    return price


def retrieve_price(state: State, ids: list[str], _params: Record) -> Record:
    """Return a price."""
    return state.find("price", ids[0])


def list_prices(state: State, _ids: list[str], params: Record) -> Record:
    """List prices, of one product or some lookup keys when asked."""
    keys = params.get("lookup_keys")
    kept = [row for row in state.all("price") if keys is None or row["lookup_key"] in keys]
    kept = [row for row in kept if params.get("product") in (None, row["product"])]
    return list_page(kept, params, "/v1/prices")
