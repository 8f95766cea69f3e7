"""Roles in a workspace, and what each may do. Pure: no Django."""

from enum import StrEnum


class Role(StrEnum):
    """What a person is in a workspace, strongest first."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    BILLING = "billing"
    VIEWER = "viewer"


class Permission(StrEnum):
    """What a page or a call asks for."""

    VIEW = "view"
    MANAGE_KEYS = "manage_keys"
    VIEW_BILLING = "view_billing"
    MANAGE_BILLING = "manage_billing"
    MANAGE_MEMBERS = "manage_members"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission) - {Permission.MANAGE_BILLING},
    Role.DEVELOPER: frozenset({Permission.VIEW, Permission.MANAGE_KEYS}),
    Role.BILLING: frozenset({Permission.VIEW, Permission.VIEW_BILLING, Permission.MANAGE_BILLING}),
    Role.VIEWER: frozenset({Permission.VIEW}),
}


def role_allows(role: str, permission: Permission) -> bool:
    """Tell whether a role includes a permission; an unknown role allows nothing."""
    return role in GRANTS and permission in GRANTS[Role(role)]
