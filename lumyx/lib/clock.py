"""The only reader of time: tests replace it here, in one place.

The day of a daily quota is not read here but from the database's clock (billing.services.ledger).
"""

import datetime as dt
import time
import zoneinfo


def now() -> dt.datetime:
    """Return the current time, aware, in UTC."""
    return dt.datetime.now(tz=dt.UTC)


def monotonic() -> float:
    """Return seconds of a clock that never goes back, for durations and deadlines."""
    return time.monotonic()


def in_utc(at: dt.datetime) -> dt.datetime:
    """Return an aware time in UTC. Raises ValueError for one without a zone, or beyond the years 1 to 9999 in UTC.

    PostgreSQL keeps such a time, but no row that holds it can be read again.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone.")
    try:
        return at.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError(f"{at.isoformat()} is not within the years 1 to 9999 in UTC.") from error


def zone(name: str) -> dt.tzinfo:
    """Return the time zone with an IANA name; UTC where this machine does not know it."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return dt.UTC


def until_midnight(at: dt.datetime) -> dt.timedelta:
    """Return the time from ``at`` to the next 00:00 UTC, when daily quotas start anew."""
    at = at.astimezone(dt.UTC)
    midnight = dt.datetime.combine(at.date() + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC)
    return midnight - at
