"""Billing periods: which moments follow an anchor, in UTC and Unix seconds."""

import calendar
from datetime import UTC, datetime, timedelta

from rig.stripe.state import Record

DAYS = {"day": 1, "week": 7}


def add_periods(anchor: int, recurring: Record, number: int) -> int:
    """Return the moment `number` periods after the anchor; a month that is too short ends on its last day."""
    start, steps = datetime.fromtimestamp(anchor, UTC), number * recurring["interval_count"]
    if recurring["interval"] in DAYS:
        return int((start + timedelta(days=DAYS[recurring["interval"]] * steps)).timestamp())
    months = steps * (12 if recurring["interval"] == "year" else 1) + start.month - 1
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def next_end(anchor: int, recurring: Record, after: int) -> int:
    """Return the first end of a period that is later than `after`."""
    number = 1
    while (end := add_periods(anchor, recurring, number)) <= after:
        number += 1
    return end


def write_day(at: int) -> str:
    """Return a day as Stripe's descriptions write it: 05 Jan 2026."""
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")
