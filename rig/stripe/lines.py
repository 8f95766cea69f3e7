"""Lines of invoices: whole periods, and the unused and the remaining part of one, by seconds."""

from typing import Any

from rig.stripe.forms import is_true
from rig.stripe.periods import write_day
from rig.stripe.state import Record, State


def item_of(subscription: Record) -> Record:
    """Return the one item of a subscription."""
    item: Record = subscription["items"]["data"][0]
    return item


def draw_line(
    state: State, subscription: Record, price: Record, *, amount: int, quantity: int, start: int, end: int, text: str,
    **parent: Any,
) -> Record:  # fmt: skip
    """Return a line in cents before tax; its tax is added as the subscription's automatic tax says."""
    details = {
        "subscription": subscription["id"], "subscription_item": item_of(subscription)["id"], "invoice_item": None,
        "proration": False, "proration_details": {"credited_items": None}, **parent,
    }  # fmt: skip
    return {
        "id": state.make_id("il"), "object": "line_item", "amount": amount, "currency": price["currency"],
        "description": text, "discount_amounts": [], "discountable": not details["proration"], "discounts": [],
        "invoice": None, "livemode": False, "metadata": dict(subscription["metadata"]),
        "parent": {
            "type": "subscription_item_details", "subscription_item_details": details, "invoice_item_details": None,
        },
        "period": {"start": start, "end": end}, "pretax_credit_amounts": [], "quantity": quantity,
        "pricing": {
            "type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
            "price_details": {"price": price["id"], "product": price["product"]},
        },
        "subscription": subscription["id"], "subtotal": amount, "taxes": _taxes(state, subscription, amount),
    }  # fmt: skip


def _taxes(state: State, subscription: Record, amount: int) -> list[Record]:
    if not subscription["automatic_tax"]["enabled"]:
        return []
    tax = (abs(amount) * state.tax_percent + 50) // 100
    return [
        {
            "amount": tax if amount >= 0 else -tax, "tax_behavior": "exclusive", "taxable_amount": amount,
            "taxability_reason": "standard_rated", "type": "tax_rate_details", "tax_rate_details": None,
        }
    ]  # fmt: skip


def draw_period(state: State, subscription: Record, price: Record, quantity: int, start: int, end: int) -> Record:
    """Return the line of a whole period."""
    recurring, name = price["recurring"], state.objects[price["product"]]["name"]
    count = "" if recurring["interval_count"] == 1 else f"{recurring['interval_count']} "
    unit = f"${price['unit_amount'] / 100:.2f}" if price["currency"] == "usd" else f"{price['unit_amount'] / 100:.2f}"
    text = f"{quantity} × {name} (at {unit} / {count}{recurring['interval']})"
    amount = price["unit_amount"] * quantity
    return draw_line(
        state, subscription, price, amount=amount, quantity=quantity, start=start, end=end, text=text
    )  # fmt: skip


def draw_part(
    state: State, subscription: Record, price: Record, quantity: int, *, at: int, is_credit: bool
) -> Record:  # fmt: skip
    """Return the proration from `at` to the period's end: a credit of the unused time, or the remaining time's price."""
    item = item_of(subscription)
    start, end = item["current_period_start"], item["current_period_end"]
    whole = price["unit_amount"] * quantity
    amount = (whole * (end - at) * 2 + (end - start)) // (2 * (end - start))
    name = state.objects[price["product"]]["name"]
    credited = _find_credited(state, subscription, price) if is_credit else None
    return draw_line(
        state, subscription, price, amount=-amount if is_credit else amount, quantity=quantity, start=at, end=end,
        text=f"{'Unused' if is_credit else 'Remaining'} time on {name} after {write_day(at)}", proration=True,
        proration_details={"credited_items": credited},
    )  # fmt: skip


def _find_credited(state: State, subscription: Record, price: Record) -> Record | None:
    """Return which line of which invoice charged what is credited now."""
    end = item_of(subscription)["current_period_end"]
    for invoice in state.all("invoice"):
        for line in invoice["lines"]["data"]:
            details = line["parent"]["subscription_item_details"]
            found = (details["subscription"], line["pricing"]["price_details"]["price"], line["period"]["end"])
            if line["amount"] > 0 and found == (subscription["id"], price["id"], end):
                return {"invoice": invoice["id"], "invoice_line_items": [line["id"]]}
    return None


def collects_tax(params: Record) -> bool:
    """Return whether parameters turn automatic tax on."""
    return is_true(params.get("automatic_tax", {}).get("enabled"))
