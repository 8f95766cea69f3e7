"""The only reader of time: tests replace it here, in one place.

The day of a daily quota is not read here but from the database's clock (billing.services.ledger).
"""

import datetime as dt
import time


def now() -> dt.datetime:
    """Return the current time, aware, in UTC."""
    return dt.datetime.now(tz=dt.UTC)


def monotonic() -> float:
    """Return seconds of a clock that never goes back, for durations and deadlines."""
    return time.monotonic()


def until_midnight(at: dt.datetime) -> dt.timedelta:
    """Return the time from ``at`` to the next 00:00 UTC, when daily quotas start anew."""
    at = at.astimezone(dt.UTC)
    midnight = dt.datetime.combine(at.date() + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC)
    return midnight - at
