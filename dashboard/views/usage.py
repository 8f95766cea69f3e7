"""The usage page: what each model did on each UTC day, as a chart, a table and a CSV file."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.roles import Permission
from dashboard.forms import UsageFilter, UsageFilterForm
from dashboard.guards import MemberRequest, member_required
from dashboard.usage import chart_of, csv_of, sum_of
from gateway.selectors.usage import DayModelUsage, usage_by_day_and_model
from lumyx.lib import clock

PAGE = "dashboard/usage.html"
#: Rows of the table on one page; the chart, the sums and the CSV file always have all.
ROWS_PER_PAGE = 50


@require_safe
@member_required(Permission.VIEW)
def show_usage(request: MemberRequest) -> HttpResponseBase:
    """Show a range of days; every choice is in the address. ``export=csv`` answers with the table as a file."""
    form = UsageFilterForm(request.GET, today=clock.now().date())
    chosen = form.chosen()
    rows = usage_by_day_and_model(request.workspace.pk, start=chosen.start, end=chosen.end)
    # Newest day first, and in a day what was charged most.
    rows.sort(key=lambda row: (-row.day.toordinal(), -row.totals.charge, -row.totals.requests, row.model))
    if request.GET.get("export") == "csv":
        return _csv_response(rows, slug=request.workspace.slug, chosen=chosen)
    page = _page_number(request.GET.get("page"), rows=len(rows))
    first = (page - 1) * ROWS_PER_PAGE
    context = {
        "form": form,
        "chosen": chosen,
        "periods": [(period, text, query_of(chosen, period=period)) for period, text in form.PERIODS.items()],
        "metrics": [(metric, text, query_of(chosen, metric=metric)) for metric, text in form.METRICS.items()],
        "chart": chart_of(rows, start=chosen.start, end=chosen.end, metric=chosen.metric),
        "rows": rows[first : first + ROWS_PER_PAGE],
        "shown": (first + 1, min(first + ROWS_PER_PAGE, len(rows)), len(rows)),
        "total": sum_of(rows),
        "csv_href": f"?{query_of(chosen)}&export=csv",
        "newer_href": f"?{query_of(chosen)}&page={page - 1}" if page > 1 else "",
        "older_href": f"?{query_of(chosen)}&page={page + 1}" if first + ROWS_PER_PAGE < len(rows) else "",
    }
    return render(request, f"{PAGE}#report" if request.htmx else PAGE, context)


def query_of(chosen: UsageFilter, *, period: str | None = None, metric: str | None = None) -> str:
    """Return the address line of a choice, with one part of it changed."""
    period = period or chosen.period
    query = {"range": period}
    if period == "custom":
        query |= {"from": chosen.start.isoformat(), "to": chosen.end.isoformat()}
    return urlencode(query | {"metric": metric or chosen.metric})


def _page_number(text: str | None, *, rows: int) -> int:
    """Return the page that was asked for, or the nearest that exists."""
    last = max(-(-rows // ROWS_PER_PAGE), 1)
    wanted = int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 1
    return min(max(wanted, 1), last)


def _csv_response(rows: list[DayModelUsage], *, slug: str, chosen: UsageFilter) -> HttpResponse:
    name = f"lumyx-usage-{slug}-{chosen.start}-{chosen.end}.csv"
    return HttpResponse(
        csv_of(rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
