"""The overview: what is left, what was used, the last requests, and for a newcomer the way to the first one."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from accounts import mailbox
from accounts.roles import Permission, role_allows
from accounts.selectors.apikeys import api_key_names_of
from accounts.selectors.users import needs_email_verification
from billing.selectors.ledger import balance_of
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import entitlements_of
from dashboard.catalog import listed_models
from dashboard.guards import MemberRequest, member_required
from dashboard.snippets import first_call
from dashboard.usage import all_tokens, chart_of, sum_of
from dashboard.views.credits import KINDS
from dashboard.views.keys import sample_model
from gateway.selectors.usage import DayModelUsage, RequestRow, recent_requests, usage_by_day_and_model
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD

PAGE = "dashboard/overview.html"
LAST_REQUESTS = 10
CHART_DAYS = 30
#: Below this much available (nano-USD) the page warns.
LOW_BALANCE = NANO_PER_USD


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A line of the table of requests. ``badge`` is the colour of its state."""

    row: RequestRow
    key_name: str
    state: str
    badge: str

    @property
    def tokens_in(self) -> str:
        """All input tokens, in full."""
        return f"{self.row.input_tokens + self.row.cache_read_tokens + self.row.cache_write_tokens:,}"

    @property
    def tokens_out(self) -> str:
        """The output tokens, in full."""
        return f"{self.row.output_tokens:,}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number over three periods (UTC days); money in nano-USD."""

    name: str
    today: int
    week: int
    month: int
    is_money: bool = False


#: What a usage event's status is called here, and its colour. A cut answer was paid for as far as it came.
STATES = {
    "ok": ("OK", "ok"),
    "client_closed": ("Client closed", ""),
    "upstream_error": ("Upstream error", "bad"),
    "cut": ("Cut off", "warn"),
    "released": ("Not charged", ""),
    "expired": ("Timed out", "warn"),
}


@require_safe
@member_required(Permission.VIEW)
def show_overview(request: MemberRequest) -> HttpResponseBase:
    """Show the workspace at a glance."""
    workspace_id, today = request.workspace.pk, clock.now().date()
    last = recent_requests(workspace_id, limit=LAST_REQUESTS)
    if request.htmx and "waiting" in request.GET:
        # The checklist of an empty workspace asks this until the first request has come.
        return HttpResponseClientRefresh() if last else HttpResponse(status=204)
    start = today - dt.timedelta(days=CHART_DAYS - 1)
    rows = usage_by_day_and_model(workspace_id, start=start, end=today)
    balance = balance_of(workspace_id)
    key_names = api_key_names_of(workspace_id)
    free = daily_allowance_of(entitlements_of(workspace_id, owner_id=request.workspace.owner_id))
    context = {
        "balance": balance,
        "sees_money": role_allows(request.membership.role, Permission.VIEW_BILLING),
        "may_create": role_allows(request.membership.role, Permission.MANAGE_KEYS),
        "is_low": balance.available < LOW_BALANCE,
        "figures": figures_of(rows, today=today),
        "chart": chart_of(rows, start=start, end=today, metric="charge"),
        "has_charges": any(row.totals.charge for row in rows),
        "requests": [show_request(row, key_names) for row in last],
        "kinds": [(KINDS[kind][0].split()[0], amount) for kind, amount in (balance.by_kind or {}).items()],
        "free": free,
        "free_share": 100 * (free.remaining or 0) // free.limit if free.limit else 100,
        "unverified": request.user.email if needs_email_verification(request.user) else "",
        "has_mail_page": mailbox.is_open(),
        "has_keys": bool(key_names),
        "sample": first_call(model=sample_model(listed_models())) if not last else [],
    }
    return render(request, PAGE, context)


def figures_of(rows: Sequence[DayModelUsage], *, today: dt.date) -> list[Figure]:
    """Return spend, requests and tokens of today, the last seven days and all of ``rows``."""
    day, week, month = (sum_of(rows, since=since) for since in (today, today - dt.timedelta(days=6), None))
    return [
        Figure("Spend", day.charge, week.charge, month.charge, is_money=True),
        Figure("Requests", day.requests, week.requests, month.requests),
        Figure("Tokens", all_tokens(day), all_tokens(week), all_tokens(month)),
    ]


def show_request(row: RequestRow, key_names: dict[int, str]) -> ShownRequest:
    """Return a request with its key's name and its state in words."""
    state, badge = STATES.get(row.status, (row.status, ""))
    name = key_names.get(row.api_key_id or 0, "–")
    return ShownRequest(row, name, state, badge)
