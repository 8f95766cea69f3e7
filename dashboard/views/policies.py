"""A policy's page: its text, whether the workspace accepted it, and accepting it."""

from django.contrib import messages
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.policies import POLICIES, policy_text
from accounts.roles import Permission, role_allows
from accounts.selectors.policies import acceptances_of
from accounts.services.policies import PolicyChangedError, accept_policy
from dashboard.guards import MemberRequest, member_required, roles_with

PAGE = "dashboard/policy.html"


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.VIEW)
def show_policy(request: MemberRequest, policy: str) -> HttpResponseBase:
    """Show a policy; those who may accept it for the workspace."""
    text, version = policy_text(policy), POLICIES.get(policy)
    if text is None or version is None:
        raise Http404("There is no such policy.")
    if request.method == "POST":
        return accept(request, policy)
    acceptances = acceptances_of(request.workspace.pk, policy=policy)
    context = {
        "policy": policy,
        "version": version,
        "text": text,
        "accepted": next((row for row in acceptances if row.version == version), None),
        "earlier": next((row for row in acceptances if row.version != version), None),
        "may_accept": role_allows(request.membership.role, Permission.ACCEPT_POLICIES),
        "acceptors": roles_with(Permission.ACCEPT_POLICIES),
    }
    return render(request, PAGE, context)


@member_required(Permission.ACCEPT_POLICIES)
def accept(request: MemberRequest, policy: str) -> HttpResponseBase:
    """Accept the version that was read; ticking the box says that it was."""
    read = request.POST.get("version", "")
    if "agreed" not in request.POST or not read.isascii() or not read.isdigit() or len(read) > 9:
        messages.error(request, "Read the policy and tick the box before you accept it.")
        return redirect("dashboard:policy", policy=policy)
    try:
        row = accept_policy(request.workspace.pk, policy=policy, accepted_by=request.user, version=int(read))
    except PolicyChangedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{request.workspace.name} accepts the policy, version {row.version}.")
    return redirect("dashboard:policy", policy=policy)
