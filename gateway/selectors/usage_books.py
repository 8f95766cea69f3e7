"""Compares usage events with the ledger's usage entries day by day, and finds holds that nobody closed."""

import datetime as dt
from dataclasses import dataclass

from gateway.selectors.patience import patient_cursor


@dataclass(frozen=True, slots=True)
class DayBooks:
    """One UTC day of requests, by their ids' time. ``charge`` and ``booked`` in nano-USD; equal when the books are right."""

    day: dt.date
    requests: int
    charge: int
    booked: int


@dataclass(frozen=True, slots=True)
class StaleHold:
    """A hold that should have been closed ``overdue`` seconds ago."""

    id: str
    workspace_id: int
    overdue: float


# A request belongs to the day of its id (a UUIDv7), on both sides: events say when they were started and entries when they were
# written, and both can be on the other side of a midnight. The entry of a request may be written on the day after it or later (a
# settlement that came late), so entries are found by their reference (the request's id) and not by their time. One statement, so
# one snapshot: events and entries commit together.
_BY_DAY = """
WITH days AS (
    SELECT day::date, gateway_uuid7_floor(day AT TIME ZONE 'UTC') AS low,
           gateway_uuid7_floor((day + interval '1 day') AT TIME ZONE 'UTC') AS high
    FROM generate_series(%(first)s::date::timestamp, %(last)s::date::timestamp, '1 day') AS day
), events AS (
    SELECT day, count(*) AS requests, sum(charge) AS charge
    FROM days JOIN gateway_usageevent e ON e.id >= low AND e.id < high GROUP BY 1
), entries AS (
    SELECT day, sum(amount) AS amount
    FROM days JOIN (SELECT ref::uuid AS id, amount FROM billing_ledgerentry WHERE kind = 'usage') AS e
      ON e.id >= low AND e.id < high GROUP BY 1
)
SELECT day, coalesce(requests, 0)::bigint, coalesce(charge, 0)::bigint, -coalesce(amount, 0)::bigint
FROM days LEFT JOIN events USING (day) LEFT JOIN entries USING (day) ORDER BY day
"""
_STALE = """
SELECT id::text, wallet_id, extract(epoch FROM statement_timestamp() - expires_at)::float8
FROM billing_hold WHERE state = 'open' AND expires_at < statement_timestamp() - make_interval(secs => %s)
ORDER BY expires_at, id
"""


def books_by_day(*, first: dt.date, last: dt.date) -> list[DayBooks]:
    """Return each UTC day from ``first`` to ``last`` (both included) as its events and as the ledger have it."""
    with patient_cursor() as cursor:
        cursor.execute(_BY_DAY, {"first": first, "last": last})
        return [DayBooks(*row) for row in cursor.fetchall()]


def stale_holds(*, slack: float) -> tuple[int, list[StaleHold]]:
    """Return how many holds are open, and those whose time was over more than ``slack`` seconds ago, oldest first."""
    with patient_cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_hold WHERE state = 'open'")
        (count,) = cursor.fetchone()
        cursor.execute(_STALE, [slack])
        return int(count), [StaleHold(*row) for row in cursor.fetchall()]
