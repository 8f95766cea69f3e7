"""The credits page: what is left of which kind, what the tier permits, and the books line by line."""

from dataclasses import dataclass

from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.roles import Permission
from billing.selectors.grants import CreditLeft, credit_left_of
from billing.selectors.ledger import EntryLine, balance_of, entries_of
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import current_tiers, entitlements_of
from dashboard.guards import MemberRequest, member_required

PAGE = "dashboard/credits.html"
LINES_PER_PAGE = 25
#: Where credit came from: its name, and what to know about it.
KINDS = {
    "vip": ("VIP credits", "Come with a tier each month; what is left ends with the period."),
    "promo": ("Promo credits", "A gift from the operator of this installation."),
    "paid": ("Paid credits", "Spent last."),
    "overdraft": ("Debt", "From a refund or a dispute; the next credit pays it first."),
}
ENTRIES = {
    "grant": "Credit added",
    "usage": "Usage",
    "expire": "Expired",
    "clawback": "Taken back",
    "debt_repay": "Debt repaid",
    "adjust": "Adjustment",
}


@dataclass(frozen=True, slots=True)
class ShownCredit:
    """Credit of one kind and expiry, in words."""

    left: CreditLeft
    name: str
    about: str


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line in the books, in words."""

    line: EntryLine
    what: str
    bucket: str
    #: A charge is named by its request id, in the form that the API gave the client.
    ref: str


@require_safe
@member_required(Permission.VIEW_BILLING)
def show_credits(request: MemberRequest) -> HttpResponseBase:
    """Show the workspace's money; ``before`` (an entry's id) turns the page of the ledger."""
    workspace = request.workspace
    entitlements = entitlements_of(workspace.pk, owner_id=workspace.owner_id)
    before = entry_id(request.GET.get("before"))
    lines = entries_of(workspace.pk, limit=LINES_PER_PAGE + 1, before=before)
    page, has_more = lines[:LINES_PER_PAGE], len(lines) > LINES_PER_PAGE
    context = {
        "balance": balance_of(workspace.pk),
        "credits": [ShownCredit(left, *KINDS.get(left.kind, (left.kind, ""))) for left in credit_left_of(workspace.pk)],
        "entitlements": entitlements,
        "tier": next((tier for tier in current_tiers() if tier.slug == entitlements.tier_slug), None),
        "is_shared_quota": entitlements.quota_subject.startswith("u:"),
        "free": daily_allowance_of(entitlements),
        "lines": [show_line(line) for line in page],
        "is_first_page": before is None,
        "newer_href": "" if before is None else "?#ledger",
        "older_href": f"?before={page[-1].id}#ledger" if has_more else "",
    }
    return render(request, PAGE, context)


def show_line(line: EntryLine) -> ShownLine:
    """Return a line of the books in words."""
    name, _ = KINDS.get(line.grant_kind, (line.grant_kind, ""))
    ref = line.ref.replace("-", "") if line.kind == "usage" else line.ref
    return ShownLine(line, ENTRIES.get(line.kind, line.kind), name, ref)


def entry_id(text: str | None) -> int | None:
    """Return the id in an address line; None: the newest page (also for what is no id)."""
    is_id = text is not None and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_id and text else None
