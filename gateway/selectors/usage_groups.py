"""A workspace's usage grouped as a caller asks, by pages: roll-ups plus the tail that is not rolled up yet, in one statement."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from gateway.selectors.usage import UsageTotals
from gateway.selectors.usage_sql import TAIL_WINDOW, TENANT_MEASURES, WATERMARK, contributions, sums

#: What usage can be grouped by, and of which SQL type it is.
DIMENSIONS = {"hour": "timestamptz", "day": "date", "model": "text", "key": "bigint"}

_TAIL = contributions(
    window=TAIL_WINDOW,
    where="workspace_id = %(workspace_id)s AND started_at >= %(since)s AND started_at < %(until)s",
)
_MEASURES = ", ".join(TENANT_MEASURES)
# Days come from the daily roll-up, hours from the hourly one. S608: only constants are put together; values are parameters.
_DAILY = f"""
SELECT api_key_id AS key, model, day, {_MEASURES} FROM gateway_dailyusage
WHERE workspace_id = %(workspace_id)s AND day >= %(start)s AND day <= %(end)s
UNION ALL
SELECT api_key_id, model, (started_at AT TIME ZONE 'UTC')::date, {_MEASURES} FROM ({_TAIL}) AS tail
"""  # noqa: S608
_HOURLY = f"""
SELECT api_key_id AS key, model, hour, (hour AT TIME ZONE 'UTC')::date AS day, {_MEASURES} FROM gateway_hourlyusage
WHERE workspace_id = %(workspace_id)s AND hour >= %(since)s AND hour < %(until)s
UNION ALL
SELECT api_key_id, model, date_trunc('hour', started_at, 'UTC'), (started_at AT TIME ZONE 'UTC')::date, {_MEASURES}
FROM ({_TAIL}) AS tail
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Sums over the requests of one group; ``values`` in the order of the dimensions. The key 0 stands for no key."""

    values: tuple[Any, ...]
    totals: UsageTotals


def usage_groups(
    workspace_id: int,
    by: Sequence[str],
    *,
    start: dt.date,
    end: dt.date,
    limit: int,
    after: Sequence[Any] | None = None,
) -> list[UsageGroup]:
    """Return up to ``limit`` groups of usage, in the order of their values.

    Args:
        workspace_id: whose usage.
        by: one or more of ``DIMENSIONS``.
        start: the first UTC day.
        end: the last UTC day, included.
        limit: how many groups.
        after: the values of the last group of the page before.

    Raises:
        KeyError: there is no such dimension.
    """
    casts = ", ".join(f"%(after_{name})s::{DIMENSIONS[name]}" for name in by)
    names = ", ".join(by)
    seek = f"WHERE ({names}) > ({casts})" if after is not None else ""
    sql = f"""
        SELECT {names}, {sums(TENANT_MEASURES)} FROM ({_HOURLY if "hour" in by else _DAILY}) AS used {seek}
        GROUP BY {names} ORDER BY {names} LIMIT %(limit)s
    """  # noqa: S608  names are keys of DIMENSIONS
    values = {
        "workspace_id": workspace_id,
        "start": start,
        "end": end,
        "since": dt.datetime.combine(start, dt.time(), tzinfo=dt.UTC),
        "until": dt.datetime.combine(end + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC),
        "limit": limit,
        **{f"after_{name}": value for name, value in zip(by, after or (), strict=False)},
    }
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {WATERMARK}")
        (hint,) = cursor.fetchone()
        cursor.execute(sql, {**values, "hint": str(hint)})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    width = len(by)
    return [UsageGroup(row[:width], UsageTotals(*row[width:])) for row in rows]
