"""The credits page: what is left of which kind and for how long, what was paid, and the books line by line."""

import datetime as dt
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.roles import Permission, role_allows
from billing.payments.checkout import LEAST, MOST
from billing.payments.stripe_api import payments_are_on
from billing.payments.top_up import spent_this_month
from billing.selectors.grants import CreditLeft, credit_left_of
from billing.selectors.ledger import Balance, EntryLine, balance_of, entries_of
from billing.selectors.payments import OrderSeen, order_seen, payment_lines_of, plan_of, top_up_of
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import current_tiers, entitlements_of
from dashboard.billing_forms import BuyForm
from dashboard.guards import MemberRequest, member_required, roles_with
from dashboard.payments import show_payment
from dashboard.runway import DAYS, Runway, runway_of
from dashboard.stripe_policy import leads_to_stripe
from dashboard.tiers import is_price_of, monthly_credits_of
from gateway.selectors.usage import usage_by_day_and_model
from lumyx.lib import clock

PAGE = "dashboard/credits.html"
LINES_PER_PAGE = 25
PAYMENTS_PER_PAGE = 10
#: A page that waits for a payment asks for so long; what comes later is seen by loading the page again.
WAITS = dt.timedelta(seconds=60)
#: Where credit came from: its name, and what to know about it.
KINDS = {
    "vip": ("VIP credits", "Come with a plan each month; what is left ends with the month."),
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
#: How a reference begins, and what that says.
REASONS = (("refund:", "Refund"), ("dispute:", "Dispute"))
#: What the ledger can be narrowed down to: the name in the address, in words, and the kinds of entries.
FILTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "All", ()),
    ("added", "Added", ("grant",)),
    ("usage", "Usage", ("usage",)),
    ("gone", "Expired", ("expire",)),
    ("other", "Taken back and corrected", ("clawback", "debt_repay", "adjust")),
)


#: What an operator runs where payments are off.
GRANT = "manage.py credits grant --workspace {slug} --amount 25 --kind paid --source invoice-1"


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
    #: The same in words, where there are some.
    reference: str


@require_safe
@leads_to_stripe
@member_required(Permission.VIEW_BILLING)
def show_credits(request: MemberRequest) -> HttpResponseBase:
    """Show the workspace's money. ``before`` (an entry's id) and ``kind`` choose lines of the ledger, ``page`` payments."""
    if request.htmx and request.htmx.target == "ledger":
        return render(request, f"{PAGE}#ledger", ledger_context(request))
    arrival = arrival_context(request) if "paid" in request.GET else {}
    return render(request, PAGE, page_context(request) | arrival | {"is_cancelled": "cancelled" in request.GET})


@require_safe
@member_required(Permission.VIEW_BILLING)
def show_arrival(request: MemberRequest) -> HttpResponseBase:
    """Say what became of a checkout, for a page that waits for it: 204 while there is nothing new to say.

    With the credit come the parts of the page that it changes.
    """
    arrival = arrival_context(request)
    if arrival["arrival"] == "waiting":
        return HttpResponse(status=204)
    if arrival["arrival"] != "paid":
        return render(request, f"{PAGE}#arrival", arrival)
    return render(request, f"{PAGE}#arrived", page_context(request) | arrival | {"is_swap": True})


def page_context(request: MemberRequest) -> dict[str, object]:
    """Return what every state of the page shows."""
    workspace = request.workspace
    entitlements = entitlements_of(workspace.pk, owner_id=workspace.owner_id)
    tier = next((tier for tier in current_tiers() if tier.slug == entitlements.tier_slug), None)
    plan = plan_of(workspace.pk)
    credit, balance = credit_left_of(workspace.pk), balance_of(workspace.pk)
    return {
        "balance": balance,
        "runway": _runway(workspace.pk, credit, balance),
        "credits": [ShownCredit(left, *KINDS.get(left.kind, (left.kind, ""))) for left in credit],
        "entitlements": entitlements,
        "plan": plan,
        "is_price": is_price_of(tier, plan),
        "tier": tier,
        "monthly_credits": monthly_credits_of(tier, plan if plan and tier and plan.tier_slug == tier.slug else None),
        "is_shared_quota": entitlements.quota_subject.startswith("u:"),
        "free": daily_allowance_of(entitlements),
        "top_up": top_up_of(workspace.pk, spent=spent_this_month(workspace.pk)),
        "payments_on": payments_are_on(),
        "grant_command": GRANT.format(slug=workspace.slug),
        "buy_form": BuyForm(initial={"chosen": "25"}),
        "buy_range": (LEAST, MOST),
        **who_buys(request),
        **payments_context(request),
        **ledger_context(request),
    }


def who_buys(request: MemberRequest) -> dict[str, object]:
    """Return whether this person may buy and change plans, and which roles may."""
    return {
        "may_buy": role_allows(request.membership.role, Permission.MANAGE_BILLING),
        "buyers": roles_with(Permission.MANAGE_BILLING),
    }


def payments_context(request: MemberRequest) -> dict[str, object]:
    """Return a page of payments and invoices."""
    text = request.GET.get("page", "")
    page = min(max(int(text), 1), 10_000) if text.isascii() and text.isdigit() and len(text) < 9 else 1
    lines = payment_lines_of(request.workspace.pk, limit=PAYMENTS_PER_PAGE + 1, offset=(page - 1) * PAYMENTS_PER_PAGE)
    return {
        "payments": [show_payment(line) for line in lines[:PAYMENTS_PER_PAGE]],
        "payments_page": page,
        "newer_payments": f"?page={page - 1}#payments" if page > 1 else "",
        "older_payments": f"?page={page + 1}#payments" if len(lines) > PAYMENTS_PER_PAGE else "",
    }


def ledger_context(request: MemberRequest) -> dict[str, object]:
    """Return a page of the ledger."""
    before = entry_id(request.GET.get("before"))
    chosen, _, kinds = next((row for row in FILTERS if row[0] == request.GET.get("kind")), FILTERS[0])
    lines = entries_of(request.workspace.pk, limit=LINES_PER_PAGE + 1, before=before, kinds=kinds or None)
    page, has_more = lines[:LINES_PER_PAGE], len(lines) > LINES_PER_PAGE
    kept = {"kind": chosen} if chosen else {}
    older = {**kept, "before": page[-1].id} if has_more else {}
    return {
        "lines": [show_line(line) for line in page],
        "is_first_page": before is None,
        "filters": [
            (f"?{urlencode({'kind': name})}" if name else "?", words, name == chosen) for name, words, _ in FILTERS
        ],
        "filter": chosen,
        "newest_href": f"?{urlencode(kept)}",
        "newer_href": "" if before is None else f"?{urlencode(kept)}",
        "older_href": f"?{urlencode(older)}" if has_more else "",
    }


def arrival_context(request: MemberRequest) -> dict[str, object]:
    """Return what became of the checkout that the address names: waiting, slow, paid, over or empty (it is not known here)."""
    session_id, asked = request.GET.get("session_id", ""), asked_at(request)
    order = order_seen(request.workspace.pk, session_id=session_id) if session_id else None
    return {
        "arrival": "" if order is None else _arrival_of(order, waited=clock.now().timestamp() - asked),
        "order": order,
        "arrival_query": urlencode({"session_id": session_id, "since": asked}),
    }


def asked_at(request: MemberRequest) -> int:
    """Return since when a page waits, as its address says; now, where it does not (Unix seconds)."""
    since = request.GET.get("since", "")
    return int(since) if since.isascii() and since.isdigit() and len(since) < 12 else int(clock.now().timestamp())


def _arrival_of(order: OrderSeen, *, waited: float) -> str:
    if order.state == "paid":
        return "paid"
    if order.state != "open":
        return "over"
    return "waiting" if waited < WAITS.total_seconds() else "slow"


def _runway(workspace_id: int, credit: list[CreditLeft], balance: Balance) -> Runway:
    now = clock.now()
    rows = usage_by_day_and_model(workspace_id, start=now.date() - dt.timedelta(days=DAYS - 1), end=now.date())
    charges: dict[dt.date, int] = {}
    for row in rows:
        charges[row.day] = charges.get(row.day, 0) + row.totals.charge
    return runway_of(credit, available=balance.available, charges=charges, now=now)


def show_line(line: EntryLine) -> ShownLine:
    """Return a line of the books in words."""
    name, _ = KINDS.get(line.grant_kind, (line.grant_kind, ""))
    ref = line.ref.replace("-", "") if line.kind == "usage" else line.ref
    return ShownLine(line, ENTRIES.get(line.kind, line.kind), name, ref, _reference(line, ref))


def _reference(line: EntryLine, ref: str) -> str:
    """Return what a line is about, in words where there are some."""
    why = next((words for start, words in REASONS if ref.startswith(start)), "")
    if line.kind == "grant" or (line.kind == "adjust" and line.amount > 0 and not why):
        return line.grant_note or ref
    about = line.grant_note if line.grant_kind != "overdraft" else ""
    if line.kind in {"clawback", "adjust", "expire"} and (why or line.kind == "expire"):
        return ": ".join(part for part in (why, about) if part) or ref
    return ref


def entry_id(text: str | None) -> int | None:
    """Return the id in an address line; None: the newest page (also for what is no id)."""
    is_id = text is not None and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_id and text else None
