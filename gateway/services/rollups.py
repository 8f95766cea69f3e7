"""Exact hourly and daily roll-ups of usage events, in UTC.

Ids do not commit in order, so a watermark by id would skip events. The watermark is a transaction id instead: a run counts
the events whose transaction lies in [watermark, oldest transaction still running) and moves the watermark in the same
transaction. It is exact under crashes, late commits and several workers; a long transaction anywhere in the cluster only
delays it (readers add the tail, see gateway.selectors.usage).
"""

import datetime as dt

from django.db.backends.utils import CursorWrapper

from accounts.services.keyuse import note_key_use
from gateway.selectors.patience import patient_cursor
from gateway.selectors.usage_retention import oldest_month_kept
from gateway.selectors.usage_sql import MEASURES, contributions, sums

WATERMARK = "usage"

_WINDOW = "{xid} >= %(low)s::text::xid8 AND {xid} < %(high)s::text::xid8"


def _upsert(table: str, keys: str) -> str:
    adds = ", ".join(f"{name} = {table}.{name} + EXCLUDED.{name}" for name in MEASURES)
    # S608: table and keys are constants below.
    return f"""
        INSERT INTO {table} ({keys}, {", ".join(MEASURES)})
        SELECT {keys}, {sums()} FROM counted GROUP BY {keys}
        ON CONFLICT ({keys}) DO UPDATE SET {adds}
        RETURNING 1
    """  # noqa: S608


_ROLL = f"""
WITH counted AS MATERIALIZED (
    SELECT *, date_trunc('hour', started_at, 'UTC') AS hour, (started_at AT TIME ZONE 'UTC')::date AS day
    FROM ({contributions(window=_WINDOW)}) AS contribution
),
hourly AS ({_upsert("gateway_hourlyusage", "workspace_id, hour, api_key_id, model")}),
daily AS ({_upsert("gateway_dailyusage", "workspace_id, day, api_key_id, model")}),
upstreams AS ({_upsert("gateway_upstreamusage", "day, model, upstream_id")})
SELECT api_key_id, max(started_at), sum(requests)::bigint FROM counted GROUP BY 1
"""  # noqa: S608


class WatermarkAheadError(Exception):
    """The database counts its transactions from below the watermark: it was restored into a new cluster."""


def roll_up() -> int:
    """Add what was committed since the last run to the hourly and daily tables; returns how many events were new.

    Raises WatermarkAheadError; ``rebuild`` is the way out.
    """
    with patient_cursor() as cursor:
        low = locked_watermark(cursor)
        # A statement of its own, after the lock: everything below ``high`` is decided and visible to the next one.
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        (high,) = cursor.fetchone()
        if high < low:
            raise WatermarkAheadError(
                "The usage roll-up is ahead of the database's transactions, as after a restore into a new cluster: "
                "new usage is not counted. Run: manage.py usage rebuild"
            )
        cursor.execute(_ROLL, {"low": low, "high": high})
        rows: list[tuple[int, dt.datetime, int]] = cursor.fetchall()
        cursor.execute(
            "UPDATE gateway_usagewatermark SET xid = %s, at = now() WHERE name = %s",
            [high, WATERMARK],
        )
    note_key_use({key: at for key, at, _ in rows if key})
    return sum(count for _, _, count in rows)


def rebuild() -> int:
    """Count all events anew; returns how many there are. Roll-ups of days whose events are gone stay as they are.

    A day is gone when it is before the first event, or before the months that retention left (gateway.services.retention):
    events that are left of such days, by a request that came just before midnight, are in those roll-ups already.

    For a database that was restored into a new cluster, whose transaction ids mean nothing there. Reads and writes every
    event, and requests wait to be recorded while it runs.
    """
    with patient_cursor() as cursor:
        locked_watermark(cursor)
        cursor.execute("LOCK TABLE gateway_usageevent IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("SELECT count(*), min(started_at) FROM gateway_usageevent")
        count, first = cursor.fetchone()
        if first is not None:
            kept = oldest_month_kept()
            if kept is not None:
                first = max(first, dt.datetime.combine(kept, dt.time(), tzinfo=dt.UTC))
            first = first.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            # Every transaction is younger than both; an amended event simply is what it says now. What stays in the roll-ups
            # of days that are gone is put below the watermark.
            cursor.execute(
                "UPDATE gateway_usageevent SET amended_xid = NULL,"
                " committed_xid = (CASE WHEN started_at < %s THEN '2' ELSE '3' END)::xid8",
                [first],
            )
            cursor.execute("DELETE FROM gateway_hourlyusage WHERE hour >= %s", [first])
            cursor.execute("DELETE FROM gateway_dailyusage WHERE day >= %s", [first.date()])
            cursor.execute("DELETE FROM gateway_upstreamusage WHERE day >= %s", [first.date()])
        cursor.execute("UPDATE gateway_usagewatermark SET xid = 3, at = now() WHERE name = %s", [WATERMARK])
    roll_up()
    return int(count)


def locked_watermark(cursor: CursorWrapper) -> int:
    """Return the watermark, and keep roll-ups from running until the transaction ends."""
    cursor.execute("INSERT INTO gateway_usagewatermark (name, xid) VALUES (%s, 0) ON CONFLICT DO NOTHING", [WATERMARK])
    cursor.execute("SELECT xid FROM gateway_usagewatermark WHERE name = %s FOR UPDATE", [WATERMARK])
    (xid,) = cursor.fetchone()
    return int(xid)
