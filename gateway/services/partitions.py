"""Monthly partitions of usage events, made well ahead of time, and the watch over what fell outside of them."""

import datetime as dt

from django.db import connection

from lumyx.lib import clock

MONTHS_AHEAD = 3


def make_partitions() -> list[str]:
    """Make the missing partitions of this month and the next three; returns their months as "2026-11"."""
    made: list[str] = []
    today = clock.now().date()
    with connection.cursor() as cursor:
        for ahead in range(MONTHS_AHEAD + 1):
            month = _month_after(today, ahead)
            cursor.execute("SELECT gateway_make_usage_partition(%s)", [month])
            if cursor.fetchone() == (True,):
                made.append(month.strftime("%Y-%m"))
    return made


def default_partition_rows() -> int:
    """Return how many usage events lie in no month's partition. Any is an alarm: making that partition will then fail."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM gateway_usageevent_default")
        (count,) = cursor.fetchone()
    return int(count)


def _month_after(day: dt.date, months: int) -> dt.date:
    years, month = divmod(day.month - 1 + months, 12)
    return dt.date(day.year + years, month + 1, 1)
