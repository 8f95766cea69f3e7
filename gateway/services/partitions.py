"""Monthly partitions of usage events, made well ahead of time, and the watch over what fell outside of them."""

import datetime as dt
import logging

from django.db import IntegrityError, connection, transaction

from lumyx.lib import clock

logger = logging.getLogger(__name__)

MONTHS_AHEAD = 3


def make_partitions() -> list[str]:
    """Make the missing partitions of this month and the next three; returns their months as "2026-11".

    A month whose events lie in the DEFAULT partition already cannot have its own; that is logged, and the others are made.
    """
    made: list[str] = []
    today = clock.now().date()
    for ahead in range(MONTHS_AHEAD + 1):
        month = month_after(today, ahead)
        try:
            if _make_partition(month):
                made.append(f"{month:%Y-%m}")
        except IntegrityError:
            logger.exception("The partition of usage events for %s cannot be made: clear the DEFAULT partition.", month)
    return made


def _make_partition(month: dt.date) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        # One after another: of two workers at once both would miss the same partition, and the second fail to make it.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('gateway.usage_partitions'))")
        cursor.execute("SELECT gateway_make_usage_partition(%s)", [month])
        (was_missing,) = cursor.fetchone()
    return bool(was_missing)


def default_partition_rows() -> int:
    """Return how many usage events lie in no month's partition. Any is an alarm: making that partition will then fail."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM gateway_usageevent_default")
        (count,) = cursor.fetchone()
    return int(count)


def month_after(day: dt.date, months: int) -> dt.date:
    """Return the first day of the month that comes so many months after a day's (or before it: below zero)."""
    years, month = divmod(day.month - 1 + months, 12)
    return dt.date(day.year + years, month + 1, 1)
