"""How the whole installation stands, for operators: sums over all workspaces, from the roll-ups alone, and the upstreams' states.

As exact as the last roll-up, which runs every minute: ``counted_until`` says when it was.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from django.db.models import Model, QuerySet, Sum

from gateway.models import HourlyUsage, Upstream, UpstreamUsage, UsageWatermark
from gateway.selectors.upstream_state import state_of, with_use
from lumyx.lib import clock

_MEASURES = ("requests", "errors", "charge", "cost", "costed")


@dataclass(frozen=True, slots=True)
class Standing:
    """Sums over some time; money in nano-USD. ``costed`` requests have a known cost."""

    requests: int
    errors: int
    charge: int
    cost: int
    costed: int

    @property
    def is_partly_known(self) -> bool:
        """Whether some requests have no known cost: the cost is at least, and the margin at most, what is said."""
        return self.costed < self.requests

    @property
    def margin(self) -> int:
        """Charge less the known costs (nano-USD)."""
        return self.charge - self.cost

    @property
    def error_percent(self) -> Decimal:
        """Failed requests as a part of all, to a tenth of a percent."""
        if not self.requests:
            return Decimal(0)
        return (Decimal(self.errors * 100) / self.requests).quantize(Decimal("0.1"), ROUND_HALF_EVEN)


def last_day() -> Standing:
    """Return the sums of the last 24 hours and of the hour that runs."""
    since = clock.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=24)
    return _sums(HourlyUsage.objects.filter(hour__gte=since))


def last_week() -> Standing:
    """Return the sums of today and the six days before (UTC)."""
    return _sums(UpstreamUsage.objects.filter(day__gte=clock.now().date() - dt.timedelta(days=6)))


def counted_until() -> dt.datetime | None:
    """Return when the roll-ups were last brought up to date; None: never."""
    row = UsageWatermark.objects.filter(name="usage").first()
    return row.at if row else None


def troubled_upstreams() -> list[tuple[int, str, str]]:
    """Return the upstreams that are paused or failing: row id, name, and in which state."""
    found = [
        (row.pk, row.name, state_of(row.is_enabled, requests=row.recent_requests, errors=row.recent_errors))  # type: ignore[attr-defined]
        for row in with_use(Upstream.objects.order_by("name"))
    ]
    return [(pk, name, state) for pk, name, state in found if state in {"paused", "failing"}]


def _sums[Row: Model](rows: QuerySet[Row]) -> Standing:
    found = rows.aggregate(**{name: Sum(name) for name in _MEASURES})
    return Standing(**{name: found[name] or 0 for name in _MEASURES})
