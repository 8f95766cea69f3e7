"""Inviting people, and the page that an invitation's link opens."""

from django.contrib import messages
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.roles import ROLE_WORDS, Permission, Role, roles_given_by
from accounts.services import invitations
from accounts.services.invitations import InvitationError, InvitationNotFoundError
from accounts.services.members import NotAllowedError
from accounts.services.users import InvalidEmailError
from accounts.services.workspaces import WorkspaceIsClosingError
from dashboard.flows import teams
from dashboard.guards import WORKSPACE_KEY, MemberRequest, member_required
from dashboard.team_forms import MAX_ID, InviteForm
from dashboard.views.members import PAGE, members_context

INVITATION_PAGE = "site/invitation.html"
REFUSALS = (InvitationError, NotAllowedError, WorkspaceIsClosingError)


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def invite(request: MemberRequest) -> HttpResponseBase:
    """Invite an address."""
    form = InviteForm(request.POST, roles=roles_given_by(request.membership.role))
    if form.is_valid():
        try:
            row, is_sent = teams.invite(
                request.workspace.pk,
                email=form.cleaned_data["email"],
                role=Role(form.cleaned_data["role"]),
                by=request.user,
            )
        except InvalidEmailError:
            form.add_error("email", "This is not an e-mail address.")
        except REFUSALS as error:
            form.add_error(None, str(error))
        else:
            _say(request, row.email, is_sent=is_sent)
            return redirect("dashboard:members")
    return render(request, PAGE, members_context(request) | {"form": form}, status=422)


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def resend(request: MemberRequest, invitation: int) -> HttpResponseBase:
    """Send an invitation again, with a new link."""
    try:
        row, is_sent = teams.resend(request.workspace.pk, invitation_id=_id(invitation), by=request.user)
    except InvitationNotFoundError as error:
        raise Http404(str(error)) from error
    except REFUSALS as error:
        messages.error(request, str(error))
    else:
        _say(request, row.email, is_sent=is_sent)
    return redirect("dashboard:members")


@require_POST
@member_required(Permission.MANAGE_MEMBERS)
def revoke(request: MemberRequest, invitation: int) -> HttpResponseBase:
    """Take an invitation back."""
    try:
        row = invitations.revoke(request.workspace.pk, invitation_id=_id(invitation), by=request.user)
    except InvitationNotFoundError as error:
        raise Http404(str(error)) from error
    except NotAllowedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The invitation of {row.email} was taken back. Its link does not work any more.")
    return redirect("dashboard:members")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    """Say who invites whom to what, and let the invited person join. Whoever has no such link learns nothing."""
    row = teams.invitation_of(token)
    if row is None:
        return render(request, INVITATION_PAGE, {"state": "unknown"}, status=404)
    context: dict[str, object] = {"invitation": row, "about": ROLE_WORDS[Role(row.role)]}
    user = request.user if request.user.is_authenticated else None
    try:
        if user is not None:
            invitations.check_person(row, user=user)
            is_theirs = row.accepted_by_id == user.pk
            if request.method == "POST" or is_theirs:
                member = teams.accept(token, user=user)
                request.session[WORKSPACE_KEY] = member.workspace.slug
                messages.success(request, f"Welcome to {member.workspace.name}. Your role is {member.role}.")
                return redirect("dashboard:overview")
        invitations.check_open(row, workspace=row.workspace)
    except InvitationNotFoundError:
        return render(request, INVITATION_PAGE, {"state": "unknown"}, status=404)
    except invitations.WrongPersonError:
        return render(request, INVITATION_PAGE, context | {"state": "other"}, status=403)
    except (InvitationError, WorkspaceIsClosingError) as error:
        # Over: its details are for nobody any more.
        return render(request, INVITATION_PAGE, {"state": "over", "problem": str(error)}, status=410)
    if request.method == "POST":
        return redirect(f"/login?next={request.path}")
    return render(request, INVITATION_PAGE, context | {"state": "open" if user else "anonymous"})


def _say(request: MemberRequest, email: str, *, is_sent: bool) -> None:
    if is_sent:
        messages.success(request, f"An invitation is on its way to {email}. Its link works once, for seven days.")
    else:
        messages.error(
            request, f"{email} is invited, but the message could not be sent just now. Send it again in a few minutes."
        )


def _id(number: int) -> int:
    if number > MAX_ID:
        raise Http404("This workspace has no such invitation.")
    return number
