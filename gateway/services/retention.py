"""Drops whole months of usage events that are older than the operator keeps; roll-ups and ledger entries stay.

It fails closed: a month is dropped only in a transaction that has seen, with all writers shut out, that its events are rolled up
and that no request of it is open. Months go oldest first, and the first that must stay keeps the younger ones.
"""

import datetime as dt
import logging

from django.conf import settings
from django.db import OperationalError, ProgrammingError, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import LockNotAvailable, UndefinedTable

from gateway.services.partitions import month_after
from gateway.services.rollups import locked_watermark
from lumyx.lib import clock

logger = logging.getLogger(__name__)

#: Requests wait behind the drop while it waits for its lock; then it gives up until the next run.
LOCK_TIMEOUT = "2s"

_PARTITIONS = r"""
SELECT to_date(right(c.relname, 6), 'YYYYMM') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'gateway_usageevent'::regclass AND c.relname ~ '^gateway_usageevent_\d{6}$'
ORDER BY 1
"""
_WATERMARK = "(SELECT coalesce(max(xid), 0) FROM gateway_usagewatermark WHERE name = 'usage')::text::xid8"
# The last: a database that was restored into a new cluster, whose roll-ups say nothing until they are rebuilt.
_NOT_ROLLED_UP = f"""
SELECT EXISTS (SELECT FROM {{partition}} WHERE committed_xid >= {_WATERMARK})
    OR EXISTS (SELECT FROM {{partition}} WHERE amended_xid >= {_WATERMARK})
    OR pg_snapshot_xmin(pg_current_snapshot()) < {_WATERMARK}
"""  # noqa: S608  constants, and a partition's name that is made below
_OPEN = """
SELECT EXISTS (SELECT FROM billing_hold WHERE state = 'open'
               AND id >= gateway_uuid7_floor(%s::date::timestamp AT TIME ZONE 'UTC')
               AND id < gateway_uuid7_floor(%s::date::timestamp AT TIME ZONE 'UTC'))
"""


def drop_old_usage() -> list[str]:
    """Drop what is older than LUMYX_USAGE_RETENTION_MONTHS before the present month; returns the months as "2025-11"."""
    months: int = settings.LUMYX_USAGE_RETENTION_MONTHS
    dropped: list[str] = []
    if months <= 0:
        return dropped
    first_kept = month_after(clock.now().date(), -months)
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS)
        old = [month for (month,) in cursor.fetchall() if month < first_kept]
    for month in old:
        try:
            why = _drop(month)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            why = "requests are being written all the time, or a long transaction reads usage"
        if why:
            logger.warning(
                "The usage events of %s are older than is kept, but stay until the next run: %s.", f"{month:%Y-%m}", why
            )
            break
        dropped.append(f"{month:%Y-%m}")
        logger.info("The usage events of %s were dropped.", f"{month:%Y-%m}")
    return dropped


def _drop(month: dt.date) -> str:
    """Drop a month's partition; returns why it must stay, or nothing."""
    try:
        with connection.cursor() as cursor:
            why = _why_kept(cursor, month)  # without a lock, so that a month that has to stay disturbs nobody
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable):
            raise
        why = ""  # another worker dropped it between two of the questions
    if why:
        return why
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        locked_watermark(cursor)
        # The whole table's first, as writers take them: the other way round they could wait for each other.
        cursor.execute("LOCK TABLE ONLY gateway_usageevent IN ACCESS EXCLUSIVE MODE")
        why = _why_kept(cursor, month)
        if not why:
            cursor.execute(f"DROP TABLE IF EXISTS {_partition(month)}")
            cursor.execute("INSERT INTO gateway_droppedusage (month) VALUES (%s) ON CONFLICT DO NOTHING", [month])
    return why


def _why_kept(cursor: CursorWrapper, month: dt.date) -> str:
    cursor.execute("SELECT to_regclass(%s) IS NULL", [_partition(month)])
    if cursor.fetchone() == (True,):
        return ""  # another worker was faster
    cursor.execute(_NOT_ROLLED_UP.format(partition=_partition(month)))
    if cursor.fetchone() == (True,):
        return "not all of them are in the roll-ups"
    cursor.execute(_OPEN, [month, month_after(month, 1)])
    if cursor.fetchone() == (True,):
        return "a request of that month is still open"
    return ""


def _partition(month: dt.date) -> str:
    return f"gateway_usageevent_{month:%Y%m}"
