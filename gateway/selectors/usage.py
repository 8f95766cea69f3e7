"""What a workspace used: roll-ups plus the tail that is not rolled up yet, in one statement, so a charge shows at once.

One statement is one snapshot: the watermark and the roll-ups move together, so nothing is missed and nothing counted twice.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from gateway.models import UsageEvent
from gateway.selectors.usage_sql import TAIL_WINDOW, TENANT_MEASURES, WATERMARK, contributions, sums


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over some requests; ``charge`` in nano-USD. ``errors`` are a part of ``requests``."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    charge: int = 0

    @property
    def all_input_tokens(self) -> int:
        """Input tokens of every class: uncached, read from a cache and written to one."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True)
class DayModelUsage:
    """What one model was used on one UTC day."""

    day: dt.date
    model: str
    totals: UsageTotals


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as its workspace may see it: nothing about upstreams. ``charge`` in nano-USD, times in milliseconds."""

    id: uuid.UUID
    api_key_id: int | None
    model: str
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    charge: int
    usage_source: str
    status: str
    http_status: int
    error_code: str
    is_stream: bool
    is_free: bool
    started_at: dt.datetime
    first_token_ms: int | None
    duration_ms: int


_REQUEST_COLUMNS = tuple(RequestRow.__dataclass_fields__)


def recent_requests(
    workspace_id: int, *, limit: int, before: uuid.UUID | None = None, api_key_id: int | None = None
) -> list[RequestRow]:
    """Return a workspace's newest requests, newest first; ``before`` is the id of the last row of the page before."""
    rows = UsageEvent.objects.filter(workspace_id=workspace_id)
    if before is not None:
        rows = rows.filter(id__lt=before)
    if api_key_id is not None:
        rows = rows.filter(api_key_id=api_key_id)
    return [RequestRow(**row) for row in rows.order_by("-id").values(*_REQUEST_COLUMNS)[:limit]]


_TAIL = contributions(
    window=TAIL_WINDOW,
    where="workspace_id = %(workspace_id)s AND started_at >= %(since)s AND started_at < %(until)s",
)
# S608: only constants are put together; values travel as parameters.
_DAYS = f"""
SELECT api_key_id, model, day, {", ".join(TENANT_MEASURES)} FROM gateway_dailyusage
WHERE workspace_id = %(workspace_id)s AND day >= %(start)s AND day <= %(end)s
UNION ALL
SELECT api_key_id, model, (started_at AT TIME ZONE 'UTC')::date, {", ".join(TENANT_MEASURES)} FROM ({_TAIL}) AS tail
"""  # noqa: S608
#: Before and after every request that there can be.
_FIRST_DAY, _LAST_DAY = dt.date(2020, 1, 1), dt.date(9000, 1, 1)


def _grouped(
    workspace_id: int, by: Sequence[str], *, start: dt.date | None, end: dt.date | None, order: str = ""
) -> list[tuple[Any, ...]]:
    start, end = start or _FIRST_DAY, end or _LAST_DAY
    keys = ", ".join(by)
    group = f" GROUP BY {keys}" if by else ""
    sql = f"SELECT {keys + ', ' if by else ''}{sums(TENANT_MEASURES)} FROM ({_DAYS}) AS used{group}{order}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {WATERMARK}")
        (hint,) = cursor.fetchone()
        cursor.execute(
            sql,
            {
                "hint": str(hint),
                "workspace_id": workspace_id,
                "start": start,
                "end": end,
                "since": dt.datetime.combine(start, dt.time(), tzinfo=dt.UTC),
                "until": dt.datetime.combine(end + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC),
            },
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def usage_by_day_and_model(workspace_id: int, *, start: dt.date, end: dt.date) -> list[DayModelUsage]:
    """Return usage from ``start`` to ``end`` (UTC days, both included), newest day first, then by model."""
    rows = _grouped(workspace_id, ("day", "model"), start=start, end=end, order=" ORDER BY day DESC, model")
    return [DayModelUsage(day, model, UsageTotals(*numbers)) for day, model, *numbers in rows]


def usage_by_key(
    workspace_id: int, *, start: dt.date | None = None, end: dt.date | None = None
) -> dict[int, UsageTotals]:
    """Return usage by API key's row id, over all time or some UTC days; 0 stands for no key."""
    rows = _grouped(workspace_id, ("api_key_id",), start=start, end=end)
    return {key: UsageTotals(*numbers) for key, *numbers in rows}


def totals_of(workspace_id: int, *, start: dt.date | None = None, end: dt.date | None = None) -> UsageTotals:
    """Return a workspace's usage over all time, or over some UTC days (both included)."""
    ((*numbers,),) = _grouped(workspace_id, (), start=start, end=end)
    return UsageTotals(*(number or 0 for number in numbers))
