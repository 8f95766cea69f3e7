"""Who visits the site in the authorization table, what they ask for, and how the addresses are found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib import admin
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import create_api_key, revoke_api_key
from accounts.services.invitations import invite
from accounts.services.management_keys import create_management_key, revoke_management_key
from accounts.services.workspaces import suspend_workspace
from billing.services.mutes import unsubscribe_token
from lumyx.lib import clock
from tests.dashboard.usage_rows import make_request
from tests.factories import fund, make_cast, make_member, make_user, make_workspace

#: The columns of the table. ``other`` owns another workspace; ``staff`` may enter the admin, has no permission there, and is in
#: no workspace. The five roles are in the workspace that the addresses are about; ``suspended`` owns a suspended one, and what
#: they ask for is theirs.
VISITORS = ("anonymous", "other", "viewer", "billing", "developer", "admin", "owner", "staff", "suspended")
#: Keys open no page: whoever sends one with a request for a page is anonymous there. All states of both kinds of keys.
KEYS = ("api key", "revoked api key", "expired api key", "management key", "revoked management key")


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace, and what is in it that addresses name."""

    workspace: Workspace
    key_prefix: str
    management_prefix: str
    request_id: str
    #: The ids of a membership (a developer's) and of an open invitation.
    member_id: int
    invitation_id: int


@dataclass(frozen=True, slots=True)
class World:
    """What the table is played on: the place that addresses are about, and the suspended one."""

    browsers: dict[str, Client]
    place: Place
    suspended: Place

    def address_of(self, route: str, *, visitor: str = "") -> str:
        """Return an address of a route that is about something that exists, in the workspace where there is one."""
        return "/" + self._filled(route, self.suspended if visitor == "suspended" else self.place)

    def is_told_by(self, response: HttpResponse) -> bool:
        """Tell whether an answer names the workspace or its owner."""
        text = response.content.decode(errors="replace") if not response.streaming else ""
        return self.place.workspace.slug in text or self.place.workspace.owner.email in text

    def _filled(self, route: str, place: Place) -> str:
        values = {
            "prefix": place.management_prefix if "management-keys" in route else place.key_prefix,
            "request_id": place.request_id,
            "slug": "quickstart",
            "member": str(place.member_id),
            "invitation": str(place.invitation_id),
            "policy": "uncensored",
            "announcement": "1",
            "token": unsubscribe_token(place.workspace.owner_id, kind="low_balance"),
            "name": "20260101-000000-1.log",
            "object_id": str(self._object_of(route)),
            "content_type_id": "1",
            "key": "no-such-key",
            "pk": "1",
            "session_id": "1",
            "provider_id": "oidc",
            "uidb36": "1",
            "app_label": "accounts",
            "url": "no/such/page",
            "page": "no-such-page",
        }
        plain = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: values[match[1]], without_regex(route))
        return plain.replace("^", "").replace("$", "")

    def _object_of(self, route: str) -> object:
        model = admin_model_of(route)
        row = model._default_manager.first() if model else None
        return row.pk if row else "1"


def make_world() -> World:
    """Make a browser for each visitor and key; a key, a request and people in Alice's workspace, and in a suspended one."""
    cast = make_cast()
    staff = make_user("staff@example.com")
    staff.is_staff = True
    staff.save()
    stopped = make_workspace("Stopped", owner=make_user("stopped@example.com"))
    users: dict[str, User | None] = {
        "anonymous": None, "other": cast.charlie, "owner": cast.alice, "staff": staff, "suspended": stopped.owner,
    }  # fmt: skip
    for role in (Role.VIEWER, Role.BILLING, Role.DEVELOPER, Role.ADMIN):
        users[role.value] = make_member(cast.workspace, role, email=f"{role}@example.com")
    browsers = {}
    for visitor in VISITORS:
        browser = Client()
        user = users[visitor]
        if user is not None:
            browser.force_login(user)
        browsers[visitor] = browser
    browsers |= {
        name: Client(headers={"Authorization": f"Bearer {secret}"}) for name, secret in _secrets(cast.workspace)
    }
    place = _furnish(cast.workspace, Membership.objects.get(workspace=cast.workspace, user=cast.bob))
    make_member(stopped, Role.DEVELOPER, email="dev@stopped.example.com")
    suspended = _furnish(stopped, Membership.objects.get(workspace=stopped, role=Role.DEVELOPER))
    suspend_workspace(stopped.pk, reason="for this table")
    return World(browsers, place, suspended)


def _furnish(workspace: Workspace, member: Membership) -> Place:
    owner = workspace.owner
    key = create_api_key(workspace=workspace, name="Owner's key", created_by=owner)
    managing = create_management_key(workspace=workspace, name="CI", created_by=owner, is_read_only=False)
    fund(workspace, "1")
    request_id = make_request(workspace, key=key.row).request_id
    invited = invite(workspace.pk, email=f"nina@{workspace.slug}.example.com", role=Role.VIEWER, by=owner)
    return Place(workspace, key.row.prefix, managing.row.prefix, request_id.hex, member.pk, invited.row.pk)


def _secrets(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Make the keys of KEYS, and return their secrets by their names."""
    owner = workspace.owner
    for name in KEYS:
        if "management" in name:
            managing = create_management_key(workspace=workspace, name=name, created_by=owner, is_read_only=False)
            yield name, managing.secret
            if "revoked" in name:
                revoke_management_key(workspace_id=workspace.pk, prefix=managing.row.prefix)
            continue
        key = create_api_key(workspace=workspace, name=name, created_by=owner)
        yield name, key.secret
        if "revoked" in name:
            revoke_api_key(workspace_id=workspace.pk, prefix=key.row.prefix)
        if "expired" in name:
            ApiKey.objects.filter(pk=key.row.pk).update(expires_at=clock.now())


def all_routes() -> list[str]:
    """Return every route of the site as it is written in the URL configuration, each once, in order.

    The management API has a table of its own, with keys for visitors.
    """
    return [route for route in dict.fromkeys(_routes(get_resolver())) if not route.startswith("api/v1/")]


def _routes(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from _routes(pattern, route)


def without_regex(route: str) -> str:
    """Return a route whose regular-expression groups are written as <name>."""
    return re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"<\1>", route)


def family_of(route: str) -> str:
    """Return the row that a route belongs to: the admin's pages of all models share theirs."""
    model = admin_model_of(route)
    if model is None:
        return route
    return route.replace(f"admin/{model._meta.app_label}/{model._meta.model_name}/", "admin/APP/MODEL/", 1)


def admin_model_of(route: str) -> type[Model] | None:
    """Return the model that a page of the admin is about."""
    parts = route.split("/")
    for model in admin.site._registry:
        if parts[:3] == ["admin", model._meta.app_label, model._meta.model_name]:
            return model
    return None
