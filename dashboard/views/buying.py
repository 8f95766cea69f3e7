"""Buying credit, and automatic top-ups. Money is taken on Stripe's pages; nothing here grants anything."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from accounts.roles import Permission
from billing.payments import top_up
from billing.payments.checkout import start_checkout
from billing.payments.errors import PaymentsError, StripeUnreachableError
from billing.selectors.payments import TopUpSeen, top_up_of
from dashboard.billing_forms import BuyForm, TopUpForm
from dashboard.guards import MemberRequest, member_required
from dashboard.stripe_policy import leads_to_stripe
from dashboard.views.credits import PAGE, page_context
from lumyx.lib.money import nano_to_usd

#: What Stripe puts the checkout's id in place of.
SESSION_ID = "{CHECKOUT_SESSION_ID}"
#: The amounts of the form, in words.
TOP_UP_FIELDS = {
    "threshold": "When less is available than",
    "amount": "Buy",
    "monthly_ceiling": "At most a month, in all",
}


@require_POST
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def buy_credits(request: MemberRequest) -> HttpResponseBase:
    """Order credit and lead to Stripe's checkout. A second press makes a second order, which nobody pays: it expires."""
    form = BuyForm(request.POST)
    problem, status = "", 422
    if form.is_valid():
        page = settings.LUMYX_SITE_URL + reverse("dashboard:credits")
        try:
            session = start_checkout(
                request.workspace,
                user_id=request.user.pk,
                email=request.user.email,
                amount=form.nano,
                saves_card=form.cleaned_data["saves_card"],
                success_url=f"{page}?paid=1&session_id={SESSION_ID}",
                cancel_url=f"{page}?cancelled=1",
            )
            return to_stripe(session.url)
        except PaymentsError as error:
            problem, status = problem_of(error)
    context = page_context(request) | {"buy_form": form, "buy_problem": problem}
    return render(request, PAGE, context, status=status)


@require_http_methods(["GET", "POST"])
@leads_to_stripe
@member_required(Permission.MANAGE_BILLING)
def set_top_up(request: MemberRequest) -> HttpResponseBase:
    """Show the form of automatic top-ups, in a dialog or on the page, and save it. Only here Stripe is asked for the card."""
    seen = top_up_of(request.workspace.pk, spent=top_up.spent_this_month(request.workspace.pk))
    form = TopUpForm(request.POST) if request.method == "POST" else TopUpForm(initial=_initial_of(seen))
    problem, has_card = "", None
    try:
        if request.method == "GET":
            has_card = top_up.has_card(request.workspace.pk)
        elif form.is_valid():
            top_up.save_top_up(request.workspace.pk, user_id=request.user.pk, **form.cleaned_data)
            return _saved(request, is_on=form.cleaned_data["is_on"])
    except top_up.TopUpError as error:
        form.add_error(error.field or None, str(error))
    except PaymentsError as error:
        problem, _ = problem_of(error)
    context: dict[str, object] = {
        "top_up_form": form,
        "top_up_fields": [(form[name], label) for name, label in TOP_UP_FIELDS.items()],
        "top_up_problem": problem,
        "has_card": has_card,
    }
    status = 422 if request.method == "POST" else 200
    if request.htmx:
        part = "top_up_form" if request.method == "POST" else "top_up_dialog"
        return render(request, f"{PAGE}#{part}", context, status=status)
    return render(request, PAGE, page_context(request) | context, status=status)


def _initial_of(seen: TopUpSeen | None) -> dict[str, object]:
    if seen is None:
        return {"threshold": "5", "amount": "25", "monthly_ceiling": "100"}
    amounts = {name: getattr(seen, name) for name in ("threshold", "amount", "monthly_ceiling")}
    return {"is_on": seen.is_on, **{name: nano_to_usd(nano) for name, nano in amounts.items()}}


def _saved(request: MemberRequest, *, is_on: bool) -> HttpResponseBase:
    text = f"Automatic top-ups are {'on' if is_on else 'off'}."
    if request.htmx:
        answer = render(request, f"{PAGE}#top_up_saved", page_context(request) | {"is_swap": True})
        return trigger_client_event(answer, "toast", {"text": text})
    messages.success(request, text)
    return redirect("dashboard:credits")


def to_stripe(url: str | None) -> HttpResponse:
    """Lead to a page of Stripe's: 303, so that what was sent here is not sent there."""
    return HttpResponse(status=303, headers={"Location": url or ""})


def problem_of(error: PaymentsError) -> tuple[str, int]:
    """Return what to tell a person about a failure, and the status of the page that tells it."""
    if isinstance(error, StripeUnreachableError):
        return "Stripe cannot be reached now, and nothing was charged. Try again in a minute.", 503
    return str(error), 422
