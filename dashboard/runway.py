"""How long the credit lasts at the pace of the last days: it is said only where it is known. Pure: no database, no clock."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from billing.selectors.grants import CreditLeft

#: The pace is that of so many UTC days, today's included.
DAYS = 7
#: Less use than this tells no pace.
LEAST_USE = dt.timedelta(days=1)
#: A longer time is a guess.
LONGEST = dt.timedelta(days=365)
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Runway:
    """How long the credit lasts.

    ``state`` is known, long (more than a year), idle (nothing was charged), new (too little use to tell) or empty. ``pace`` is
    nano-USD a day, and ``lapses`` says that credit expires before it can be spent at that pace.
    """

    state: Literal["known", "long", "idle", "new", "empty"]
    lasts: dt.timedelta = dt.timedelta()
    pace: int = 0
    lapses: bool = False

    @property
    def text(self) -> str:
        """The time in words: "12 days", "1 day", "5 hours"."""
        hours = self.lasts / dt.timedelta(hours=1)
        number, unit = (round(hours / 24), "day") if hours >= 36 else (max(round(hours), 1), "hour")
        return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def runway_of(
    credit: Sequence[CreditLeft], *, available: int, charges: Mapping[dt.date, int], now: dt.datetime
) -> Runway:
    """Return how long the credit lasts.

    Args:
        credit: what is left, in the order of spending.
        available: what is not held by requests in flight, in nano-USD.
        charges: nano-USD by UTC day; days outside of the last seven do not count.
        now: the present moment, in UTC.
    """
    if available <= 0:
        return Runway("empty")
    since = now.date() - dt.timedelta(days=DAYS - 1)
    used = {day: charge for day, charge in charges.items() if since <= day <= now.date() and charge > 0}
    if not used:
        return Runway("idle")
    # A workspace that began to spend three days ago spends at the pace of three days.
    begins = dt.datetime.combine(min(used), dt.time(), tzinfo=dt.UTC)
    measured = now - begins
    if measured < LEAST_USE:
        return Runway("new")
    pace = sum(used.values()) * _SECONDS_A_DAY // int(measured.total_seconds())
    if pace <= 0:
        return Runway("long")
    lasts, lapses = _spend(credit, available=available, pace=pace, now=now)
    return Runway("long" if lasts > LONGEST else "known", lasts, pace, lapses)


def _spend(credit: Sequence[CreditLeft], *, available: int, pace: int, now: dt.datetime) -> tuple[dt.timedelta, bool]:
    """Spend the credit at a pace, what expires first first; return how long that takes, and whether some of it lapses."""
    seconds, lapses = 0, False
    # What requests in flight hold is spent as well as gone, and they take it from what is spent first.
    gone = sum(lot.remaining for lot in credit) - available
    for lot in credit:
        taken = min(max(gone, 0), max(lot.remaining, 0))
        gone -= taken
        left = lot.remaining - taken
        if left <= 0:
            continue
        needed = left * _SECONDS_A_DAY // pace
        if lot.expires_at is not None:
            usable = max(int((lot.expires_at - now).total_seconds()) - seconds, 0)
            lapses = lapses or needed > usable
            needed = min(needed, usable)
        seconds = min(seconds + needed, int(2 * LONGEST.total_seconds()))
    return dt.timedelta(seconds=seconds), lapses
