"""Months of a subscription, counted from its anchor. Pure: no Django. Times are UTC."""

import calendar
import datetime as dt
from collections.abc import Iterator

#: A renewal's invoice stays a draft for about an hour: the old credit lasts until its payment can have come.
GRACE = dt.timedelta(hours=2)


def month_after(anchor: dt.datetime, count: int) -> dt.datetime:
    """Return the anchor ``count`` months later, on the same day or the month's last: 31 January, 28 February, 31 March."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + count, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def months_between(
    anchor: dt.datetime, start: dt.datetime, end: dt.datetime
) -> Iterator[tuple[int, dt.datetime, dt.datetime]]:
    """Yield the anchor's months that overlap [start, end), each with its number, in order; the anchor's own is number 0."""
    number = (start.year - anchor.year) * 12 + start.month - anchor.month - 1
    while (opens := month_after(anchor, number)) < end:
        closes = month_after(anchor, number + 1)
        if closes > start:
            yield number, opens, closes
        number += 1


def share_of(amount: int, part: dt.timedelta, whole: dt.timedelta) -> int:
    """Return the share of an amount for a part of a time, rounded down."""
    second = dt.timedelta(seconds=1)
    return amount * (part // second) // (whole // second)
