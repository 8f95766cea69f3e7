"""What each role may do: the whole matrix, written out."""

import pytest

from accounts.roles import Permission, Role, role_allows

MATRIX = {
    #                         owner  admin  developer  billing  viewer
    Permission.VIEW:           (True, True, True, True, True),
    Permission.MANAGE_KEYS:    (True, True, True, False, False),
    Permission.VIEW_BILLING:   (True, True, False, True, False),
    Permission.MANAGE_BILLING: (True, False, False, True, False),
    Permission.MANAGE_MEMBERS: (True, True, False, False, False),
}  # fmt: skip


@pytest.mark.parametrize("permission", list(Permission))
def test_each_role_has_exactly_its_permissions(permission: Permission) -> None:
    columns = (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER)
    assert tuple(role_allows(role, permission) for role in columns) == MATRIX[permission]


@pytest.mark.parametrize("role", ["", "OWNER", "root", "owner "])
def test_an_unknown_role_allows_nothing(role: str) -> None:
    assert not any(role_allows(role, permission) for permission in Permission)
