"""A workspace's settings; making, changing to, handing over, leaving and deleting workspaces."""

from typing import cast

from django.contrib import messages
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.policies import POLICIES, TEXTS
from accounts.roles import Permission, Role, role_allows
from accounts.selectors.policies import accepted_policies
from accounts.selectors.workspaces import members_of, membership_of
from accounts.services.closing import GRACE
from accounts.services.members import MemberNotFoundError, NotAllowedError
from accounts.services.members import leave as leave_workspace
from accounts.services.workspace_settings import InvalidSlugError, UnknownTimeZoneError, change_workspace
from accounts.services.workspaces import (
    InvalidWorkspaceNameError,
    OwnerIsFixedError,
    TooManyWorkspacesError,
    WorkspaceExistsError,
    WorkspaceIsClosingError,
    open_workspace,
)
from billing.payments.errors import PaymentsError
from billing.selectors.ledger import balance_of
from billing.selectors.payments import plan_of
from dashboard.flows import teams
from dashboard.guards import WORKSPACE_KEY, MemberRequest, current_membership, member_required
from dashboard.team_forms import NewWorkspaceForm, TransferForm, TypedNameForm, WorkspaceSettingsForm
from lumyx.lib import clock

PAGE, NOWHERE_PAGE = "dashboard/workspace.html", "dashboard/no_workspace.html"
NEW_PAGE, TRANSFER_PAGE, DELETE_PAGE = (f"dashboard/workspace_{name}.html" for name in ("new", "transfer", "delete"))


@require_POST
@member_required(Permission.VIEW, while_closing=True)
def switch_workspace(request: MemberRequest) -> HttpResponseBase:
    """Make another workspace the current one. One that is not theirs does not exist."""
    membership = membership_of(request.user, slug=request.POST.get("workspace", ""))
    if membership is None:
        raise Http404("No workspace of yours has this name.")
    request.session[WORKSPACE_KEY] = membership.workspace.slug
    return redirect("dashboard:overview")


@require_http_methods(["GET", "HEAD", "POST"])
def new_workspace(request: HttpRequest) -> HttpResponseBase:
    """Make another workspace for this person, and change to it; also for somebody who is in none, and so has no dashboard."""
    known = cast("MemberRequest", request)
    if request.method == "POST" and request.user.is_authenticated and current_membership(known) is None:
        return _make_workspace(known, NOWHERE_PAGE)
    return _another_workspace(request)


@member_required(Permission.VIEW, while_closing=True)
def _another_workspace(request: MemberRequest) -> HttpResponseBase:
    return _make_workspace(request, NEW_PAGE)


def _make_workspace(request: MemberRequest, page: str) -> HttpResponseBase:
    form = NewWorkspaceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            workspace = open_workspace(form.cleaned_data["name"], owner=request.user)
        except InvalidWorkspaceNameError as error:
            form.add_error("name", str(error))
        except (TooManyWorkspacesError, WorkspaceExistsError) as error:
            form.add_error(None, str(error))
        else:
            request.session[WORKSPACE_KEY] = workspace.slug
            messages.success(request, f"{workspace.name} is there, and it is yours.")
            return redirect("dashboard:overview")
    status = 422 if request.method == "POST" else 200
    return render(request, page, {"form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.VIEW)
def show_settings(request: MemberRequest) -> HttpResponseBase:
    """Show the settings; those who may change them do."""
    may_change = role_allows(request.membership.role, Permission.MANAGE_WORKSPACE)
    if request.method == "POST" and not may_change:
        return _forbidden(request)
    workspace = request.workspace
    initial = {"name": workspace.name, "slug": workspace.slug, "time_zone": workspace.time_zone}
    form = WorkspaceSettingsForm(request.POST or None, initial=initial, present=workspace.time_zone)
    if request.method == "POST" and form.is_valid() and _change(request, form):
        return redirect("dashboard:workspace")
    accepted = accepted_policies(workspace.pk)
    context = {
        "form": form,
        "may_change": may_change,
        "is_owner": request.membership.role == Role.OWNER,
        "policies": [(name, TEXTS[name, version], name in accepted) for name, version in POLICIES.items()],
        "grace_days": GRACE.days,
        "now": clock.now(),
    }
    return render(request, PAGE, context, status=422 if request.method == "POST" else 200)


@member_required(Permission.MANAGE_WORKSPACE)
def _forbidden(_request: MemberRequest) -> HttpResponseBase:
    raise AssertionError  # whoever may would not have come here


def _change(request: MemberRequest, form: WorkspaceSettingsForm) -> bool:
    """Change what was typed; return whether it could be, with the reason on the form."""
    values = form.cleaned_data
    try:
        changed = change_workspace(
            request.workspace.pk, name=values["name"], slug=values["slug"], time_zone=values["time_zone"]
        )
    except InvalidWorkspaceNameError as error:
        form.add_error("name", str(error))
        return False
    except (InvalidSlugError, WorkspaceExistsError) as error:
        form.add_error("slug", str(error))
        return False
    except UnknownTimeZoneError as error:
        form.add_error("time_zone", str(error))
        return False
    if WORKSPACE_KEY in request.session:
        request.session[WORKSPACE_KEY] = changed.slug
    messages.success(request, "The settings are saved.")
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.OWN_WORKSPACE)
def transfer(request: MemberRequest) -> HttpResponseBase:
    """Hand the workspace over to another member."""
    others = [member for member in members_of(request.workspace.pk) if member.pk != request.membership.pk]
    form = TransferForm(request.POST or None, workspace=request.workspace, members=others)
    if form.has_error("member", "invalid_choice"):
        raise Http404("This workspace has no such member.")
    if request.method == "POST" and form.is_valid():
        try:
            teams.transfer(request.workspace.pk, member_id=int(form.cleaned_data["member"]), by=request.user)
        except (NotAllowedError, MemberNotFoundError, WorkspaceIsClosingError) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The workspace was handed over. You are an admin of it now.")
            return redirect("dashboard:members")
    status = 422 if request.method == "POST" else 200
    return render(request, TRANSFER_PAGE, {"form": form, "others": others}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.OWN_WORKSPACE)
def delete(request: MemberRequest) -> HttpResponseBase:
    """Say what a deletion does, and plan it."""
    form = TypedNameForm(request.POST or None, workspace=request.workspace)
    if request.method == "POST" and form.is_valid():
        try:
            teams.plan_deletion(request.workspace.pk, by=request.user)
        except PaymentsError as error:
            form.add_error(None, f"The plan could not be cancelled, so nothing was deleted. {error}")
        except NotAllowedError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The workspace will be deleted. Everybody in it was told.")
            return redirect("dashboard:workspace")
    plan = plan_of(request.workspace.pk)
    context = {
        "form": form,
        "balance": balance_of(request.workspace.pk),
        "plan": None if plan is None or plan.is_comped else plan,
        "due": clock.now() + GRACE,
        "grace_days": GRACE.days,
    }
    return render(request, DELETE_PAGE, context, status=422 if request.method == "POST" else 200)


@require_POST
@member_required(Permission.OWN_WORKSPACE, while_closing=True)
def restore(request: MemberRequest) -> HttpResponseBase:
    """Take a planned deletion back."""
    try:
        workspace = teams.undo_deletion(request.workspace.pk, by=request.user)
    except (NotAllowedError, WorkspaceIsClosingError) as error:
        messages.error(request, str(error))
        return redirect("dashboard:overview")
    stays = (
        "stays. It is still suspended by an operator"
        if workspace.is_suspended
        else "stays, and its API keys work again"
    )
    messages.success(request, f"{workspace.name} {stays}. A plan that was cancelled ends unless you resume it.")
    return redirect("dashboard:workspace")


@require_POST
@member_required(Permission.VIEW, while_closing=True)
def leave(request: MemberRequest) -> HttpResponseBase:
    """Go; the keys that the person made here are revoked."""
    try:
        leave_workspace(request.workspace.pk, user=request.user)
    except (OwnerIsFixedError, MemberNotFoundError) as error:
        messages.error(request, str(error))
        return redirect("dashboard:members")
    request.session.pop(WORKSPACE_KEY, None)
    messages.success(request, f"You left {request.workspace.name}. The API keys that you made there are revoked.")
    return redirect("dashboard:overview")
