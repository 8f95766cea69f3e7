"""What is checked every night between usage and the books, as a table; billing's part has its own."""

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

from billing.selectors.books import rows_of_books
from billing.selectors.ledger import broken_invariants
from gateway.selectors.usage_audit import events_of_day, rollup_differences
from gateway.selectors.usage_books import books_by_day, stale_holds
from lumyx.lib import clock

#: UTC days that are compared with the ledger: the present one and those before it.
DAYS = 3
#: Seconds after its time in which a hold must be closed: the sweeper runs every 30 s, and may be late or have much to do.
SWEEPER_SLACK = 300.0


class Check(NamedTuple):
    """One check: ``looked_at`` says how many things, ``wrong`` has a sentence for each that is not as it should be."""

    name: str
    looked_at: int
    wrong: list[str]


def usage_checks() -> list[Check]:
    """Run every check of usage and the books. It reads much and writes nothing."""
    return [check() for check in CHECKS]


def check_invariants() -> Check:
    """Every rule of the books holds: the view of broken invariants is empty."""
    broken = broken_invariants()
    wrong = [
        f"{row['invariant']}: wallet {row['wallet_id']}, {row['subject']}: is {row['actual']}, should be {row['expected']}."
        for row in broken
    ]
    return Check("ledger_invariants", rows_of_books(), wrong)


def check_charges() -> Check:
    """On each of the last days (UTC, by the requests' ids) the events' charges are what the ledger took for usage."""
    today = clock.now().date()
    days = books_by_day(first=today - dt.timedelta(days=DAYS - 1), last=today)
    wrong = [
        f"{row.day}: usage events were charged {row.charge} nano-USD, the ledger took {row.booked}."
        for row in days
        if row.charge != row.booked
    ]
    return Check("usage_charges_are_entries", sum(row.requests for row in days), wrong)


def check_holds() -> Check:
    """No hold is open long after its time."""
    count, stale = stale_holds(slack=SWEEPER_SLACK)
    wrong = [
        f"Hold {hold.id} of workspace {hold.workspace_id} is open, {hold.overdue:.0f} s after its time. Does the worker run?"
        for hold in stale
    ]
    return Check("holds_are_closed_in_time", count, wrong)


def check_rollups() -> Check:
    """Yesterday's roll-ups are what its events say."""
    yesterday = clock.now().date() - dt.timedelta(days=1)
    wrong = [
        f"{yesterday}: the {row['rollup']} roll-up of {_whose(row)}, model {row['model']} is not what its events say."
        for row in rollup_differences(yesterday)
    ]
    return Check("rollups_are_events", events_of_day(yesterday), wrong)


def _whose(row: dict[str, Any]) -> str:
    if row["rollup"] == "upstream":
        return f"upstream {row['upstream_id']}"
    return f"workspace {row['workspace_id']}, key {row['api_key_id']}"


CHECKS: tuple[Callable[[], Check], ...] = (check_invariants, check_charges, check_holds, check_rollups)
