"""The pages that menus, tab bar and command palette offer: one table, so that none can name a page that is not there."""

from dataclasses import dataclass

from django.urls import reverse

from accounts.roles import Permission, role_allows


@dataclass(frozen=True, slots=True)
class NavItem:
    """A page in the menus. ``key`` is the letter after "g"; ``icon`` is a Lucide name."""

    name: str
    title: str
    icon: str
    key: str = ""
    query: str = ""
    permission: Permission = Permission.VIEW

    @property
    def href(self) -> str:
        """The page's path."""
        return reverse(self.name) + self.query


MAIN = (
    NavItem("dashboard:overview", "Overview", "layout-dashboard", "o"),
    NavItem("dashboard:keys", "API keys", "key-round", "k"),
    NavItem("dashboard:usage", "Usage", "chart-column", "u"),
    NavItem("dashboard:credits", "Credits", "wallet", "c", permission=Permission.VIEW_BILLING),
    NavItem("dashboard:plan", "Plan", "gem", "b", permission=Permission.VIEW_BILLING),
)
WORKSPACE = (
    NavItem("dashboard:members", "Members", "users", "t"),
    NavItem("dashboard:audit", "Audit log", "scroll-text", "a", permission=Permission.VIEW_AUDIT),
    NavItem("dashboard:workspace", "Settings", "settings", "w"),
)
RESOURCES = (
    NavItem("site:models", "Models", "boxes", "m"),
    NavItem("site:docs", "Docs", "book-open", "d"),
    NavItem("site:pricing", "Pricing", "tag", "p"),
)
ACTIONS = (NavItem("dashboard:keys", "Create API key", "plus", query="?new", permission=Permission.MANAGE_KEYS),)


def items_for(role: str, items: tuple[NavItem, ...]) -> list[NavItem]:
    """Return the items that a role may open."""
    return [item for item in items if role_allows(role, item.permission)]
