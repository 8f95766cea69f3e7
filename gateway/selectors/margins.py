"""What was charged, what it cost the operator and what is left, over all workspaces: for operators, never for a tenant's page.

Read from the roll-ups plus the tail that is not rolled up yet, in one statement, like gateway.selectors.usage.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from accounts.models import Workspace
from gateway.models import Upstream
from gateway.selectors.patience import patient_cursor
from gateway.selectors.usage_sql import TAIL_WINDOW, WATERMARK, contributions, sums
from lumyx.lib import clock

type Grouping = Literal["model", "upstream", "workspace"]

_MEASURES = ("requests", "costed", "charge", "absorbed", "cost")
#: How it is grouped: the key, and the roll-up by day that has it.
_SOURCES = {
    "model": ("model", "gateway_upstreamusage"),
    "upstream": ("upstream_id", "gateway_upstreamusage"),
    "workspace": ("workspace_id", "gateway_dailyusage"),
}
GROUPINGS: tuple[Grouping, ...] = ("model", "upstream", "workspace")


@dataclass(frozen=True, slots=True)
class Margin:
    """Sums over some requests, in nano-USD. ``absorbed`` was rated but not charged; ``costed`` requests have a known cost."""

    name: str
    requests: int
    costed: int
    charge: int
    absorbed: int
    cost: int

    @property
    def uncosted(self) -> int:
        """Requests whose cost is not known. Any makes the margin an upper bound."""
        return self.requests - self.costed

    @property
    def margin(self) -> int | None:
        """Charge less the known costs (nano-USD); None where no cost is known at all."""
        return None if self.uncosted and not self.cost else self.charge - self.cost

    @property
    def percent(self) -> Decimal | None:
        """The margin as a part of the charge, to a tenth of a percent; None without either."""
        if self.margin is None or not self.charge:
            return None
        return (Decimal(self.margin * 100) / self.charge).quantize(Decimal("0.1"), ROUND_HALF_EVEN)


def margins(*, by: Grouping, days: int) -> list[Margin]:
    """Return the margins of the last ``days`` UTC days, today included, lowest first; those that are not known come last."""
    end = clock.now().date()
    start = end - dt.timedelta(days=days - 1)
    names = _names(by)
    found = [Margin(names.get(key, _unnamed(by, key)), *numbers) for key, numbers in _rows(by, start=start, end=end)]
    return sorted(found, key=lambda row: (row.margin is None, row.margin or 0, row.name))


def total_of(rows: list[Margin]) -> Margin:
    """Return the sums of some margins."""
    return Margin("Total", *(sum(getattr(row, name) for row in rows) for name in _MEASURES))


def _rows(by: Grouping, *, start: dt.date, end: dt.date) -> list[tuple[object, list[int]]]:
    key, table = _SOURCES[by]
    tail = contributions(window=TAIL_WINDOW, where="started_at >= %(since)s AND started_at < %(until)s")
    columns = f"{key}, {', '.join(_MEASURES)}"
    # S608: only constants are put together; values travel as parameters.
    statement = f"""
        SELECT {key}, {sums(_MEASURES)} FROM (
            SELECT {columns} FROM {table} WHERE day >= %(start)s AND day <= %(end)s
            UNION ALL SELECT {columns} FROM ({tail}) AS tail
        ) AS used GROUP BY 1 HAVING sum(requests) <> 0
    """  # noqa: S608
    with patient_cursor() as cursor:
        cursor.execute(f"SELECT {WATERMARK}")
        (hint,) = cursor.fetchone()
        cursor.execute(
            statement,
            {
                "hint": str(hint),
                "start": start,
                "end": end,
                "since": dt.datetime.combine(start, dt.time(), tzinfo=dt.UTC),
                "until": dt.datetime.combine(end + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC),
            },
        )
        return [(key, list(numbers)) for key, *numbers in cursor.fetchall()]


def _names(by: Grouping) -> Mapping[object, str]:
    if by == "upstream":
        return {0: "(none reached)", **dict(Upstream.objects.values_list("pk", "name"))}
    if by == "workspace":
        return dict(Workspace.objects.values_list("pk", "slug"))
    return {}


def _unnamed(by: Grouping, key: object) -> str:
    return str(key) if by == "model" else f"(removed, number {key})"
