"""Who may see a page: signed in, a member of the workspace, with a role that allows it. Fails closed.

Which workspace a page is about comes from the session (else it is the person's first), never from the address, so that a
link cannot lead into somebody else's. What another workspace owns is 404: not even its existence is told.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, cast
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect

from accounts.roles import GRANTS, Permission, role_allows
from accounts.selectors.workspaces import membership_of
from lumyx.lib import clock

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from accounts.models import Membership, User, Workspace

#: Where the session keeps the slug of the workspace that was chosen.
WORKSPACE_KEY = "workspace"

#: What each permission lets a person do, to finish the sentence "Your role does not let you …".
DEEDS = {
    Permission.MANAGE_WORKSPACE: "change this workspace",
    Permission.ACCEPT_POLICIES: "accept policies for this workspace",
    Permission.VIEW_AUDIT: "see the audit log",
    Permission.OWN_WORKSPACE: "hand over or delete this workspace",
    Permission.VIEW: "see this workspace",
    Permission.MANAGE_KEYS: "create or revoke API keys",
    Permission.VIEW_BILLING: "see credits and the ledger",
    Permission.MANAGE_BILLING: "change billing",
    Permission.MANAGE_MEMBERS: "manage members",
}


class MemberRequest(HttpRequest):
    """A request that passed ``member_required``; only a name for type checkers, nothing makes one."""

    user: "User"
    htmx: "HtmxDetails"
    membership: "Membership"
    workspace: "Workspace"


def member_required[**P](
    permission: Permission, *, while_closing: bool = False
) -> Callable[
    [Callable[Concatenate[MemberRequest, P], HttpResponseBase]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]
]:
    """Let only members of the current workspace in, and of them only those whose role has ``permission``.

    The view gets ``request.membership`` and ``request.workspace``. Its answer is never stored by anybody.
    Times are shown in the workspace's zone. In a workspace that is being deleted nothing is changed, but by the views that say
    ``while_closing``.
    Anonymous visitors are sent to sign in and come back; a role that is too small gets a 403 page that names the roles.
    """

    def decorate(
        view: Callable[Concatenate[MemberRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            def answer(known: MemberRequest) -> HttpResponseBase:
                if known.workspace.is_closing and not while_closing and known.method not in {"GET", "HEAD"}:
                    return render(known, "dashboard/closing.html", status=403)
                return view(known, *args, **kwargs)

            response = _answer(cast(MemberRequest, request), permission, answer)
            response["Cache-Control"] = "no-store, private"
            return response

        return guarded

    return decorate


def person_required(
    view: Callable[[MemberRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Let everybody in who is signed in, for pages about themselves; the shell is that of their workspace, if they have one."""

    @wraps(view)
    def guarded(request: HttpRequest, /) -> HttpResponseBase:
        known = cast(MemberRequest, request)
        if not known.user.is_authenticated:
            response = _send_to_sign_in(known)
        else:
            membership = current_membership(known)
            if membership is not None:
                known.membership, known.workspace = membership, membership.workspace
            response = view(known)
        response["Cache-Control"] = "no-store, private"
        return response

    return guarded


def _answer(
    request: MemberRequest, permission: Permission, view: Callable[[MemberRequest], HttpResponseBase]
) -> HttpResponseBase:
    if not request.user.is_authenticated:
        return _send_to_sign_in(request)
    membership = current_membership(request)
    if membership is None:
        return render(request, "dashboard/no_workspace.html", status=403)
    request.membership = membership
    request.workspace = membership.workspace
    with timezone.override(clock.zone(membership.workspace.time_zone)):
        if not role_allows(membership.role, permission):
            context = {"deed": DEEDS[permission], "roles": roles_with(permission)}
            return render(request, "dashboard/forbidden.html", context, status=403)
        return view(request)


def current_membership(request: MemberRequest) -> "Membership | None":
    """Return the membership in the workspace that was chosen, else in the person's first; None: they are in none.

    A choice that is no longer theirs (they were removed, or it is gone) is forgotten.
    """
    slug = request.session.get(WORKSPACE_KEY)
    if isinstance(slug, str):
        membership = membership_of(request.user, slug=slug)
        if membership is not None:
            return membership
        del request.session[WORKSPACE_KEY]
    return membership_of(request.user)


def roles_with(permission: Permission) -> str:
    """Return the roles that have a permission, for a sentence: "owner, admin or developer"."""
    names = [role.value for role, permissions in GRANTS.items() if permission in permissions]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _send_to_sign_in(request: MemberRequest) -> HttpResponseBase:
    if request.htmx:
        # A fragment cannot hold the sign-in page: the whole window goes there, and comes back to the page it showed.
        shown = urlsplit(request.htmx.current_url_abs_path or reverse("dashboard:overview"))
        return HttpResponseClientRedirect(redirect_to_login(shown._replace(fragment="").geturl()).url)
    # Only what was read can be read again: a form that was sent goes back to the overview.
    is_read = request.method in {"GET", "HEAD"}
    return redirect_to_login(request.get_full_path() if is_read else reverse("dashboard:overview"))
