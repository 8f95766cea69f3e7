"""What members may do to members: the whole matrix, other workspaces' people, and two who act at once."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.models import ApiKey, AuditEntry, Membership, User, Workspace
from accounts.roles import Role
from accounts.services.apikeys import create_api_key
from accounts.services.members import (
    MemberNotFoundError,
    NotAllowedError,
    change_role,
    expel,
    leave,
    transfer_ownership,
)
from accounts.services.workspaces import OwnerIsFixedError, set_member
from tests.factories import Cast, make_cast, make_member, make_user, make_workspace

#: Who may turn a person of which role (row) into a viewer, and remove them: by owner, admin, developer, billing, viewer.
REACH = {
    Role.OWNER:     (False, False, False, False, False),
    Role.ADMIN:     (True, True, False, False, False),
    Role.DEVELOPER: (True, True, False, False, False),
    Role.BILLING:   (True, False, False, False, False),
    Role.VIEWER:    (True, True, False, False, False),
}  # fmt: skip
ACTORS = (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER)
CELLS = [(target, actor, allowed) for target, row in REACH.items() for actor, allowed in zip(ACTORS, row, strict=True)]


def member_of(workspace: Workspace, user: User) -> Membership:
    """Return a person's membership."""
    return Membership.objects.get(workspace=workspace, user=user)


def person(cast: Cast, role: Role, *, email: str) -> User:
    """Return the owner, or somebody new with a role."""
    return cast.alice if role == Role.OWNER else make_member(cast.workspace, role, email=email)


@pytest.mark.django_db
@pytest.mark.parametrize("deed", ["role", "remove"])
@pytest.mark.parametrize(("target", "actor", "allowed"), CELLS)
def test_each_role_reaches_exactly_its_own(deed: str, target: Role, actor: Role, allowed: bool) -> None:
    cast = make_cast()
    who = person(cast, target, email="target@example.com")
    by = person(cast, actor, email="actor@example.com")
    member = member_of(cast.workspace, who)

    def act() -> None:
        if deed == "role":
            change_role(cast.workspace.pk, member_id=member.pk, role=Role.VIEWER, by=by)
        else:
            expel(cast.workspace.pk, member_id=member.pk, by=by)

    before = list(Membership.objects.order_by("pk").values_list("pk", "role"))
    if allowed:
        act()
        left = Membership.objects.filter(pk=member.pk).values_list("role", flat=True).first()
        assert left == (Role.VIEWER if deed == "role" else None)
    else:
        with pytest.raises((NotAllowedError, OwnerIsFixedError)):
            act()
        assert list(Membership.objects.order_by("pk").values_list("pk", "role")) == before


@pytest.mark.django_db
def test_an_admin_gives_no_role_that_may_do_more(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    bob = member_of(cast.workspace, cast.bob)
    for role in (Role.OWNER, Role.BILLING):
        with pytest.raises(NotAllowedError, match=f"cannot give the role {role}"):
            change_role(cast.workspace.pk, member_id=bob.pk, role=role, by=admin)
    assert member_of(cast.workspace, cast.bob).role == Role.DEVELOPER


@pytest.mark.django_db
def test_nobody_changes_their_own_role(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    own = member_of(cast.workspace, admin)
    for act in (
        lambda: change_role(cast.workspace.pk, member_id=own.pk, role=Role.VIEWER, by=admin),
        lambda: expel(cast.workspace.pk, member_id=own.pk, by=admin),
    ):
        with pytest.raises(NotAllowedError, match="your own role"):
            act()


@pytest.mark.django_db
def test_another_workspaces_member_does_not_exist_here(cast: Cast) -> None:
    theirs = member_of(cast.other_workspace, cast.charlie)
    mine = member_of(cast.workspace, cast.bob)
    with pytest.raises(MemberNotFoundError):
        change_role(cast.workspace.pk, member_id=theirs.pk, role=Role.VIEWER, by=cast.alice)
    with pytest.raises(MemberNotFoundError):
        expel(cast.workspace.pk, member_id=theirs.pk, by=cast.alice)
    with pytest.raises(MemberNotFoundError):
        transfer_ownership(cast.workspace.pk, member_id=theirs.pk, by=cast.alice)
    with pytest.raises(NotAllowedError):
        expel(cast.workspace.pk, member_id=mine.pk, by=cast.charlie)
    with pytest.raises(MemberNotFoundError):
        leave(cast.workspace.pk, user=cast.charlie)


@pytest.mark.django_db
def test_who_leaves_loses_their_keys_and_the_owner_cannot(cast: Cast) -> None:
    key = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row
    leave(cast.workspace.pk, user=cast.bob)
    assert not Membership.objects.filter(user=cast.bob).exists()
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    with pytest.raises(OwnerIsFixedError, match="Hand it over"):
        leave(cast.workspace.pk, user=cast.alice)
    assert AuditEntry.objects.latest("pk").action == "member.left"


@pytest.mark.django_db
def test_a_role_that_may_not_manage_keys_revokes_them(cast: Cast) -> None:
    key = create_api_key(workspace=cast.workspace, name="k", created_by=cast.bob).row
    change = change_role(
        cast.workspace.pk, member_id=member_of(cast.workspace, cast.bob).pk, role=Role.VIEWER, by=cast.alice
    )
    assert (change.before, change.member.role) == ("developer", Role.VIEWER)
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    line = AuditEntry.objects.latest("pk")
    assert (line.action, line.target_id, line.details) == (
        "member.role_changed",
        str(cast.bob.pk),
        {"from": "developer", "to": "viewer"},
    )


@pytest.mark.django_db
def test_a_transfer_makes_the_owner_before_an_admin(cast: Cast) -> None:
    bob = member_of(cast.workspace, cast.bob)
    workspace = transfer_ownership(cast.workspace.pk, member_id=bob.pk, by=cast.alice)
    assert workspace.owner == cast.bob
    roles = dict(Membership.objects.filter(workspace=workspace).values_list("user_id", "role"))
    assert roles == {cast.alice.pk: Role.ADMIN, cast.bob.pk: Role.OWNER}
    assert AuditEntry.objects.latest("pk").action == "workspace.ownership_transferred"
    with pytest.raises(NotAllowedError, match="Only the owner"):
        transfer_ownership(cast.workspace.pk, member_id=bob.pk, by=cast.alice)


@pytest.mark.django_db
def test_an_owner_needs_an_open_account_and_a_proved_address(cast: Cast) -> None:
    unproved, shut = make_user(verified=False), make_user()
    shut.is_active = False
    shut.save()
    for user, why in ((unproved, "confirmed"), (shut, "shut")):
        set_member(cast.workspace, user=user, role=Role.ADMIN)
        with pytest.raises(NotAllowedError, match=why):
            transfer_ownership(cast.workspace.pk, member_id=member_of(cast.workspace, user).pk, by=cast.alice)
    with pytest.raises(NotAllowedError, match="already"):
        transfer_ownership(cast.workspace.pk, member_id=member_of(cast.workspace, cast.alice).pk, by=cast.alice)
    assert Workspace.objects.get(pk=cast.workspace.pk).owner == cast.alice


def at_once(*deeds: Callable[[], object]) -> list[object]:
    """Do things in threads that start together; return what each gave, or the exception."""
    barrier, answers = threading.Barrier(len(deeds)), [None] * len(deeds)

    def run(place: int, deed: Callable[[], object]) -> None:
        barrier.wait()
        try:
            answers[place] = deed()  # type: ignore[call-overload]  # a list of anything
        except Exception as error:
            answers[place] = error  # type: ignore[call-overload]  # see above
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=numbered) for numbered in enumerate(deeds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(answers)


@pytest.mark.django_db(transaction=True)
def test_of_two_transfers_at_once_one_happens() -> None:
    owner = make_user()
    workspace = make_workspace(owner=owner)
    heirs = [make_member(workspace, Role.ADMIN) for _ in range(2)]
    ids = [member_of(workspace, heir).pk for heir in heirs]
    answers = at_once(*(lambda id=id: transfer_ownership(workspace.pk, member_id=id, by=owner) for id in ids))
    refused = [answer for answer in answers if isinstance(answer, NotAllowedError)]
    assert len(refused) == 1
    assert Membership.objects.filter(workspace=workspace, role=Role.OWNER).count() == 1
    present = Workspace.objects.get(pk=workspace.pk)
    assert member_of(workspace, present.owner).role == Role.OWNER
    assert present.owner in heirs


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_remove_each_other_at_once_do_not_both_succeed() -> None:
    workspace = make_workspace()
    first, second = make_member(workspace, Role.ADMIN), make_member(workspace, Role.ADMIN)
    ids = {user: member_of(workspace, user).pk for user in (first, second)}
    answers = at_once(
        lambda: expel(workspace.pk, member_id=ids[second], by=first),
        lambda: expel(workspace.pk, member_id=ids[first], by=second),
    )
    assert sum(isinstance(answer, Membership) for answer in answers) == 1
    assert sum(isinstance(answer, NotAllowedError) for answer in answers) == 1
    assert Membership.objects.filter(workspace=workspace, role=Role.ADMIN).count() == 1
