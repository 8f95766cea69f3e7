"""Deleting a workspace: it stops at once, comes back within fourteen days, and is gone after them; the books stay."""

import datetime as dt

import pytest

from accounts.models import ApiKey, AuditEntry, FormerSlug, Invitation, Membership, Workspace
from accounts.roles import Role
from accounts.selectors.principals import PrincipalRow, principal_row
from accounts.selectors.workspaces import workspaces_to_delete
from accounts.services.apikeys import NewApiKey
from accounts.services.closing import finish_deletion, plan_deletion, undo_deletion
from accounts.services.invitations import invite
from accounts.services.members import NotAllowedError, change_role
from accounts.services.workspace_settings import change_workspace
from accounts.services.workspaces import WorkspaceIsClosingError, resume_workspace, suspend_workspace
from billing.models import LedgerEntry
from billing.selectors.ledger import balance_of
from billing.services.ledger import admit
from billing.types import Admission, Refusal
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.factories import Cast, fund, make_member

pytestmark = pytest.mark.django_db


def principal(key: NewApiKey) -> PrincipalRow:
    """Return the key's principal as it stands."""
    row = principal_row(bytes(key.row.digest))
    assert row is not None
    return row


def make_due(workspace: Workspace) -> None:
    """Let the time of grace pass."""
    Workspace.objects.filter(pk=workspace.pk).update(deletion_due_at=clock.now() - dt.timedelta(seconds=1))


def test_the_keys_are_refused_at_once_by_the_books_too(cast: Cast, key: NewApiKey) -> None:
    fund(cast.workspace, "5")
    workspace = plan_deletion(cast.workspace.pk, by=cast.alice)
    assert workspace.deletion_due_at is not None
    assert workspace.deletion_planned_at is not None
    assert workspace.deletion_due_at - workspace.deletion_planned_at == dt.timedelta(days=14)
    assert (principal(key).suspended, principal(key).closing) == (True, True)
    wish = Admission(
        request_id=uuid7(),
        workspace_id=workspace.pk,
        api_key_id=key.row.pk,
        model="m",
        amount=1,
        floor=1,
        ttl=60,
    )
    assert [answer.refusal for answer in admit([wish])] == [Refusal.WORKSPACE_SUSPENDED]
    assert plan_deletion(cast.workspace.pk, by=cast.alice).deletion_due_at == workspace.deletion_due_at


def test_taken_back_it_works_as_before(cast: Cast, key: NewApiKey) -> None:
    plan_deletion(cast.workspace.pk, by=cast.alice)
    undo_deletion(cast.workspace.pk, by=cast.alice)
    assert (principal(key).suspended, principal(key).closing, principal(key).revoked) == (False, False, False)
    assert workspaces_to_delete(clock.now() + dt.timedelta(days=30)) == []
    assert undo_deletion(cast.workspace.pk, by=None).deletion_due_at is None
    acts = [line.action for line in AuditEntry.objects.order_by("pk")]
    assert acts[-2:] == ["workspace.deletion_planned", "workspace.deletion_undone"]


def test_only_the_owner_deletes_and_takes_back(cast: Cast) -> None:
    admin = make_member(cast.workspace, Role.ADMIN)
    for by in (admin, cast.charlie):
        with pytest.raises(NotAllowedError):
            plan_deletion(cast.workspace.pk, by=by)
    plan_deletion(cast.workspace.pk, by=cast.alice)
    with pytest.raises(NotAllowedError):
        undo_deletion(cast.workspace.pk, by=admin)
    undo_deletion(cast.workspace.pk, by=None)


def test_what_an_operator_stopped_stays_stopped(cast: Cast, key: NewApiKey) -> None:
    suspend_workspace(cast.workspace.pk, reason="abuse")
    plan_deletion(cast.workspace.pk, by=cast.alice)
    assert undo_deletion(cast.workspace.pk, by=cast.alice).is_suspended
    assert principal(key).suspended
    plan_deletion(cast.workspace.pk, by=cast.alice)
    assert resume_workspace(cast.workspace.pk).is_suspended, "it is being deleted all the same"
    with pytest.raises(WorkspaceIsClosingError):
        resume_workspace(cast.workspace.pk)
    assert not undo_deletion(cast.workspace.pk, by=cast.alice).is_suspended
    plan_deletion(cast.workspace.pk, by=cast.alice)
    suspend_workspace(cast.workspace.pk, reason="abuse again")
    assert undo_deletion(cast.workspace.pk, by=cast.alice).suspension_reason == "abuse again"


def test_nobody_changes_roles_meanwhile(cast: Cast) -> None:
    plan_deletion(cast.workspace.pk, by=cast.alice)
    bob = Membership.objects.get(workspace=cast.workspace, user=cast.bob)
    with pytest.raises(WorkspaceIsClosingError):
        change_role(cast.workspace.pk, member_id=bob.pk, role=Role.VIEWER, by=cast.alice)


def test_after_the_time_of_grace_what_people_put_there_is_gone_and_the_books_stay(cast: Cast, key: NewApiKey) -> None:
    fund(cast.workspace, "5")
    invite(cast.workspace.pk, email="nina@example.com", role=Role.VIEWER, by=cast.alice)
    change_workspace(cast.workspace.pk, slug="wonderland", time_zone="Europe/Berlin")
    plan_deletion(cast.workspace.pk, by=cast.alice)
    assert not finish_deletion(cast.workspace.pk), "the time of grace is not over"
    make_due(cast.workspace)
    assert workspaces_to_delete(clock.now()) == [cast.workspace.pk]
    assert finish_deletion(cast.workspace.pk)
    assert not finish_deletion(cast.workspace.pk)
    gone = Workspace.objects.get(pk=cast.workspace.pk)
    assert (gone.name, gone.slug, gone.time_zone) == ("Deleted workspace", f"deleted-{gone.pk}", "UTC")
    for rows in (Membership, Invitation, FormerSlug):
        assert not rows.objects.filter(workspace=gone).exists()
    kept = ApiKey.objects.get(pk=key.row.pk)
    assert (kept.name, kept.state) == ("deleted", "revoked")
    assert balance_of(gone.pk).posted == 5_000_000_000
    assert LedgerEntry.objects.filter(wallet_id=gone.pk).count() == 1
    assert AuditEntry.objects.filter(workspace_id=gone.pk, action="workspace.deleted").count() == 1
    with pytest.raises(WorkspaceIsClosingError):
        undo_deletion(gone.pk, by=None)
    assert workspaces_to_delete(clock.now()) == []
