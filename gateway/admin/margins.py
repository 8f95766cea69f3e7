"""The operator's margins in the admin: what was charged, what it cost and what is left, by model and by upstream."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gateway.models import UpstreamUsage
from gateway.selectors.below_cost import routes_without_cost, sold_below_cost
from gateway.selectors.margins import Grouping, Margin, margins, total_of

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    MarginModelAdmin = admin.ModelAdmin[UpstreamUsage]
else:
    MarginModelAdmin = admin.ModelAdmin

PERIODS = (1, 7, 30, 90)
DEFAULT_PERIOD = 30
#: Columns by what they are sorted by, with their headings; all but the name are numbers.
COLUMNS = {
    "name": "",
    "margin": "Margin",
    "percent": "Margin\N{NO-BREAK SPACE}%",
    "charge": "Charged",
    "cost": "Cost",
    "requests": "Requests",
    "uncosted": "Without known cost",
    "absorbed": "Absorbed",
}
#: Losses first.
DEFAULT_SORT = "margin"


@dataclass(frozen=True, slots=True)
class Heading:
    """A column's heading: a link that sorts by it, the other way round where it is sorted by it already."""

    key: str
    text: str
    href: str
    direction: str


@dataclass(frozen=True, slots=True)
class MarginTable:
    """One way to group, as the page shows it."""

    title: str
    headings: list[Heading]
    rows: list[Margin]
    total: Margin


@admin.register(UpstreamUsage)
class MarginAdmin(MarginModelAdmin):
    """Its list is the page of margins; rows are sums that nobody edits."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the margins of a period."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        days, sort = chosen_period(request.GET.get("days", "")), chosen_sort(request.GET.get("sort", ""))
        context = {
            **self.admin_site.each_context(request),
            "title": "Margins",
            "opts": self.opts,
            "days": days,
            "periods": [(period, "?" + urlencode({"days": period, "sort": sort})) for period in PERIODS],
            "tables": [_table(by, days=days, sort=sort) for by in ("model", "upstream")],
            "below_cost": sold_below_cost(),
            "without_cost": len(routes_without_cost()),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/gateway/upstreamusage/change_list.html", context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Roll-ups write them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes them."""
        return False


def chosen_period(given: str) -> int:
    """Return the period of an address in days; what is none of the offered ones is the default."""
    return next((period for period in PERIODS if str(period) == given), DEFAULT_PERIOD)


def chosen_sort(given: str) -> str:
    """Return the order of an address: a column, with "-" in front from high to low; what is none is the default."""
    return given if given.removeprefix("-") in COLUMNS else DEFAULT_SORT


def in_order(rows: list[Margin], sort: str) -> list[Margin]:
    """Return rows by a column; what is not known comes last, either way."""
    key = sort.removeprefix("-")
    known = [row for row in rows if getattr(row, key) is not None]
    unknown = [row for row in rows if getattr(row, key) is None]
    return sorted(known, key=lambda row: (getattr(row, key), row.name), reverse=sort.startswith("-")) + unknown


def _table(by: Grouping, *, days: int, sort: str) -> MarginTable:
    rows = margins(by=by, days=days)
    headings = [_heading(key, text or by.capitalize(), days=days, sort=sort) for key, text in COLUMNS.items()]
    return MarginTable(f"By {by}", headings, in_order(rows, sort), total_of(rows))


def _heading(key: str, text: str, *, days: int, sort: str) -> Heading:
    direction = "" if sort.removeprefix("-") != key else "descending" if sort.startswith("-") else "ascending"
    other = f"-{key}" if direction == "ascending" else key
    return Heading(key, text, "?" + urlencode({"days": days, "sort": other}), direction)
