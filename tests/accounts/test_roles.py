"""What each role may do: the whole matrix, written out."""

import pytest

from accounts.roles import PERMISSION_WORDS, ROLE_WORDS, Permission, Role, may_give, role_allows, roles_given_by

MATRIX = {
    #                         owner  admin  developer  billing  viewer
    Permission.VIEW:           (True, True, True, True, True),
    Permission.MANAGE_KEYS:    (True, True, True, False, False),
    Permission.VIEW_BILLING:   (True, True, False, True, False),
    Permission.MANAGE_BILLING: (True, False, False, True, False),
    Permission.MANAGE_MEMBERS: (True, True, False, False, False),
    Permission.MANAGE_WORKSPACE: (True, True, False, False, False),
    Permission.ACCEPT_POLICIES: (True, True, False, False, False),
    Permission.VIEW_AUDIT:     (True, True, False, False, False),
    Permission.OWN_WORKSPACE:  (True, False, False, False, False),
}  # fmt: skip


@pytest.mark.parametrize("permission", list(Permission))
def test_each_role_has_exactly_its_permissions(permission: Permission) -> None:
    columns = (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER)
    assert tuple(role_allows(role, permission) for role in columns) == MATRIX[permission]


@pytest.mark.parametrize("role", ["", "OWNER", "root", "owner "])
def test_an_unknown_role_allows_nothing(role: str) -> None:
    assert not any(role_allows(role, permission) for permission in Permission)


#: Who may give, or take away, which role: owner, admin, developer, billing, viewer.
GIVES = {
    Role.OWNER:     (False, True, True, True, True),
    Role.ADMIN:     (False, True, True, False, True),
    Role.DEVELOPER: (False, False, False, False, False),
    Role.BILLING:   (False, False, False, False, False),
    Role.VIEWER:    (False, False, False, False, False),
}  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_nobody_gives_a_role_that_may_do_more_than_their_own(role: Role) -> None:
    columns = (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER)
    assert tuple(may_give(role, other) for other in columns) == GIVES[role]
    assert roles_given_by(role) == [other for other, gives in zip(columns, GIVES[role], strict=True) if gives]


def test_an_unknown_role_is_neither_given_nor_gives() -> None:
    assert not may_give("root", Role.VIEWER)
    assert not may_give(Role.OWNER, "root")


def test_every_permission_and_role_is_told_in_words() -> None:
    assert set(PERMISSION_WORDS) == set(Permission)
    assert set(ROLE_WORDS) == set(Role)
