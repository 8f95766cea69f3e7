"""Deleting one's account, in three pages: decide, confirm, gone. A message goes out before and after."""

import time
from http import HTTPStatus

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import suspend_request
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.proofs import can_prove_here, has_proved_lately
from dashboard.account_forms import DeletionForm
from dashboard.flows.account import DeletionError, Fate, OwnedWorkspace, delete_account, owned_by
from dashboard.guards import MemberRequest, person_required

#: Where the session keeps what was decided, and for how many seconds.
DECISION_KEY, DECISION_LASTS = "account_deletion", 1800


@require_http_methods(["GET", "HEAD", "POST"])
@person_required
def decide(request: MemberRequest) -> HttpResponseBase:
    """Ask for the typed address and for each workspace's fate; then tell by mail what is about to happen."""
    if request.user.is_staff:
        return render(request, "dashboard/account_kept.html", status=HTTPStatus.FORBIDDEN)
    if not has_proved_lately(request):
        return _ask_for_proof(request)
    owned = owned_by(request.user)
    form = DeletionForm(request.POST if request.method == "POST" else None, user=request.user, owned=owned)
    if form.is_valid():
        fate = {str(workspace_id): successor for workspace_id, successor in form.fate().items()}
        request.session[DECISION_KEY] = {"at": time.time(), "fate": fate}
        context = {"outcomes": _outcomes(owned, form.fate())}
        get_adapter(request).send_notification_mail("account/email/deletion_asked", request.user, context)
        return redirect("dashboard:account_confirm_deletion")
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
    return render(request, "dashboard/account_delete.html", {"form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@person_required
def confirm(request: MemberRequest) -> HttpResponseBase:
    """Say once more what happens, and do it."""
    fate = _decided(request)
    if fate is None or request.user.is_staff:
        return redirect("dashboard:account_delete")
    if not has_proved_lately(request):
        return _ask_for_proof(request)
    outcomes = _outcomes(owned_by(request.user), fate)
    if request.method != "POST":
        return render(request, "dashboard/account_confirm.html", {"outcomes": outcomes})
    address = request.user.email
    try:
        delete_account(request.user, fate=fate)
    except DeletionError as error:
        context = {"outcomes": outcomes, "problem": str(error)}
        return render(request, "dashboard/account_confirm.html", context, status=HTTPStatus.CONFLICT)
    get_adapter(request).send_notification_mail(
        "account/email/deleted", request.user, {"outcomes": outcomes}, email=address
    )
    logout(request)
    return redirect("dashboard:account_deleted")


@never_cache
@require_safe
def show_deleted(request: HttpRequest) -> HttpResponse:
    """Say that it is done, to whoever comes here."""
    return render(request, "dashboard/account_deleted.html")


def _decided(request: MemberRequest) -> Fate | None:
    """Return what was decided, if it was decided lately."""
    kept = request.session.get(DECISION_KEY)
    if not isinstance(kept, dict) or time.time() - kept["at"] > DECISION_LASTS:
        return None
    return {int(workspace_id): successor for workspace_id, successor in kept["fate"].items()}


def _outcomes(owned: list[OwnedWorkspace], fate: Fate) -> list[dict[str, object]]:
    """Return what becomes of each workspace, for pages and messages."""
    found: list[dict[str, object]] = []
    for each in owned:
        successor_id = fate.get(each.workspace.pk)
        successor = next((m.user for m in each.successors if m.user_id == successor_id), None)
        found.append({"owned": each, "successor": successor})
    return found


def _ask_for_proof(request: MemberRequest) -> HttpResponseBase:
    if not can_prove_here(request.user):
        return render(
            request, "dashboard/account_prove.html", {"here_again": request.path}, status=HTTPStatus.FORBIDDEN
        )
    methods = get_adapter(request).get_reauthentication_methods(request.user)
    return suspend_request(request, str(methods[0]["url"])) if methods else redirect(reverse("account_login"))
