"""Changing to another of one's workspaces."""

from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.roles import Permission
from accounts.selectors.workspaces import membership_of
from dashboard.guards import WORKSPACE_KEY, MemberRequest, member_required


@require_POST
@member_required(Permission.VIEW)
def switch_workspace(request: MemberRequest) -> HttpResponseBase:
    """Make another workspace the current one. One that is not theirs does not exist."""
    membership = membership_of(request.user, slug=request.POST.get("workspace", ""))
    if membership is None:
        raise Http404("No workspace of yours has this name.")
    request.session[WORKSPACE_KEY] = membership.workspace.slug
    return redirect("dashboard:overview")
