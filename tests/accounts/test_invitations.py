"""Invitations: for one address, once, for seven days, and no stronger than whoever sent them."""

import datetime as dt

import pytest

from accounts.models import AuditEntry, Invitation, Membership, User
from accounts.roles import Role
from accounts.services import invitations
from accounts.services.closing import plan_deletion
from accounts.services.invitations import (
    InvitationError,
    InvitationNotFoundError,
    SentInvitation,
    WrongPersonError,
    accept,
    invite,
    resend,
    revoke,
)
from accounts.services.members import NotAllowedError
from accounts.services.users import InvalidEmailError
from accounts.services.workspaces import WorkspaceIsClosingError, remove_member, set_member
from lumyx.lib import clock
from tests.accounts.test_members import at_once
from tests.factories import Cast, make_cast, make_member, make_user


def sent_to(cast: Cast, email: str = "nina@example.com", *, role: Role = Role.DEVELOPER) -> SentInvitation:
    """Invite an address, as Alice."""
    return invite(cast.workspace.pk, email=email, role=role, by=cast.alice)


def let_pass(row: Invitation, time: dt.timedelta) -> None:
    """Move an invitation back in time."""
    Invitation.objects.filter(pk=row.pk).update(
        sent_at=row.sent_at - time, expires_at=row.expires_at - time, created_at=row.created_at - time
    )


@pytest.mark.django_db
def test_the_invited_person_joins_with_the_role(cast: Cast) -> None:
    sent = sent_to(cast, "Nina@Example.COM")
    nina = make_user("nina@example.com")
    member = accept(sent.token, user=nina)
    assert (member.role, member.workspace) == (Role.DEVELOPER, cast.workspace)
    row = Invitation.objects.get()
    assert (row.state, row.accepted_by, row.email) == ("accepted", nina, "nina@example.com")
    assert [line.action for line in AuditEntry.objects.order_by("pk")][-2:] == ["member.invited", "member.joined"]


@pytest.mark.django_db
def test_the_secret_is_stored_nowhere(cast: Cast) -> None:
    sent = sent_to(cast)
    rows = [*Invitation.objects.values(), *AuditEntry.objects.values()]
    kept = [value for row in rows for value in row.values()]
    assert not any(sent.token in str(value) for value in kept)
    assert not any(sent.token.encode() in bytes(value) for value in kept if isinstance(value, bytes | memoryview))
    assert sent.token not in repr(sent)
    assert "nina@example.com" not in str(AuditEntry.objects.filter(action="member.invited").values())


@pytest.mark.django_db
def test_it_is_for_the_invited_address_alone(cast: Cast) -> None:
    sent = sent_to(cast)
    with pytest.raises(WrongPersonError, match="This invitation is for nina"):
        accept(sent.token, user=cast.charlie)
    assert not Membership.objects.filter(workspace=cast.workspace, user=cast.charlie).exists()


@pytest.mark.django_db
def test_accepting_proves_the_address(cast: Cast) -> None:
    sent = sent_to(cast)
    nina = make_user("nina@example.com", verified=False)
    accept(sent.token, user=nina)
    assert User.objects.get(pk=nina.pk).email_is_verified


@pytest.mark.django_db
def test_it_works_once_and_for_the_same_person_twice_is_once(cast: Cast) -> None:
    sent, nina = sent_to(cast), make_user("nina@example.com")
    first = accept(sent.token, user=nina)
    assert accept(sent.token, user=nina) == first
    remove_member(cast.workspace, user=nina)
    with pytest.raises(InvitationError, match="used already"):
        accept(sent.token, user=nina)


@pytest.mark.django_db
def test_it_ends_after_seven_days_and_can_be_sent_again(cast: Cast) -> None:
    sent, nina = sent_to(cast), make_user("nina@example.com")
    assert sent.row.expires_at - sent.row.sent_at == dt.timedelta(days=7)
    let_pass(sent.row, dt.timedelta(days=7))
    with pytest.raises(InvitationError, match="expired"):
        accept(sent.token, user=nina)
    again = resend(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice)
    with pytest.raises(InvitationNotFoundError):
        accept(sent.token, user=nina)
    assert accept(again.token, user=nina).user == nina


@pytest.mark.django_db
def test_what_is_taken_back_does_not_work(cast: Cast) -> None:
    sent, nina = sent_to(cast), make_user("nina@example.com")
    revoke(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice)
    with pytest.raises(InvitationError, match="taken back"):
        accept(sent.token, user=nina)
    with pytest.raises(InvitationError, match="over"):
        resend(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice)
    Invitation.objects.update(sent_at=clock.now() - dt.timedelta(minutes=2))
    assert sent_to(cast).row.pk != sent.row.pk, "the person can be invited anew"


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "x", "no-such-token"])
def test_a_link_that_was_made_up_is_nobodys(cast: Cast, token: str) -> None:
    sent_to(cast)
    with pytest.raises(InvitationNotFoundError):
        accept(token, user=cast.charlie)


@pytest.mark.django_db
def test_an_invitation_is_no_stronger_than_its_sender(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    by_admin = invite(cast.workspace.pk, email="nina@example.com", role=Role.ADMIN, by=admin)
    set_member(cast.workspace, user=admin, role=Role.VIEWER)
    nina = make_user("nina@example.com")
    with pytest.raises(InvitationError, match="may not give this role"):
        accept(by_admin.token, user=nina)
    let_pass(by_admin.row, dt.timedelta(minutes=2))
    again = resend(cast.workspace.pk, invitation_id=by_admin.row.pk, by=cast.alice)
    assert accept(again.token, user=nina).role == Role.ADMIN


@pytest.mark.django_db
def test_who_may_invite_as_what(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    for role in (Role.OWNER, Role.BILLING):
        with pytest.raises(NotAllowedError):
            invite(cast.workspace.pk, email="nina@example.com", role=role, by=admin)
    for by in (cast.bob, cast.charlie):
        with pytest.raises(NotAllowedError):
            invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=by)
    unproved = make_user(verified=False)
    set_member(cast.workspace, user=unproved, role=Role.ADMIN)
    with pytest.raises(NotAllowedError, match="Confirm your own"):
        invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=unproved)
    assert not Invitation.objects.exists()


@pytest.mark.django_db
def test_another_workspaces_invitation_does_not_exist_here(cast: Cast) -> None:
    sent = sent_to(cast)
    for act in (resend, revoke):
        with pytest.raises(InvitationNotFoundError):
            act(cast.other_workspace.pk, invitation_id=sent.row.pk, by=cast.charlie)
    assert Invitation.objects.get().state == "open"


@pytest.mark.django_db
def test_members_and_strange_words_are_not_invited(cast: Cast) -> None:
    with pytest.raises(InvitationError, match="member of this workspace already"):
        sent_to(cast, "BOB@example.com")
    with pytest.raises(InvalidEmailError):
        sent_to(cast, "not an address")


@pytest.mark.django_db
def test_nobody_is_written_to_again_and_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = sent_to(cast)
    with pytest.raises(InvitationError, match="a moment ago"):
        sent_to(cast)
    with pytest.raises(InvitationError, match="a moment ago"):
        resend(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice)
    for _ in range(invitations.MOST_SENDS - 1):
        let_pass(Invitation.objects.get(), dt.timedelta(minutes=2))
        resend(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice)
    let_pass(Invitation.objects.get(), dt.timedelta(minutes=2))
    with pytest.raises(InvitationError, match="5 messages"):
        resend(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice)
    monkeypatch.setattr(invitations, "MOST_OPEN", 2)
    sent_to(cast, "two@example.com")
    with pytest.raises(InvitationError, match="2 invitations are open"):
        sent_to(cast, "three@example.com")
    monkeypatch.setattr(invitations, "MOST_OPEN", 50)
    monkeypatch.setattr(invitations, "MOST_A_DAY", 2)
    with pytest.raises(InvitationError, match="within a day"):
        sent_to(cast, "three@example.com")


@pytest.mark.django_db
def test_nobody_joins_a_workspace_that_is_being_deleted(cast: Cast) -> None:
    sent, nina = sent_to(cast), make_user("nina@example.com")
    plan_deletion(cast.workspace.pk, by=cast.alice)
    with pytest.raises(WorkspaceIsClosingError):
        accept(sent.token, user=nina)
    with pytest.raises(WorkspaceIsClosingError):
        sent_to(cast, "other@example.com")


@pytest.mark.django_db
def test_who_became_a_member_meanwhile_keeps_their_role(cast: Cast) -> None:
    sent, nina = sent_to(cast, role=Role.VIEWER), make_user("nina@example.com")
    set_member(cast.workspace, user=nina, role=Role.ADMIN)
    assert accept(sent.token, user=nina).role == Role.ADMIN
    assert Invitation.objects.get().state == "accepted"


@pytest.mark.django_db(transaction=True)
def test_two_who_accept_one_invitation_at_once_are_one_member() -> None:
    cast = make_cast()
    sent, nina = sent_to(cast), make_user("nina@example.com")
    answers = at_once(*[lambda: accept(sent.token, user=User.objects.get(pk=nina.pk))] * 6)
    assert [type(answer) for answer in answers] == [Membership] * 6
    assert Membership.objects.filter(workspace=cast.workspace, user=nina).count() == 1
    assert AuditEntry.objects.filter(action="member.joined", target_id=str(nina.pk)).count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_invitation_that_is_taken_back_while_it_is_accepted_is_one_of_the_two() -> None:
    cast = make_cast()
    sent, nina = sent_to(cast), make_user("nina@example.com")
    accepted, revoked = at_once(
        lambda: accept(sent.token, user=User.objects.get(pk=nina.pk)),
        lambda: revoke(cast.workspace.pk, invitation_id=sent.row.pk, by=cast.alice),
    )
    is_member = Membership.objects.filter(workspace=cast.workspace, user=nina).exists()
    assert is_member == isinstance(accepted, Membership)
    assert isinstance(revoked, Invitation) != is_member
    assert Invitation.objects.get().state == ("accepted" if is_member else "revoked")


def test_taking_an_invitation_back_does_not_let_an_address_be_written_to_again_at_once(cast: Cast) -> None:
    first = invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice).row
    revoke(cast.workspace.pk, invitation_id=first.pk, by=cast.alice)
    with pytest.raises(InvitationError, match="Wait a minute"):
        invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice)
    Invitation.objects.update(sent_at=clock.now() - dt.timedelta(minutes=2), sends=5)
    with pytest.raises(InvitationError, match="within a day"):
        invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice)
    Invitation.objects.update(sent_at=clock.now() - dt.timedelta(days=2))
    assert invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice).row.state == "open"


def test_an_admin_does_not_change_an_invitation_to_more_than_they_are(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    row = invite(cast.workspace.pk, email="nina@example.com", role=Role.BILLING, by=cast.alice).row
    Invitation.objects.update(sent_at=clock.now() - dt.timedelta(minutes=2))
    with pytest.raises(NotAllowedError):
        invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=admin)
    assert Invitation.objects.get(pk=row.pk).role == Role.BILLING
