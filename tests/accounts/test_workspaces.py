"""Workspaces, and who belongs to them."""

import datetime as dt
from collections.abc import Callable

import pytest

from accounts.models import Membership, Workspace
from accounts.roles import Role
from accounts.selectors.workspaces import (
    members_of,
    membership_of,
    memberships_of,
    workspace_by_slug,
    workspaces_of,
)
from accounts.services.apikeys import create_api_key
from accounts.services.workspaces import (
    InvalidWorkspaceNameError,
    OwnerIsFixedError,
    WorkspaceExistsError,
    WorkspaceNotFoundError,
    create_workspace,
    remove_member,
    resume_workspace,
    set_member,
    slug_of,
    suspend_workspace,
)
from lumyx.lib import clock
from tests.factories import Cast, make_member, make_user, make_workspace

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Alice's lab", "alices-lab"),
        ("  Ünïcode & Söhne ", "unicode-sohne"),
        ("株式会社", "workspace"),
        ("--", "workspace"),
        ("x" * 120, "x" * 55),
    ],
)
def test_a_slug_is_made_from_the_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug
    assert make_workspace(name).slug == slug


def test_the_owner_is_its_first_member() -> None:
    owner = make_user()
    workspace = create_workspace("Lab", owner=owner)
    assert [(m.user, m.role) for m in members_of(workspace.pk)] == [(owner, "owner")]


def test_a_taken_slug_gets_an_ending_of_its_own() -> None:
    slugs = {make_workspace("Lab").slug for _ in range(4)}
    assert len(slugs) == 4
    assert all(slug == "lab" or slug.startswith("lab-") for slug in slugs)


def test_an_ending_that_is_taken_too_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("accounts.services.workspaces.get_random_string", lambda *_: next(draws))
    assert [make_workspace("Lab").slug for _ in range(3)] == ["lab", "lab-aaaa", "lab-bbbb"]


def test_running_out_of_endings_is_a_clear_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.services.workspaces.get_random_string", lambda *_: "aaaa")
    make_workspace("Lab")
    make_workspace("Lab")
    with pytest.raises(WorkspaceExistsError, match="choose another name"):
        make_workspace("Lab")
    assert Workspace.objects.count() == 2


def test_exactly_the_slug_that_was_asked_for_or_an_error() -> None:
    assert create_workspace("Lab", owner=make_user(), slug="the-lab").slug == "the-lab"
    with pytest.raises(WorkspaceExistsError, match="'the-lab' exists already"):
        create_workspace("Lab", owner=make_user(), slug="the-lab")


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "a\x00b", "line\nbreak", "\u202eevil"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(InvalidWorkspaceNameError, match="1 to 120"):
        create_workspace(name, owner=make_user())


def test_suspending_and_resuming(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace()
    first = suspend_workspace(workspace.pk, reason="card testing").suspended_at
    assert first is not None
    monkeypatch.setattr(clock, "now", lambda: first + dt.timedelta(hours=1))
    again = suspend_workspace(workspace.pk, reason="confirmed")
    assert (again.suspended_at, again.suspension_reason, again.is_suspended) == (first, "confirmed", True)
    for _ in range(2):
        resumed = resume_workspace(workspace.pk)
        assert (resumed.suspended_at, resumed.suspension_reason) == (None, "")


@pytest.mark.parametrize("change", [suspend_workspace, resume_workspace])
def test_a_workspace_that_does_not_exist_is_a_clear_error(change: Callable[[int], Workspace]) -> None:
    with pytest.raises(WorkspaceNotFoundError, match="no workspace"):
        change(987654)


def test_a_membership_is_found_by_slug_and_nobody_elses_is(cast: Cast) -> None:
    found = membership_of(cast.bob, slug=cast.workspace.slug)
    assert found is not None
    assert (found.workspace, found.role) == (cast.workspace, "developer")
    assert membership_of(cast.charlie, slug=cast.workspace.slug) is None
    assert membership_of(cast.alice, slug="no-such") is None


def test_without_a_slug_the_first_membership_is_meant(cast: Cast) -> None:
    set_member(cast.workspace, user=cast.charlie, role=Role.VIEWER)
    first = membership_of(cast.charlie)
    assert first is not None
    assert first.workspace == cast.other_workspace
    assert workspaces_of(cast.charlie) == [cast.other_workspace, cast.workspace]
    assert [m.role for m in memberships_of(cast.charlie)] == ["owner", "viewer"]
    assert membership_of(make_user()) is None


def test_a_workspace_is_found_by_slug(cast: Cast) -> None:
    assert workspace_by_slug("alices-lab") == cast.workspace
    assert workspace_by_slug("no-such") is None


def test_changing_a_role_to_one_without_keys_revokes_the_keys_they_made_here(cast: Cast) -> None:
    set_member(cast.other_workspace, user=cast.bob, role=Role.ADMIN)
    here = create_api_key(workspace=cast.workspace, name="here", created_by=cast.bob).row
    elsewhere = create_api_key(workspace=cast.other_workspace, name="elsewhere", created_by=cast.bob).row
    alices = create_api_key(workspace=cast.workspace, name="alice's", created_by=cast.alice).row

    set_member(cast.workspace, user=cast.bob, role=Role.ADMIN)
    here.refresh_from_db()
    assert here.state == "active"
    set_member(cast.workspace, user=cast.bob, role=Role.VIEWER)
    for row in (here, elsewhere, alices):
        row.refresh_from_db()
    assert [row.state for row in (here, elsewhere, alices)] == ["revoked", "active", "active"]


def test_removing_a_member_revokes_their_keys_and_twice_is_fine(cast: Cast) -> None:
    row = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row
    remove_member(cast.workspace, user=cast.bob)
    remove_member(cast.workspace, user=cast.bob)
    row.refresh_from_db()
    assert row.state == "revoked"
    assert membership_of(cast.bob) is None


def test_the_owner_can_be_neither_removed_nor_changed_nor_doubled(cast: Cast) -> None:
    with pytest.raises(OwnerIsFixedError):
        remove_member(cast.workspace, user=cast.alice)
    with pytest.raises(OwnerIsFixedError):
        set_member(cast.workspace, user=cast.alice, role=Role.ADMIN)
    with pytest.raises(OwnerIsFixedError):
        set_member(cast.workspace, user=cast.bob, role=Role.OWNER)
    with pytest.raises(OwnerIsFixedError):
        set_member(cast.workspace, user=cast.charlie, role=Role.OWNER)
    assert sorted(Membership.objects.filter(workspace=cast.workspace).values_list("role", flat=True)) == [
        "developer",
        "owner",
    ]


def test_a_member_can_be_made_with_every_other_role() -> None:
    workspace = make_workspace()
    for role in set(Role) - {Role.OWNER}:
        assert membership_of(make_member(workspace, role), slug=workspace.slug) is not None
