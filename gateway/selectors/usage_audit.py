"""Checks of usage against the books and of roll-ups against the events: what should be equal, and where it is not."""

import datetime as dt
from typing import Any

from gateway.selectors.patience import patient_cursor
from gateway.selectors.usage_retention import first_id_kept
from gateway.selectors.usage_sql import MEASURES, contributions, sums

# Where months of events were dropped, both sides begin with the first request that is kept: its id says when it came.
# One statement, hence one snapshot: events and entries commit together, so a difference is real. The entries' table is
# named here because two queries through two apps would see two moments, and call every request in between a difference.
_UNBILLED = """
SELECT workspace_id, COALESCE(events.charge, 0)::bigint, COALESCE(entries.amount, 0)::bigint
FROM (SELECT workspace_id, sum(charge) AS charge FROM gateway_usageevent WHERE id >= %(floor)s GROUP BY 1) AS events
FULL JOIN (
    SELECT wallet_id AS workspace_id, sum(amount) AS amount FROM billing_ledgerentry
    WHERE kind = 'usage' AND ref::uuid >= %(floor)s GROUP BY 1
) AS entries USING (workspace_id)
WHERE COALESCE(events.charge, 0) <> -COALESCE(entries.amount, 0)
ORDER BY workspace_id
"""


def unbilled_differences() -> list[dict[str, Any]]:
    """Return the workspaces whose usage events' charges are not what the ledger took for usage (nano-USD, as strings).

    Empty when the books are right. Months whose events were dropped are left out. It reads all events: for audits, not for pages.
    """
    with patient_cursor() as cursor:
        cursor.execute(_UNBILLED, {"floor": first_id_kept()})
        rows = cursor.fetchall()
    return [
        {
            "invariant": "usage_events_equal_usage_entries",
            "workspace_id": workspace_id,
            "events": str(charge),
            "entries": str(amount),
        }
        for workspace_id, charge, amount in rows
    ]


# S608: only constants are put together; values travel as parameters.
_ROLLED = contributions(
    window="{xid} < COALESCE((SELECT xid FROM gateway_usagewatermark WHERE name = 'usage'), 0)::text::xid8",
    where="started_at >= %(since)s AND started_at < %(until)s",
)
_KEYS = "workspace_id, api_key_id, model"
_THEIR_KEYS = "model, upstream_id"
_SAME = " AND ".join(f"COALESCE(a.{name}, 0) = COALESCE(b.{name}, 0)" for name in MEASURES)
_COMPARE = f"""
WITH counted AS MATERIALIZED ({_ROLLED}),
events AS (SELECT {_KEYS}, {sums()} FROM counted GROUP BY {_KEYS}),
their_events AS (SELECT {_THEIR_KEYS}, {sums()} FROM counted GROUP BY {_THEIR_KEYS}),
upstreams AS (SELECT {_THEIR_KEYS}, {", ".join(MEASURES)} FROM gateway_upstreamusage WHERE day = %(day)s),
daily AS (SELECT {_KEYS}, {", ".join(MEASURES)} FROM gateway_dailyusage WHERE day = %(day)s),
hourly AS (
    SELECT {_KEYS}, {sums()} FROM gateway_hourlyusage WHERE hour >= %(since)s AND hour < %(until)s GROUP BY {_KEYS}
)
SELECT 'daily' AS rollup, {_KEYS}, NULL::bigint AS upstream_id
FROM events AS a FULL JOIN daily AS b USING ({_KEYS}) WHERE NOT ({_SAME})
UNION ALL
SELECT 'hourly', {_KEYS}, NULL FROM events AS a FULL JOIN hourly AS b USING ({_KEYS}) WHERE NOT ({_SAME})
UNION ALL
SELECT 'upstream', NULL, NULL, {_THEIR_KEYS} FROM their_events AS a FULL JOIN upstreams AS b USING ({_THEIR_KEYS})
WHERE NOT ({_SAME})
ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608


def rollup_differences(day: dt.date) -> list[dict[str, Any]]:
    """Recount a UTC day from its events and return the roll-up rows that say something else; empty when all agree.

    Each has ``rollup`` (hourly, daily or upstream), ``model``, and ``workspace_id`` and ``api_key_id`` or ``upstream_id``.
    """
    since = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
    with patient_cursor() as cursor:
        cursor.execute(_COMPARE, {"day": day, "since": since, "until": since + dt.timedelta(days=1)})
        rows = cursor.fetchall()
    return [
        {"rollup": rollup, "model": model, "upstream_id": upstream_id}
        if rollup == "upstream"
        else {"rollup": rollup, "workspace_id": workspace_id, "api_key_id": api_key_id, "model": model}
        for rollup, workspace_id, api_key_id, model, upstream_id in rows
    ]


def event_count(workspace_id: int | None = None) -> tuple[int, int]:
    """Return how many usage events there are and their charges' sum (nano-USD), counted one by one."""
    with patient_cursor() as cursor:
        cursor.execute(
            "SELECT count(*), COALESCE(sum(charge), 0)::bigint FROM gateway_usageevent"
            " WHERE %(id)s::bigint IS NULL OR workspace_id = %(id)s::bigint",
            {"id": workspace_id},
        )
        count, charge = cursor.fetchone()
    return count, charge


def events_of_day(day: dt.date) -> int:
    """Return how many usage events were started on a UTC day, counted one by one."""
    since = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
    with patient_cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM gateway_usageevent WHERE started_at >= %s AND started_at < %s",
            [since, since + dt.timedelta(days=1)],
        )
        (count,) = cursor.fetchone()
    return int(count)
