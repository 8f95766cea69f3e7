"""The members page: who is here, as what; and a page for each member, where their role changes or they are removed."""

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.roles import (
    PERMISSION_WORDS,
    ROLE_WORDS,
    Permission,
    Role,
    may_give,
    role_allows,
    roles_given_by,
)
from accounts.selectors.invitations import open_invitations_of
from accounts.selectors.workspaces import members_of, membership_by_id
from accounts.services.members import MemberNotFoundError, NotAllowedError, change_budget
from accounts.services.workspaces import OwnerIsFixedError, WorkspaceIsClosingError
from billing.selectors.budgets import budgets_of_members
from dashboard.flows import teams
from dashboard.guards import MemberRequest, member_required
from dashboard.key_forms import BudgetForm, budget_initial
from dashboard.team_forms import MAX_ID, InviteForm, RoleForm

if TYPE_CHECKING:
    from accounts.models import Membership

PAGE, MEMBER_PAGE = "dashboard/members.html", "dashboard/member.html"
#: What a person is told in words; anything else is a fault.
REFUSALS = (NotAllowedError, OwnerIsFixedError, WorkspaceIsClosingError)


@require_safe
@member_required(Permission.VIEW)
def show_members(request: MemberRequest) -> HttpResponseBase:
    """List the people, for those who may also the open invitations; with ``?invite`` the form is open."""
    roles = roles_given_by(request.membership.role)
    form = InviteForm(roles=roles, initial={"role": Role.DEVELOPER}) if roles and "invite" in request.GET else None
    return render(request, PAGE, members_context(request) | {"form": form})


def members_context(request: MemberRequest) -> dict[str, object]:
    """Return what every state of the page shows."""
    role, workspace_id = request.membership.role, request.workspace.pk
    may_manage = role_allows(role, Permission.MANAGE_MEMBERS)
    invitations = open_invitations_of(workspace_id) if may_manage else ()
    budgets = budgets_of_members(workspace_id) if may_manage else {}
    return {
        # Each with whether the reader may change something about them: an owner may bound also themselves.
        "members": [
            (member, _may_bound(request, member), budgets.get(member.user_id)) for member in members_of(workspace_id)
        ],
        "invitations": [(invitation, may_give(role, invitation.role)) for invitation in invitations],
        "may_manage": may_manage,
        "roles": [(each, ROLE_WORDS[each]) for each in Role],
        "rights": [
            (words, [role_allows(each, permission) for each in Role]) for permission, words in PERMISSION_WORDS.items()
        ],
    }


@require_safe
@member_required(Permission.MANAGE_MEMBERS)
def show_member(request: MemberRequest, member: int) -> HttpResponseBase:
    """Show what can be done about a member. Another workspace's member does not exist here."""
    return _show(request, member)


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def change_role(request: MemberRequest, member: int) -> HttpResponseBase:
    """Give a member another role."""
    form = RoleForm(request.POST, roles=roles_given_by(request.membership.role))
    if not form.is_valid():
        return _show(request, member, form=form)
    try:
        changed = teams.change_role(
            request.workspace.pk, member_id=_id(member), role=Role(form.cleaned_data["role"]), by=request.user
        )
    except MemberNotFoundError as error:
        raise Http404(str(error)) from error
    except REFUSALS as error:
        return _show(request, member, problem=str(error))
    messages.success(request, f"{changed.user.name or changed.user.email} is {changed.role} now.")
    return redirect("dashboard:members")


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def set_budget(request: MemberRequest, member: int) -> HttpResponseBase:
    """Give a member a budget, another one, or none."""
    form = BudgetForm(request.POST)
    if not form.is_valid():
        return _show(request, member, budget_form=form)
    budget = form.budget_given()
    try:
        changed = change_budget(request.workspace.pk, member_id=_id(member), budget=budget, by=request.user)
    except MemberNotFoundError as error:
        raise Http404(str(error)) from error
    except REFUSALS as error:
        return _show(request, member, problem=str(error))
    whose = changed.user.name or changed.user.email
    messages.success(request, f"The budget of {whose} is set." if budget else f"{whose} has no budget now.")
    return redirect("dashboard:members")


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def remove(request: MemberRequest, member: int) -> HttpResponseBase:
    """Remove a member."""
    try:
        gone = teams.expel(request.workspace.pk, member_id=_id(member), by=request.user)
    except MemberNotFoundError as error:
        raise Http404(str(error)) from error
    except REFUSALS as error:
        return _show(request, member, problem=str(error))
    messages.success(request, f"{gone.user.name or gone.user.email} was removed. The API keys they made are revoked.")
    return redirect("dashboard:members")


def _show(
    request: MemberRequest,
    member_id: int,
    *,
    form: RoleForm | None = None,
    budget_form: BudgetForm | None = None,
    problem: str = "",
) -> HttpResponseBase:
    member = membership_by_id(request.workspace.pk, _id(member_id))
    if member is None:
        raise Http404("This workspace has no such member.")
    role = request.membership.role
    context = {
        "member": member,
        "form": form or RoleForm(roles=roles_given_by(role), initial={"role": member.role}),
        "within_reach": _is_within_reach(request, member),
        "budget_form": budget_form or BudgetForm(initial=budget_initial(member.budget)),
        "budget_left": budgets_of_members(request.workspace.pk).get(member.user_id),
        "may_bound": _may_bound(request, member),
        "is_self": member.pk == request.membership.pk,
        "problem": problem,
    }
    return render(request, MEMBER_PAGE, context, status=422 if problem or form or budget_form else 200)


def _is_within_reach(request: MemberRequest, member: "Membership") -> bool:
    """Tell whether the reader may change a member's role, or remove them."""
    return member.pk != request.membership.pk and may_give(request.membership.role, str(member.role))


def _may_bound(request: MemberRequest, member: "Membership") -> bool:
    """Tell whether the reader may set a member's budget: an owner their own too."""
    return request.membership.role == Role.OWNER or _is_within_reach(request, member)


def _id(number: int) -> int:
    if number > MAX_ID:
        raise Http404("This workspace has no such member.")
    return number
