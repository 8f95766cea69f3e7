"""Subscriptions of one item: started by Checkout, read, changed and canceled."""

import copy

from rig.stripe import changes, collection, customers, invoices
from rig.stripe.forms import check_known, is_true, list_page, merge_metadata, read_time
from rig.stripe.lifecycle import ENDED, announce, end, set_price
from rig.stripe.lines import collects_tax, draw_part, draw_period, item_of
from rig.stripe.periods import add_periods
from rig.stripe.state import Record, State, StripeError

ITEMS = frozenset({"billing_cycle_anchor", "items", "payment_behavior", "proration_behavior", "proration_date"})
PLAIN = frozenset(
    {"automatic_tax", "cancel_at", "cancel_at_period_end", "cancellation_details", "default_payment_method",
     "description", "metadata"}
)  # fmt: skip
UPDATE = ITEMS | PLAIN | {"expand", "off_session"}
CANCEL = frozenset({"cancellation_details", "expand", "invoice_now", "prorate"})
LIST = frozenset({"collection_method", "customer", "price", "status"})
PAYMENT_BEHAVIOURS = ("allow_incomplete", "error_if_incomplete", "pending_if_incomplete")
OF_CANCELED = frozenset({"cancellation_details", "expand", "metadata"})
SCHEDULED = (
    "The subscription is managed by the subscription schedule `{}`, and updating any cancelation behavior directly "
    "is not allowed. Please update the schedule instead."
)


def start(state: State, customer: str, price: Record, quantity: int, params: Record, *, method: str) -> Record:
    """Start a subscription with its first invoice, a draft that the caller has paid; return it, active."""
    now = state.now()
    until = add_periods(now, price["recurring"], 1)
    blank = (
        "application", "application_fee_percent", "billing_cycle_anchor_config", "billing_thresholds", "cancel_at",
        "canceled_at", "days_until_due", "default_source", "ended_at", "latest_invoice", "on_behalf_of",
        "next_pending_invoice_item_invoice", "pause_collection", "pending_invoice_item_interval",
        "pending_setup_intent", "pending_update", "schedule", "test_clock", "transfer_data", "trial_end",
        "trial_settings", "trial_start",
    )  # fmt: skip
    subscription = state.add(
        "subscription", "sub", **dict.fromkeys(blank), customer=customer, currency=price["currency"], status="active",
        automatic_tax={"enabled": collects_tax(params), "liability": None, "disabled_reason": None},
        billing_cycle_anchor=now, billing_mode={"type": "flexible", "updated_at": None, "flexible": None},
        cancel_at_period_end=False, cancellation_details={"comment": None, "feedback": None, "reason": None},
        collection_method="charge_automatically", default_payment_method=method, default_tax_rates=[], discounts=[],
        description=params.get("description"), invoice_settings={"account_tax_ids": None, "issuer": {"type": "self"}},
        metadata={}, start_date=now, payment_settings={
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off",
        },
    )  # fmt: skip
    item = {
        "id": state.make_id("si"), "object": "subscription_item", "created": now, "subscription": subscription["id"],
        "metadata": {}, "discounts": [], "tax_rates": [], "billing_thresholds": None,
        "current_period_start": now, "current_period_end": until,
    }  # fmt: skip
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    subscription["items"] = {"object": "list", "data": [item], "has_more": False, "total_count": 1, "url": url}
    set_price(subscription, price, quantity)
    merge_metadata(subscription, params)
    state.objects[customer]["currency"] = price["currency"]
    lines = [draw_period(state, subscription, price, quantity, now, until)]
    invoice = invoices.build(state, subscription, lines, reason="subscription_create", start=now, end=now)
    subscription["latest_invoice"] = invoice["id"]
    return subscription


def find(state: State, subscription_id: str) -> Record:
    """Return a subscription. Raises StripeError."""
    return state.find("subscription", subscription_id)


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return a subscription, also one that has ended."""
    return find(state, ids[0])


def list_subscriptions(state: State, _ids: list[str], params: Record) -> Record:
    """List subscriptions; those that are canceled only when asked for (canceled, ended, all)."""
    kept, status = state.all("subscription"), params.get("status")
    for name in ("customer", "collection_method"):
        kept = [row for row in kept if params.get(name) in (None, row[name])]
    kept = [row for row in kept if params.get("price") in (None, item_of(row)["price"]["id"])]
    if status is None:
        kept = [row for row in kept if row["status"] != "canceled"]
    elif status == "ended":
        kept = [row for row in kept if row["status"] in ENDED]
    elif status != "all":
        kept = [row for row in kept if row["status"] == status]
    return list_page(kept, params, "/v1/subscriptions")


def update(state: State, ids: list[str], params: Record) -> Record:
    """Change a subscription; its prorations are billed at once, with the next invoice, or not at all.

    Raises StripeError: 402 when error_if_incomplete is asked for and the card fails; nothing has changed then.
    """
    subscription = find(state, ids[0])
    _check_update(state, subscription, params)
    behaviour = params.get("payment_behavior", "allow_incomplete")
    if behaviour not in PAYMENT_BEHAVIOURS:
        raise StripeError(f"payment_behavior is one of {', '.join(PAYMENT_BEHAVIOURS)}.", param="payment_behavior")
    if behaviour == "pending_if_incomplete" and params.keys() & (PLAIN - {"cancel_at_period_end", "metadata"}):
        raise StripeError("pending_if_incomplete goes with changes of items only.", param="payment_behavior")
    before = copy.deepcopy(subscription)
    if params.keys() & {"items", "billing_cycle_anchor"}:
        collection.drop_pending(state, subscription)
        change, lines = changes.read_change(state, subscription, params)
        if not changes.make(state, subscription, change, lines, behaviour):
            announce(state, subscription, before)
            return subscription
    _set_plain(state, subscription, params)
    if subscription["status"] not in (before["status"], "canceled"):
        before["status"] = subscription["status"]  # its own event has told of it
    announce(state, subscription, before)
    return subscription


def _check_update(state: State, subscription: Record, params: Record) -> None:
    if subscription["status"] in ENDED and params.keys() - OF_CANCELED:
        text = "A canceled subscription can only update its cancellation_details and metadata."
        raise StripeError(text, code="resource_missing")
    if subscription["schedule"] and params.keys() & {"cancel_at", "cancel_at_period_end"}:
        raise StripeError(SCHEDULED.format(subscription["schedule"]))
    if params.get("cancel_at") and is_true(params.get("cancel_at_period_end")):
        raise StripeError("You may set only one of cancel_at and cancel_at_period_end.", param="cancel_at")
    method = params.get("default_payment_method")
    if (
        method
        and state.find("payment_method", method, "default_payment_method")["customer"] != subscription["customer"]
    ):
        raise StripeError("The customer does not have this payment method.", param="default_payment_method")


def _set_plain(state: State, subscription: Record, params: Record) -> None:
    merge_metadata(subscription, params)
    for name in ("default_payment_method", "description"):
        if name in params:
            subscription[name] = params[name] or None
    if "automatic_tax" in params:
        subscription["automatic_tax"] = subscription["automatic_tax"] | {"enabled": collects_tax(params)}
    set_details(subscription, params)
    if "cancel_at_period_end" in params:
        _plan_end(state, subscription, item_of(subscription)["current_period_end"], params["cancel_at_period_end"])
        subscription["cancel_at_period_end"] = is_true(params["cancel_at_period_end"])
    if "cancel_at" in params:
        asked = params["cancel_at"]
        at = item_of(subscription)["current_period_end"] if asked in ("min_period_end", "max_period_end") else asked
        at = read_time(at, "cancel_at") if at else 0
        if at and at < state.now():
            raise StripeError("cancel_at must be in the future.", param="cancel_at")
        _plan_end(state, subscription, at, bool(at))
        subscription["cancel_at_period_end"] = False


def _plan_end(state: State, subscription: Record, at: int, is_planned: object) -> None:
    planned = is_true(is_planned)
    subscription["cancel_at"] = at if planned else None
    subscription["canceled_at"] = (subscription["canceled_at"] or state.now()) if planned else None
    reason = "cancellation_requested" if planned else None
    subscription["cancellation_details"] = subscription["cancellation_details"] | {"reason": reason}


def set_details(subscription: Record, params: Record) -> None:
    """Set why somebody cancels. Raises StripeError for an unknown field."""
    given = params.get("cancellation_details", {})
    check_known(given, ("comment", "feedback"), "cancellation_details")
    details = subscription["cancellation_details"] | {name: value or None for name, value in given.items()}
    subscription["cancellation_details"] = details


def cancel(state: State, ids: list[str], params: Record) -> Record:
    """Cancel at once; what was paid for the rest of the period is credited only when asked. Raises StripeError."""
    subscription = find(state, ids[0])
    if subscription["status"] in ENDED:
        raise StripeError(f"No such subscription: '{ids[0]}'", status=404, code="resource_missing", param="id")
    set_details(subscription, params)
    if is_true(params.get("prorate")):
        item, now = item_of(subscription), state.now()
        line = draw_part(state, subscription, item["price"], item["quantity"], at=now, is_credit=True)
        changes.keep_lines(state, subscription, [line])
    if is_true(params.get("invoice_now")):
        _bill_rest(state, subscription)
    end(state, subscription, "cancellation_requested")
    return subscription


def _bill_rest(state: State, subscription: Record) -> None:
    now = state.now()
    if changes.kept_lines(state, subscription):
        invoice = changes.bill(state, subscription, [], reason="subscription_update", start=now, end=now)
        subscription["latest_invoice"] = invoice["id"]
        state.emit("invoice.created", invoice)
        invoices.finalize(state, invoice)
        if invoice["status"] == "open":
            collection.collect(state, invoice)


def delete_customer(state: State, ids: list[str], params: Record) -> Record:
    """Delete a customer, after canceling its subscriptions."""
    for subscription in state.all("subscription"):
        if subscription["customer"] == ids[0] and subscription["status"] not in ENDED:
            end(state, subscription, "cancellation_requested")
    return customers.delete(state, ids, params)
