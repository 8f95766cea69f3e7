"""The page of one request: what was used, how the charge came about, and which credit paid it."""

from dataclasses import dataclass

from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.roles import Permission, role_allows
from billing.rating import exact_nano
from billing.types import GrantUse
from dashboard.guards import MemberRequest, member_required
from dashboard.views.credits import KINDS
from dashboard.views.overview import STATES
from gateway.protocols.receipt import DetailsGoneError, Receipt, request_id_in
from gateway.selectors.receipts import receipt_of

PAGE, GONE_PAGE = "dashboard/request.html", "dashboard/request_gone.html"
CLASSES = {"input": "Input", "cache_read": "Cache read", "cache_write": "Cache write", "output": "Output"}
SOURCES = {"upstream": "Reported by the provider", "estimated": "Estimated by us", "none": "None: nothing came out"}


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One class of tokens: ``rate`` in nano-USD per million, ``nano`` the product in nano-dollars, not rounded."""

    name: str
    tokens: int
    rate: int
    nano: str


@dataclass(frozen=True, slots=True)
class ShownPayment:
    """What a grant paid, with its kind in words."""

    name: str
    use: GrantUse


@require_safe
@member_required(Permission.VIEW)
def show_request(request: MemberRequest, request_id: str) -> HttpResponseBase:
    """Show a request of the workspace that has ended; any other id is a 404. Which credit paid is for those who see money."""
    found = request_id_in(request_id)
    try:
        receipt = None if found is None else receipt_of(request.workspace.pk, request_id=found)
    except DetailsGoneError as gone:
        return render(request, GONE_PAGE, {"since": gone.since}, status=404)
    if receipt is None:
        raise Http404
    state, badge = STATES.get(receipt.status, (receipt.status, ""))
    sees_money = role_allows(request.membership.role, Permission.VIEW_BILLING)
    context = {
        "receipt": receipt,
        "state": state,
        "badge": badge,
        "source": SOURCES.get(receipt.usage_source, receipt.usage_source),
        "lines": lines_of(receipt),
        "sum_nano": with_commas(exact_nano(receipt.product)),
        "sees_money": sees_money,
        "payments": [ShownPayment(KINDS.get(use.kind, (use.kind, ""))[0], use) for use in receipt.payments],
    }
    return render(request, PAGE, context)


def lines_of(receipt: Receipt) -> list[ShownLine]:
    """Return the arithmetic of a charge in words and numbers; empty where the price is not known."""
    return [
        ShownLine(CLASSES[line.token_class], line.tokens, line.rate, with_commas(exact_nano(line.product)))
        for line in receipt.lines
    ]


def with_commas(number: str) -> str:
    """Return a decimal number with its thousands apart: "1,234,567.5"."""
    whole, point, rest = number.partition(".")
    return f"{int(whole):,}{point}{rest}"
