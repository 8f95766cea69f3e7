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
    MANAGE_WORKSPACE = "manage_workspace"
    ACCEPT_POLICIES = "accept_policies"
    VIEW_AUDIT = "view_audit"
    OWN_WORKSPACE = "own_workspace"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission) - {Permission.MANAGE_BILLING, Permission.OWN_WORKSPACE},
    Role.DEVELOPER: frozenset({Permission.VIEW, Permission.MANAGE_KEYS}),
    Role.BILLING: frozenset({Permission.VIEW, Permission.VIEW_BILLING, Permission.MANAGE_BILLING}),
    Role.VIEWER: frozenset({Permission.VIEW}),
}

#: What each permission lets a person do, for the table on the page of members.
PERMISSION_WORDS: dict[Permission, str] = {
    Permission.VIEW: "See usage, requests, API keys without their secrets, and who is here",
    Permission.MANAGE_KEYS: "Create, change and revoke API keys",
    Permission.VIEW_BILLING: "See credits, payments and the plan",
    Permission.MANAGE_BILLING: "Buy credits, change the plan and automatic top-ups",
    Permission.MANAGE_MEMBERS: "Invite and remove people, and change their roles",
    Permission.MANAGE_WORKSPACE: "Change the workspace’s name, slug and time zone",
    Permission.ACCEPT_POLICIES: "Accept policies for the workspace",
    Permission.VIEW_AUDIT: "See and export the audit log",
    Permission.OWN_WORKSPACE: "Hand the workspace over, or delete it",
}

#: Who a role is for.
ROLE_WORDS: dict[Role, str] = {
    Role.OWNER: "May do everything. A workspace has exactly one.",
    Role.ADMIN: "Runs the workspace: people, keys, policies. Sees money, and does not spend it.",
    Role.DEVELOPER: "Builds with API keys. Does not see credits or payments.",
    Role.BILLING: "Sees and pays the bills. Does not touch API keys.",
    Role.VIEWER: "Looks at usage and changes nothing.",
}


def role_allows(role: str, permission: Permission) -> bool:
    """Tell whether a role includes a permission; an unknown role allows nothing."""
    return role in GRANTS and permission in GRANTS[Role(role)]


def may_give(role: str, other: str) -> bool:
    """Tell whether people of a role may give another role, or take it from somebody: nobody hands out more than they have.

    The owner's role is never given, only the workspace handed over.
    """
    if not role_allows(role, Permission.MANAGE_MEMBERS) or other not in GRANTS or other == Role.OWNER:
        return False
    return GRANTS[Role(other)] <= GRANTS[Role(role)]


def roles_given_by(role: str) -> list[Role]:
    """Return the roles that people of a role may give, strongest first."""
    return [other for other in Role if may_give(role, other)]
