"""Deleting a workspace: planned with a time of grace, taken back until then, done by a task.

From the plan on, its keys are refused. What is deleted is what people put there: memberships, invitations, names, the contents of
keys. What was bought, used and charged stays: the books are kept as the law asks, under the workspace's number alone.
"""

import datetime as dt

from django.db import transaction

from accounts.models import ApiKey, FormerSlug, Invitation, ManagementKey, Membership, User, Workspace
from accounts.services.audit import record
from accounts.services.members import NotAllowedError
from accounts.services.workspaces import WorkspaceIsClosingError, locked_workspace
from lumyx.lib import clock

#: The time in which a deletion can be taken back.
GRACE = dt.timedelta(days=14)
DELETED_NAME = "Deleted workspace"


def plan_deletion(workspace_id: int, *, by: User, grace: dt.timedelta = GRACE) -> Workspace:
    """Stop a workspace at once, and have it deleted when the time of grace is over. Of two plans the one that is due first is kept.

    Raises WorkspaceNotFoundError; NotAllowedError: only its owner may.
    """
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        if workspace.owner_id != by.pk:
            raise NotAllowedError("Only the owner can delete the workspace.")
        now = clock.now()
        if workspace.deletion_due_at is not None and workspace.deletion_due_at <= now + grace:
            return workspace
        workspace.deletion_planned_at, workspace.deletion_due_at = now, now + grace
        if workspace.suspended_at is None:
            workspace.suspended_at, workspace.suspended_for_deletion = now, True
        workspace.save(
            update_fields=["deletion_planned_at", "deletion_due_at", "suspended_at", "suspended_for_deletion"]
        )
        _record("workspace.deletion_planned", workspace, {"due": workspace.deletion_due_at.isoformat()})
        return workspace


def undo_deletion(workspace_id: int, *, by: User | None) -> Workspace:
    """Take a planned deletion back. A workspace that an operator had stopped stays stopped. Undoing twice changes nothing.

    ``by``: its owner; None: an operator.

    Raises WorkspaceNotFoundError; NotAllowedError; WorkspaceIsClosingError: it is deleted already.
    """
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        if by is not None and workspace.owner_id != by.pk:
            raise NotAllowedError("Only the owner can take the deletion back.")
        if workspace.deleted_at is not None:
            raise WorkspaceIsClosingError(f"{workspace.slug} is deleted; that cannot be taken back.")
        if not workspace.is_closing:
            return workspace
        workspace.deletion_planned_at = workspace.deletion_due_at = None
        if workspace.suspended_for_deletion:
            workspace.suspended_at, workspace.suspended_for_deletion = None, False
        workspace.save(
            update_fields=["deletion_planned_at", "deletion_due_at", "suspended_at", "suspended_for_deletion"]
        )
        _record("workspace.deletion_undone", workspace)
        return workspace


def finish_deletion(workspace_id: int) -> bool:
    """Delete a workspace whose time of grace is over; return whether it was deleted now. Twice is once.

    Raises WorkspaceNotFoundError.
    """
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        now = clock.now()
        due = workspace.deletion_due_at
        if workspace.deleted_at is not None or due is None or due > now:
            return False
        _record("workspace.deleted", workspace)
        ApiKey.objects.filter(workspace=workspace, revoked_at__isnull=True).update(revoked_at=now)
        ApiKey.objects.filter(workspace=workspace).update(name="deleted", allowed_models=[])
        ManagementKey.objects.filter(workspace=workspace, revoked_at__isnull=True).update(revoked_at=now)
        ManagementKey.objects.filter(workspace=workspace).update(name="deleted")
        Invitation.objects.filter(workspace=workspace).delete()
        FormerSlug.objects.filter(workspace=workspace).delete()
        Membership.objects.filter(workspace=workspace).delete()
        workspace.name, workspace.slug, workspace.deleted_at = DELETED_NAME, f"deleted-{workspace.pk}", now
        workspace.suspension_reason, workspace.time_zone = "", "UTC"
        workspace.save(update_fields=["name", "slug", "deleted_at", "suspension_reason", "time_zone"])
        return True


def delete_now(workspace_id: int, *, by: User) -> None:
    """Delete a workspace without a time of grace. Raises WorkspaceNotFoundError; NotAllowedError: only its owner may."""
    with transaction.atomic():
        plan_deletion(workspace_id, by=by, grace=dt.timedelta())
        finish_deletion(workspace_id)


def _record(action: str, workspace: Workspace, details: dict[str, str] | None = None) -> None:
    record(action, workspace_id=workspace.pk, target=("workspace", workspace.pk, workspace.slug), details=details)
