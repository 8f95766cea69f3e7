"""Subscription schedules: phases that change a subscription's price when their time comes."""

import copy
from typing import Any

from rig.stripe import changes
from rig.stripe.changes import BEHAVIOURS, read_price
from rig.stripe.forms import check_known, list_page, merge_metadata, read_amount, read_time, require
from rig.stripe.lifecycle import ENDED, announce, end, set_price
from rig.stripe.lines import item_of
from rig.stripe.periods import add_periods
from rig.stripe.state import Record, State, StripeError

CREATE = frozenset({"expand", "from_subscription"})
UPDATE = frozenset({"end_behavior", "expand", "metadata", "phases", "proration_behavior"})
PHASE = (
    "automatic_tax", "billing_cycle_anchor", "collection_method", "currency", "default_payment_method", "description",
    "duration", "end_date", "items", "metadata", "proration_behavior", "start_date",
)  # fmt: skip
END_BEHAVIORS = ("cancel", "release")


def create(state: State, _ids: list[str], params: Record) -> Record:
    """Create a schedule of a running subscription: one phase, its current period. Raises StripeError."""
    subscription = state.find("subscription", require(params, "from_subscription"), "from_subscription")
    if subscription["status"] in ENDED:
        raise StripeError("You cannot migrate a subscription that is canceled.", param="from_subscription")
    if subscription["schedule"]:
        text = "You cannot migrate a subscription that is already attached to a schedule: `{}`"
        raise StripeError(text.format(subscription["schedule"]), param="from_subscription")
    if subscription["cancel_at"]:
        raise StripeError("You cannot migrate a subscription that is set to be canceled.", param="from_subscription")
    item = item_of(subscription)
    start, until = item["current_period_start"], item["current_period_end"]
    phase = _draw_phase(state, subscription, item["price"]["id"], item["quantity"], start, until)
    schedule = state.add(
        "subscription_schedule", "sub_sched", application=None, canceled_at=None, completed_at=None,
        billing_mode=dict(subscription["billing_mode"]), current_phase={"start_date": start, "end_date": until},
        customer=subscription["customer"], end_behavior="release", metadata={}, phases=[phase], released_at=None,
        released_subscription=None, status="active", subscription=subscription["id"], test_clock=None,
        default_settings={"billing_cycle_anchor": "automatic", "collection_method": "charge_automatically"},
    )  # fmt: skip
    before = copy.deepcopy(subscription)
    subscription["schedule"] = schedule["id"]
    state.emit("subscription_schedule.created", schedule)
    announce(state, subscription, before)
    return schedule


def _draw_phase(state: State, subscription: Record, price: str, quantity: int, start: int, until: int) -> Record:
    item = {
        "price": price, "plan": price, "quantity": quantity, "metadata": {}, "discounts": [], "tax_rates": [],
        "billing_thresholds": None,
    }  # fmt: skip
    return {
        "start_date": start, "end_date": until, "items": [item], "proration_behavior": "create_prorations",
        "currency": state.objects[price]["currency"], "metadata": {}, "add_invoice_items": [], "discounts": [],
        "automatic_tax": dict(subscription["automatic_tax"]), "billing_cycle_anchor": None, "description": None,
        "collection_method": None, "default_payment_method": None, "trial_end": None, "transfer_data": None,
    }  # fmt: skip


def update(state: State, ids: list[str], params: Record) -> Record:
    """Replace a schedule's phases: the first is the current one, each begins where the one before ends."""
    schedule = _find_active(state, ids[0])
    if params.get("end_behavior", "release") not in END_BEHAVIORS:
        raise StripeError(f"end_behavior is one of {', '.join(END_BEHAVIORS)}.", param="end_behavior")
    before = copy.deepcopy(schedule)
    phases = _read_phases(state, schedule, params["phases"]) if "phases" in params else schedule["phases"]
    schedule["phases"], schedule["end_behavior"] = phases, params.get("end_behavior", schedule["end_behavior"])
    merge_metadata(schedule, params)
    schedule["current_phase"] = {name: phases[0][name] for name in ("start_date", "end_date")}
    changed = {name: value for name, value in before.items() if schedule[name] != value}
    state.emit("subscription_schedule.updated", schedule, changed)
    return schedule


def _read_phases(state: State, schedule: Record, given: Any) -> list[Record]:
    subscription, phases = state.objects[schedule["subscription"]], []
    start, current = schedule["current_phase"]["start_date"], item_of(subscription)
    for index, phase in enumerate(given):
        where = f"phases[{index}]"
        check_known(phase, PHASE, where)
        if read_time(phase.get("start_date", start), f"{where}[start_date]") != start:
            text = (
                "You can not modify the start date of the current phase." if index == 0 else "Phases must be adjacent."
            )
            raise StripeError(text, param=f"{where}[start_date]")
        price, quantity = _read_item(state, phase, where)
        if index == 0 and (price["id"], quantity) != (current["price"]["id"], current["quantity"]):
            text = "This fake does not change the current phase's items: update the subscription."
            raise StripeError(text, param=f"{where}[items]")
        until = _read_end(phase, price, start, where)
        if until <= (state.now() if index == 0 else start):
            raise StripeError("A phase must end after it starts, and in the future.", param=f"{where}[end_date]")
        drawn = _draw_phase(state, subscription, price["id"], quantity, start, until)
        drawn["proration_behavior"] = phase.get("proration_behavior", "create_prorations")
        if drawn["proration_behavior"] not in BEHAVIOURS:
            raise StripeError("Invalid proration_behavior.", param=f"{where}[proration_behavior]")
        merge_metadata(drawn, phase)
        phases.append(drawn)
        start = until
    if not phases:
        raise StripeError("At least one phase is needed.", param="phases")
    return phases


def _read_item(state: State, phase: Record, where: str) -> tuple[Record, int]:
    items = require(phase, "items")
    if len(items) != 1:
        raise StripeError("This fake has one item per subscription.", param=f"{where}[items]")
    check_known(items[0], ("price", "quantity", "metadata"), f"{where}[items][0]")
    price = read_price(state, require(items[0], "price"), f"{where}[items][0][price]")
    return price, read_amount(items[0].get("quantity", "1"), f"{where}[items][0][quantity]")


def _read_end(phase: Record, price: Record, start: int, where: str) -> int:
    if "end_date" in phase:
        return read_time(phase["end_date"], f"{where}[end_date]")
    lasts = phase.get("duration", {"interval": price["recurring"]["interval"]})
    check_known(lasts, ("interval", "interval_count"), f"{where}[duration]")
    count = read_amount(lasts.get("interval_count", "1"), f"{where}[duration][interval_count]")
    return add_periods(start, {"interval": require(lasts, "interval"), "interval_count": count}, 1)


def _find_active(state: State, schedule_id: str) -> Record:
    schedule = state.find("subscription_schedule", schedule_id)
    if schedule["status"] != "active":
        text = f"You cannot change a subscription schedule that is currently in the `{schedule['status']}` status."
        raise StripeError(text)
    return schedule


def release(state: State, ids: list[str], _params: Record) -> Record:
    """Leave the subscription as it is and take the schedule from it. Raises StripeError when it is over."""
    schedule = _find_active(state, ids[0])
    subscription = state.objects[schedule["subscription"]]
    before = copy.deepcopy(subscription)
    schedule.update(status="released", released_at=state.now(), current_phase=None, subscription=None)
    schedule["released_subscription"] = subscription["id"]
    subscription["schedule"] = None
    state.emit("subscription_schedule.released", schedule)
    announce(state, subscription, before)
    return schedule


def cancel(state: State, ids: list[str], _params: Record) -> Record:
    """Cancel a schedule and its subscription at once. Raises StripeError when it is over."""
    schedule = _find_active(state, ids[0])
    end(state, state.objects[schedule["subscription"]], "cancellation_requested")
    return schedule


def advance(state: State, schedule: Record) -> None:
    """End the phase whose time is over: the next one's price comes, or the schedule ends."""
    now, subscription = state.now(), state.objects[schedule["subscription"]]
    following = [phase for phase in schedule["phases"] if phase["start_date"] <= now < phase["end_date"]]
    if not following:
        if schedule["end_behavior"] == "cancel":
            end(state, subscription, "cancellation_requested")
        else:
            release(state, [schedule["id"]], {})
        return
    phase = following[0]
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    state.emit("subscription_schedule.updated", schedule)
    _enter(state, subscription, phase)


def _enter(state: State, subscription: Record, phase: Record) -> None:
    before, item, wanted = copy.deepcopy(subscription), item_of(subscription), phase["items"][0]
    price = state.objects[wanted["price"]]
    if state.now() >= item["current_period_end"]:
        if price["recurring"] != item["price"]["recurring"]:
            subscription["billing_cycle_anchor"] = state.now()
        set_price(subscription, price, wanted["quantity"])
    else:
        asked = {"id": item["id"], "price": price["id"], "quantity": wanted["quantity"]}
        params = {"items": [asked], "proration_behavior": phase["proration_behavior"]}
        change, lines = changes.read_change(state, subscription, params)
        changes.make(state, subscription, change, lines, "allow_incomplete")
    announce(state, subscription, before)


def retrieve(state: State, ids: list[str], _params: Record) -> Record:
    """Return a schedule."""
    return state.find("subscription_schedule", ids[0])


def list_schedules(state: State, _ids: list[str], params: Record) -> Record:
    """List schedules, of one customer when asked."""
    kept = [row for row in state.all("subscription_schedule") if params.get("customer") in (None, row["customer"])]
    return list_page(kept, params, "/v1/subscription_schedules")
