"""Changes of a subscription's price, quantity or anchor: what they cost, when they happen, and what they would cost."""

import copy
from dataclasses import asdict, dataclass
from typing import Any

from rig.stripe import collection, invoices
from rig.stripe.forms import check_known, is_true, read_amount, read_time
from rig.stripe.lifecycle import announce, set_period, set_price
from rig.stripe.lines import draw_part, draw_period, item_of
from rig.stripe.periods import add_periods, next_end
from rig.stripe.state import Record, State, StripeError

BEHAVIOURS = ("always_invoice", "create_prorations", "none")
PENDING_EXPIRES_S = 23 * 3600
PREVIEW = frozenset({"customer", "expand", "preview_mode", "subscription", "subscription_details"})
PREVIEW_DETAILS = (
    "billing_cycle_anchor", "cancel_at_period_end", "items", "proration_behavior", "proration_date",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Another price or quantity; `anew` when a new period begins with it, from `start` to `end`, Unix seconds."""

    price: str
    quantity: int
    anew: bool
    start: int
    end: int
    behaviour: str


def read_price(state: State, price_id: Any, param: str) -> Record:
    """Return an active recurring price. Raises StripeError."""
    price = state.find("price", price_id, param)
    if price["recurring"] is None:
        text = (
            "The price specified is set to `type=one_time` but this field only accepts prices with "
            f"`type=recurring`: '{price['id']}'"
        )
        raise StripeError(text, param=param)
    if not price["active"]:
        raise StripeError(f"The price specified is inactive: '{price['id']}'", param=param)
    return price


def read_change(state: State, subscription: Record, params: Record, prefix: str = "") -> tuple[Change, list[Record]]:
    """Return what parameters change, and its lines in cents. Raises StripeError for parameters that do not fit."""
    item, behaviour = item_of(subscription), params.get("proration_behavior", "create_prorations")
    if behaviour not in BEHAVIOURS:
        raise StripeError(f"Invalid proration_behavior: must be one of {', '.join(BEHAVIOURS)}")
    price, quantity = _read_item(state, subscription, params.get("items"), prefix)
    if price["currency"] != subscription["currency"]:
        raise StripeError(f"The price's currency must be {subscription['currency']}.", param="items")
    anchor = params.get("billing_cycle_anchor", "unchanged")
    if anchor not in ("now", "unchanged"):
        raise StripeError("billing_cycle_anchor is one of now, unchanged.", param="billing_cycle_anchor")
    at = read_time(params.get("proration_date", state.now()), "proration_date")
    if not item["current_period_start"] <= at <= item["current_period_end"]:
        raise StripeError("proration_date must be within the current period.", param="proration_date")
    old, anew = item["price"]["recurring"], anchor == "now"
    anew = anew or any(old[name] != price["recurring"][name] for name in ("interval", "interval_count"))
    start = state.now() if anew else item["current_period_start"]
    end = add_periods(start, price["recurring"], 1) if anew else item["current_period_end"]
    change = Change(price["id"], quantity, anew, start, end, behaviour)
    return change, _draw_lines(state, subscription, change, at)


def _read_item(state: State, subscription: Record, given: Any, prefix: str) -> tuple[Record, int]:
    item = item_of(subscription)
    if given is None:
        return state.objects[item["price"]["id"]], item["quantity"]
    if not isinstance(given, list) or len(given) != 1 or given[0].get("id") != item["id"]:
        text = f"This fake has one item per subscription: items[0][id] must be '{item['id']}'."
        raise StripeError(text, param=f"{prefix}items")
    check_known(given[0], ("id", "price", "quantity"), f"{prefix}items[0]")
    price = state.objects[item["price"]["id"]]
    if given[0].get("price", price["id"]) != price["id"]:
        price = read_price(state, given[0]["price"], f"{prefix}items[0][price]")
    return price, read_amount(given[0].get("quantity", item["quantity"]), f"{prefix}items[0][quantity]")


def _draw_lines(state: State, subscription: Record, change: Change, at: int) -> list[Record]:
    item, price = item_of(subscription), state.objects[change.price]
    changed = change.anew or (change.price, change.quantity) != (item["price"]["id"], item["quantity"])
    lines = []
    if changed and change.behaviour != "none":
        lines.append(draw_part(state, subscription, item["price"], item["quantity"], at=at, is_credit=True))
        if not change.anew:
            lines.append(draw_part(state, subscription, price, change.quantity, at=at, is_credit=False))
    if change.anew:
        lines.append(draw_period(state, subscription, price, change.quantity, change.start, change.end))
    return lines


def make(state: State, subscription: Record, change: Change, lines: list[Record], payment_behavior: str) -> bool:
    """Make a change and bill it as asked; return whether it is made, False when it waits for its payment.

    Raises StripeError (402) for error_if_incomplete and a card that fails: nothing has changed then.
    """
    if not lines or (change.behaviour != "always_invoice" and not change.anew):
        keep_lines(state, subscription, lines)
        apply(state, subscription, change)
        return True
    now = state.now()
    invoice = bill(state, subscription, lines, reason="subscription_update", start=now, end=now)
    state.emit("invoice.created", invoice)
    if payment_behavior == "allow_incomplete":
        apply(state, subscription, change, invoice)
        invoices.finalize(state, invoice)
        collection.collect(state, invoice)
    else:
        invoices.finalize(state, invoice)
        try:
            if invoice["status"] == "open":
                collection.attempt(state, invoice, is_automatic=False)
        except StripeError as error:
            if payment_behavior == "error_if_incomplete":
                invoices.void(state, invoice)
                _keep_again(state, invoice)
                raise _say_of_subscription(error) from error
            _wait(state, subscription, change, invoice)
        else:
            apply(state, subscription, change, invoice)
    return subscription["pending_update"] is None


def _say_of_subscription(error: StripeError) -> StripeError:
    if error.body["error"].get("code") == "invoice_payment_intent_requires_action":
        error.body["error"]["code"] = "subscription_payment_intent_requires_action"
    error.status = 402
    return error


def _wait(state: State, subscription: Record, change: Change, invoice: Record) -> None:
    invoice["auto_advance"] = False
    item = copy.deepcopy(item_of(subscription))
    item.update(price=copy.deepcopy(state.objects[change.price]), quantity=change.quantity)
    subscription["pending_update"] = {
        "expires_at": state.now() + PENDING_EXPIRES_S, "subscription_items": [item], "trial_end": None,
        "billing_cycle_anchor": change.start if change.anew else None, "trial_from_plan": None,
    }  # fmt: skip
    subscription["latest_invoice"] = invoice["id"]
    state.objects[f"{subscription['id']}/pending"] = {
        "object": "pending", "invoice": invoice["id"], "change": asdict(change)
    }  # fmt: skip


def apply(state: State, subscription: Record, change: Change, invoice: Record | None = None) -> None:
    """Put a change on the subscription, and on its schedule's current phase."""
    set_price(subscription, state.objects[change.price], change.quantity)
    if change.anew:
        subscription["billing_cycle_anchor"] = change.start
        set_period(subscription, change.start, change.end)
    if invoice is not None:
        subscription["latest_invoice"] = invoice["id"]
    if subscription["schedule"]:
        for phase in state.objects[subscription["schedule"]]["phases"]:
            if phase["start_date"] <= state.now() < phase["end_date"]:
                phase["items"][0].update(price=change.price, plan=change.price, quantity=change.quantity)


def keep_lines(state: State, subscription: Record, lines: list[Record]) -> None:
    """Keep prorations for the next invoice."""
    for line in lines:
        row = state.add(
            "invoiceitem", "ii", amount=line["amount"], currency=line["currency"], customer=subscription["customer"],
            description=line["description"], invoice=None, line=line, period=dict(line["period"]), proration=True,
            quantity=line["quantity"], date=state.now(), parent={
                "type": "subscription_details", "subscription_details": {"subscription": subscription["id"]},
            },
        )  # fmt: skip
        line["parent"]["subscription_item_details"]["invoice_item"] = row["id"]
        state.emit("invoiceitem.created", {name: value for name, value in row.items() if name != "line"})


def _kept(state: State, subscription: Record) -> list[Record]:
    rows = [row for row in reversed(state.all("invoiceitem")) if row["invoice"] is None]
    return [row for row in rows if row["parent"]["subscription_details"]["subscription"] == subscription["id"]]


def kept_lines(state: State, subscription: Record) -> list[Record]:
    """Return copies of the lines that wait for the next invoice."""
    return [copy.deepcopy(row["line"]) for row in _kept(state, subscription)]


def bill(
    state: State, subscription: Record, lines: list[Record], *, reason: str, start: int, end: int
) -> Record:  # fmt: skip
    """Build an invoice of what waited and of `lines`."""
    kept = _kept(state, subscription)
    lines = [*kept_lines(state, subscription), *lines]
    invoice = invoices.build(state, subscription, lines, reason=reason, start=start, end=end)
    for row in kept:
        row["invoice"] = invoice["id"]
    return invoice


def _keep_again(state: State, invoice: Record) -> None:
    for row in state.all("invoiceitem"):
        if row["invoice"] == invoice["id"]:
            row["invoice"] = None


def renew(state: State, subscription: Record) -> Record:
    """Begin the next period: its invoice stays a draft for an hour; return it."""
    before, item = copy.deepcopy(subscription), item_of(subscription)
    past, start = item["current_period_start"], item["current_period_end"]
    price = state.objects[item["price"]["id"]]
    until = next_end(subscription["billing_cycle_anchor"], price["recurring"], start)
    set_period(subscription, start, until)
    lines = [draw_period(state, subscription, price, item["quantity"], start, until)]
    invoice = bill(state, subscription, lines, reason="subscription_cycle", start=past, end=start)
    is_collected = subscription["status"] != "unpaid"
    invoice.update(auto_advance=is_collected, automatically_finalizes_at=start + 3600 if is_collected else None)
    subscription["latest_invoice"] = invoice["id"]
    announce(state, subscription, before)
    state.emit("invoice.created", invoice)
    return invoice


def preview(state: State, _ids: list[str], params: Record) -> Record:
    """Return the invoice that a change would make at once, else the next one. Nothing is stored."""
    subscription = state.find("subscription", params.get("subscription", ""), "subscription")
    if params.get("customer", subscription["customer"]) != subscription["customer"]:
        raise StripeError("The subscription is another customer's.", param="subscription")
    details = params.get("subscription_details", {})
    check_known(details, PREVIEW_DETAILS, "subscription_details")
    change, lines = read_change(state, subscription, details, "subscription_details.")
    reason, start, end = "subscription_update", state.now(), state.now()
    lines = [*kept_lines(state, subscription), *lines]
    ends = is_true(details.get("cancel_at_period_end", subscription["cancel_at_period_end"]))
    if subscription["status"] == "canceled" or (ends and not lines):
        raise StripeError("No upcoming invoices for this subscription.", status=404, code="invoice_upcoming_none")
    if not change.anew and change.behaviour != "always_invoice" and not ends:
        price, item = state.objects[change.price], item_of(subscription)
        reason, start, end = "upcoming", item["current_period_start"], item["current_period_end"]
        until = next_end(subscription["billing_cycle_anchor"], price["recurring"], end)
        lines.append(draw_period(state, subscription, price, change.quantity, end, until))
    fields = invoices.compose(state, subscription, lines, reason=reason, start=start, end=end)
    if "proration_date" in details:
        at = read_time(details["proration_date"], "proration_date")
        fields["parent"]["subscription_details"]["subscription_proration_date"] = at
    identity = {"id": state.make_id(invoices.PREVIEWED), "object": "invoice", "created": state.now()}
    return identity | {"livemode": False} | fields
