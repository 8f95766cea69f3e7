"""What every page knows: the theme, where it is, the site's addresses; and, inside a workspace, what the shell shows."""

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from accounts import mailbox
from accounts.roles import Permission, role_allows
from accounts.selectors.announcements import announcements_for
from accounts.selectors.workspaces import memberships_of
from billing.selectors.ledger import Balance, balance_of
from dashboard.navigation import ACTIONS, MAIN, RESOURCES, WORKSPACE, NavItem, items_for

if TYPE_CHECKING:
    from accounts.models import Announcement, Membership, User


TABS = 4


@dataclass(frozen=True, slots=True)
class Shell:
    """What the frame of the signed-in pages shows around a page."""

    workspace_name: str
    role: str
    user_initials: str
    #: When the workspace is deleted; None: it is not planned.
    closes_at: dt.datetime | None
    #: None for roles that may not see money.
    balance: Balance | None
    main: list[NavItem]
    #: People, log and settings.
    team: list[NavItem]
    resources: list[NavItem]
    palette: list[NavItem] = field(default_factory=list)
    #: The person's other workspaces, to change to.
    others: "list[Membership]" = field(default_factory=list)
    #: What operators tell everybody, and this person has not put away.
    announcements: "list[Announcement]" = field(default_factory=list)

    @property
    def initial(self) -> str:
        """The letter on the workspace's tile."""
        return self.workspace_name[:1].upper()

    @property
    def tabs(self) -> list[NavItem]:
        """The pages of the bar at the foot of a phone's page, which has room for four beside its menu."""
        return self.main[:TABS]

    @property
    def more(self) -> list[NavItem]:
        """What the menu beside those has."""
        return [*self.main[TABS:], *self.team, *self.resources]

    @property
    def home(self) -> str:
        """Where the mark leads."""
        return reverse("dashboard:overview")


def site(request: HttpRequest) -> dict[str, object]:
    """Return the theme that the visitor chose (a cookie, so that no script must run first), the page's name and the addresses."""
    theme = request.COOKIES.get("theme", "")
    match = request.resolver_match
    return {
        "theme": theme if theme in {"light", "dark"} else "",
        "here": match.view_name if match else "",
        "site_url": settings.LUMYX_SITE_URL,
        "api_base": f"{settings.LUMYX_SITE_URL}/api/v1",
        # Where development mail can be read; empty wherever mail is really sent.
        "dev_mail": reverse("dev:mail") if mailbox.is_open() else "",
        "shell": SimpleLazyObject(lambda: build_shell(request)),
    }


def build_shell(request: HttpRequest) -> Shell | None:
    """Return the shell of the request's workspace, or None outside one (``request.membership`` is set by dashboard.guards)."""
    membership: Membership | None = getattr(request, "membership", None)
    if membership is None:
        return None
    user = cast("User", request.user)  # a member has signed in; membership.user would be one more query
    role = str(membership.role)
    main, team, resources = items_for(role, MAIN), items_for(role, WORKSPACE), items_for(role, RESOURCES)
    sees_money = role_allows(role, Permission.VIEW_BILLING)
    return Shell(
        workspace_name=membership.workspace.name,
        role=role.capitalize(),
        closes_at=membership.workspace.deletion_due_at,
        user_initials=initials_of(user.name or user.email),
        balance=balance_of(membership.workspace_id) if sees_money else None,
        main=main,
        team=team,
        resources=resources,
        palette=[*main, *team, *resources, *items_for(role, ACTIONS)],
        announcements=announcements_for(user),
        others=[other for other in memberships_of(user) if other.pk != membership.pk],
    )


def initials_of(name: str) -> str:
    """Return one or two letters for a person's tile ("Dana Ito" is DI, "dana@x.org" is DA)."""
    words = name.split("@")[0].replace(".", " ").replace("_", " ").split()
    letters = words[0][0] + words[1][0] if len(words) > 1 else name[:2]
    return letters.upper()
