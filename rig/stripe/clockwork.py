"""What comes due by itself, done one by one in the order of time, each at its own moment."""

from collections.abc import Callable, Iterator

from rig.stripe import changes, checkout, collection, invoices, schedules
from rig.stripe.lifecycle import ENDED, end
from rig.stripe.lines import item_of
from rig.stripe.state import Record, State

type Step = tuple[int, int, Callable[[State, Record], object], Record]


def run_due(state: State, until: int | None = None) -> None:
    """Do everything that is due by `until`, Unix seconds (default: now)."""
    limit = state.now() if until is None else until
    try:
        while True:
            due = [step for step in _find_steps(state) if step[0] <= limit]
            if not due:
                return
            state.stepping_at, _, act, record = min(due, key=lambda step: step[:2])
            act(state, record)
    finally:
        state.stepping_at = None


def _find_steps(state: State) -> Iterator[Step]:
    """Yield each thing to come: when, which first at the same moment, what to do, with what."""
    for record in state.objects.values():
        kind = record["object"]
        if kind == "checkout.session" and record["status"] == "open":
            yield record["expires_at"], 0, _expire, record
        elif kind == "invoice" and record["status"] == "draft" and record["automatically_finalizes_at"]:
            yield record["automatically_finalizes_at"], 1, _finalize, record
        elif kind == "invoice" and record["status"] == "open" and record["next_payment_attempt"]:
            yield record["next_payment_attempt"], 2, collection.collect, record
        elif kind == "subscription_schedule" and record["status"] == "active":
            yield record["current_phase"]["end_date"], 4, schedules.advance, record
        elif kind == "subscription" and record["status"] not in ENDED:
            if record["pending_update"]:
                yield record["pending_update"]["expires_at"], 3, collection.drop_pending, record
            if record["cancel_at"]:
                yield record["cancel_at"], 5, _end, record
            yield item_of(record)["current_period_end"], 6, changes.renew, record


def _expire(state: State, session: Record) -> None:
    checkout.expire(state, [session["id"]], {})


def _finalize(state: State, invoice: Record) -> None:
    invoices.finalize(state, invoice)
    collection.collect(state, invoice)


def _end(state: State, subscription: Record) -> None:
    end(state, subscription, "cancellation_requested")
