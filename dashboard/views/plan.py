"""The plan page: what the workspace is on, what it could be on, and how it changes.

Money is taken on Stripe's pages, or from the card that Stripe keeps; our rows change as Stripe says.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timezone import localtime
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from accounts.roles import Permission
from billing.payments import plans
from billing.payments.errors import CardError, PaymentsError
from billing.payments.stripe_api import payments_are_on
from billing.selectors.ledger import balance_of
from billing.selectors.payments import PlanSeen, plan_of
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import current_tiers, entitlements_of, public_tiers
from dashboard.billing_forms import PlanForm
from dashboard.guards import MemberRequest, member_required
from dashboard.stripe_policy import leads_to_stripe
from dashboard.tiers import Interval, is_price_of, monthly_credits_of, offers_for, saving_of_tier
from dashboard.views.buying import problem_of, to_stripe
from dashboard.views.credits import WAITS, asked_at, who_buys
from lumyx.lib import clock

if TYPE_CHECKING:
    from billing.models import Tier

PAGE = "dashboard/plan.html"


@require_safe
@leads_to_stripe
@member_required(Permission.VIEW_BILLING)
def show_plan(request: MemberRequest) -> HttpResponseBase:
    """Show the plan and the tiers beside it; ``interval=year`` shows what they cost by the year."""
    return render(request, PAGE, page_context(request))


@require_safe
@member_required(Permission.VIEW_BILLING)
def show_start(request: MemberRequest) -> HttpResponseBase:
    """Say whether a plan that was just paid for has begun, for a page that waits for it: 204 while it has not."""
    start = start_of(request, plan_of(request.workspace.pk))
    if start == "begun":
        return HttpResponseClientRedirect(f"{reverse('dashboard:plan')}?subscribed=1")
    if start == "waiting":
        return HttpResponse(status=204)
    return render(request, f"{PAGE}#start", {"start": start})


@require_POST
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def subscribe(request: MemberRequest) -> HttpResponseBase:
    """Lead to Stripe's checkout of a tier. A second press closes the first checkout, so that two never become two plans."""
    form = PlanForm(request.POST)
    if not form.is_valid():
        return _with_problem(request, "Choose one of these plans.", 422)
    page = settings.LUMYX_SITE_URL + reverse("dashboard:plan")
    try:
        session = plans.start_plan_checkout(
            request.workspace,
            user_id=request.user.pk,
            email=request.user.email,
            tier_slug=form.cleaned_data["tier"],
            interval=form.cleaned_data["interval"],
            success_url=f"{page}?subscribed=1",
            cancel_url=f"{page}?cancelled=1",
        )
    except PaymentsError as error:
        return _with_problem(request, *problem_of(error))
    return to_stripe(session.url)


@require_http_methods(["GET", "POST"])
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def change_plan(request: MemberRequest) -> HttpResponseBase:
    """Say what a change costs and brings now, and on the second step make it."""
    form = PlanForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        if request.method == "POST":
            return _with_problem(request, "Choose one of these plans.", 422)
        raise Http404("There is no such plan.")
    slug, interval = form.cleaned_data["tier"], form.cleaned_data["interval"]
    tier = next((tier for tier in public_tiers() if tier.slug == slug), None)
    if tier is None:
        raise Http404("There is no such plan.")
    context: dict[str, object] = {"changing": tier, "interval": interval}
    try:
        if request.method == "GET":
            preview = plans.preview_change(request.workspace.pk, tier_slug=slug, interval=interval)
            return _step(request, "change", context | {"preview": preview})
        done = plans.change_plan(request.workspace.pk, tier_slug=slug, interval=interval)
    except PaymentsError as error:
        problem, status = problem_of(error)
        return _step(request, "change", context | {"problem": problem, **_of_card(error)}, status=status)
    text = (
        f"You are on {tier.name} now." if done.is_upgrade else f"{tier.name} begins on {localtime(done.at):%-d %B %Y}."
    )
    return _done(request, text)


@require_http_methods(["GET", "POST"])
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def cancel_plan(request: MemberRequest) -> HttpResponseBase:
    """Ask whether the plan shall end, and let it end with what is paid."""
    if request.method == "GET":
        plan = plan_of(request.workspace.pk)
        if plan is None or plan.is_comped:
            raise Http404("This workspace pays for no plan.")
        return _step(request, "cancel", {})
    try:
        ends_at = plans.cancel_plan(request.workspace.pk)
    except PaymentsError as error:
        problem, status = problem_of(error)
        return _step(request, "cancel", {"problem": problem}, status=status)
    return _done(request, f"The plan ends on {localtime(ends_at):%-d %B %Y}. Until then nothing changes.")


@require_POST
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def resume_plan(request: MemberRequest) -> HttpResponseBase:
    """Take back a cancellation, or a change that is planned."""
    try:
        plans.resume_plan(request.workspace.pk)
    except PaymentsError as error:
        return _with_problem(request, *problem_of(error))
    return _done(request, "The plan goes on as it is.")


@require_POST
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def open_portal(request: MemberRequest) -> HttpResponseBase:
    """Lead to Stripe's pages for cards, invoices and the billing address."""
    page = settings.LUMYX_SITE_URL + reverse("dashboard:plan")
    try:
        return to_stripe(plans.portal_url(request.workspace, email=request.user.email, return_url=page))
    except PaymentsError as error:
        return _with_problem(request, *problem_of(error))


def page_context(request: MemberRequest) -> dict[str, object]:
    """Return what every state of the page shows."""
    workspace = request.workspace
    entitlements = entitlements_of(workspace.pk, owner_id=workspace.owner_id)
    plan = plan_of(workspace.pk)
    tiers = {tier.slug: tier for tier in current_tiers()}
    offered = [tier for tier in tiers.values() if tier.is_public]
    has_years = any(tier.yearly_price for tier in offered)
    asked = request.GET.get("interval") or (plan.interval if plan else "month")
    interval: Interval = "year" if has_years and asked == "year" else "month"
    tier = tiers.get(plan.tier_slug if plan else entitlements.tier_slug)
    free, offers = daily_allowance_of(entitlements), offers_for(offered, plan, interval=interval)
    return {
        "plan": plan,
        "tier": tier,
        "is_price": is_price_of(tier, plan),
        "next_tier": tiers.get(plan.next_tier_slug) if plan else None,
        "next_credits": _next_credits(plan, tiers),
        "entitlements": entitlements,
        "limits_hold": plan is not None and entitlements.tier_slug == plan.tier_slug,
        "free": free,
        "free_share": min(100 * free.used // free.limit, 100) if free.limit else 0,
        "is_shared_quota": entitlements.quota_subject.startswith("u:"),
        "vip_left": (balance_of(workspace.pk).by_kind or {}).get("vip", 0),
        "offers": offers,
        "best_saving": next((saving for tier in reversed(offered) if (saving := saving_of_tier(tier))), ""),
        "interval": interval,
        "has_years": has_years,
        "payments_on": payments_are_on(),
        "plan_command": f"manage.py workspace tier {workspace.slug} vip1",
        "start": start_of(request, plan) if "subscribed" in request.GET else "",
        "since": asked_at(request),
        "is_cancelled": "cancelled" in request.GET,
        **who_buys(request),
    }


def start_of(request: MemberRequest, plan: PlanSeen | None) -> str:
    """Return how a plan that was just paid for stands: waiting, slow or begun."""
    if plan is not None and not plan.is_comped:
        return "begun"
    waited = clock.now().timestamp() - asked_at(request)
    return "waiting" if waited < WAITS.total_seconds() else "slow"


def _next_credits(plan: PlanSeen | None, tiers: Mapping[str, "Tier"]) -> int:
    """Return how much VIP credit comes next (nano-USD): the planned tier's, where that begins before. 0: none comes."""
    if plan is None or plan.next_credits_at is None:
        return 0
    changes = plan.next_tier_slug and plan.period_ends_at is not None and plan.next_credits_at >= plan.period_ends_at
    if changes:
        return monthly_credits_of(tiers.get(plan.next_tier_slug), None)
    return monthly_credits_of(tiers.get(plan.tier_slug), plan)


def _of_card(error: PaymentsError) -> dict[str, object]:
    return {"is_card": isinstance(error, CardError)}


def _step(request: MemberRequest, step: str, context: dict[str, object], *, status: int = 200) -> HttpResponseBase:
    """Show a step to confirm: in a dialog over the page, or on the page where there is no script."""
    context = page_context(request) | context | {"step": step}
    if not request.htmx:
        return render(request, PAGE, context, status=status)
    # htmx swaps in no answer of 5xx, and this one says what to do.
    part = f"{step}_step" if request.method == "POST" else f"{step}_dialog"
    return render(request, f"{PAGE}#{part}", context, status=422 if status >= 500 else status)


def _with_problem(request: MemberRequest, problem: str, status: int) -> HttpResponseBase:
    return render(request, PAGE, page_context(request) | {"page_problem": problem}, status=status)


def _done(request: MemberRequest, text: str) -> HttpResponseBase:
    messages.success(request, text)
    if request.htmx:
        return HttpResponseClientRedirect(reverse("dashboard:plan"))
    return redirect("dashboard:plan")
