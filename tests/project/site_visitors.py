"""Who visits the site in the authorization table, what they ask for, and how the addresses are found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib import admin
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import Membership, User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import create_api_key
from accounts.services.invitations import invite
from billing.services.mutes import unsubscribe_token
from tests.dashboard.usage_rows import make_request
from tests.factories import fund, make_cast, make_member, make_user

#: The columns of the table. ``other`` owns another workspace; ``staff`` may enter the admin, has no permission there, and is in
#: no workspace. The five roles are in the workspace that the addresses are about.
VISITORS = ("anonymous", "other", "viewer", "billing", "developer", "admin", "owner", "staff")


@dataclass(frozen=True, slots=True)
class World:
    """What the table is played on."""

    browsers: dict[str, Client]
    workspace: Workspace
    key_prefix: str
    request_id: str
    #: The ids of a membership (a developer's) and of an open invitation.
    member_id: int
    invitation_id: int

    def address_of(self, route: str) -> str:
        """Return an address of a route that is about something that exists, in the workspace where there is one."""
        return "/" + self._filled(route)

    def is_told_by(self, response: HttpResponse) -> bool:
        """Tell whether an answer names the workspace or its owner."""
        text = response.content.decode(errors="replace") if not response.streaming else ""
        return self.workspace.slug in text or self.workspace.owner.email in text

    def _filled(self, route: str) -> str:
        values = {
            "prefix": self.key_prefix,
            "request_id": self.request_id,
            "slug": "quickstart",
            "member": str(self.member_id),
            "invitation": str(self.invitation_id),
            "policy": "uncensored",
            "token": unsubscribe_token(self.workspace.owner_id, kind="low_balance"),
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
    """Make a browser for each visitor, and a key and a request in Alice's workspace."""
    cast = make_cast()
    staff = make_user("staff@example.com")
    staff.is_staff = True
    staff.save()
    users: dict[str, User | None] = {"anonymous": None, "other": cast.charlie, "owner": cast.alice, "staff": staff}
    for role in (Role.VIEWER, Role.BILLING, Role.DEVELOPER, Role.ADMIN):
        users[role.value] = make_member(cast.workspace, role, email=f"{role}@example.com")
    browsers = {}
    for visitor in VISITORS:
        browser = Client()
        user = users[visitor]
        if user is not None:
            browser.force_login(user)
        browsers[visitor] = browser
    key = create_api_key(workspace=cast.workspace, name="Alice's key", created_by=cast.alice)
    fund(cast.workspace, "1")
    request_id = make_request(cast.workspace, key=key.row).request_id
    bob = Membership.objects.get(workspace=cast.workspace, user=cast.bob)
    invited = invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice)
    return World(browsers, cast.workspace, key.row.prefix, request_id.hex, bob.pk, invited.row.pk)


def all_routes() -> list[str]:
    """Return every route of the site as it is written in the URL configuration, each once, in order."""
    return list(dict.fromkeys(_routes(get_resolver())))


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
