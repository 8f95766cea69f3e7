"""Leaving: a workspace gets another owner or is closed, and a person's account becomes nobody's.

The ledger, usage and the audit log stay; they name people by ids, which lead to no name and no address any more.
"""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.roles import Role
from accounts.services.audit import record
from accounts.services.workspaces import OwnerIsFixedError, WorkspaceNotFoundError, suspend_workspace
from lumyx.lib import clock

CLOSED_BY_OWNER = "closed by its owner"


class NotAMemberError(LookupError):
    """The person does not belong to the workspace, or can no longer sign in."""


@transaction.atomic
def hand_over(workspace_id: int, *, owner: User, successor_id: int) -> Workspace:
    """Make another member the owner; the present one becomes an admin.

    Raises:
        WorkspaceNotFoundError: ``owner`` owns no such workspace.
        NotAMemberError: the successor is not an active member.
    """
    workspace = Workspace.objects.select_for_update().filter(pk=workspace_id, owner=owner).first()
    if workspace is None:
        raise WorkspaceNotFoundError(f"There is no workspace with the id {workspace_id} that is theirs.")
    rows = Membership.objects.select_for_update().filter(workspace=workspace)
    successor = rows.filter(user_id=successor_id, user__is_active=True).exclude(user=owner).first()
    if successor is None:
        raise NotAMemberError(f"The new owner has to be an active member of {workspace.name}.")
    rows.filter(user=owner).update(role=Role.ADMIN)
    rows.filter(pk=successor.pk).update(role=Role.OWNER)
    workspace.owner_id = successor_id
    workspace.save(update_fields=["owner"])
    record(
        "workspace.ownership_transferred",
        workspace_id=workspace.pk,
        actor_id=owner.pk,
        target=("user", successor_id, ""),
    )
    return workspace


@transaction.atomic
def close_workspace(workspace_id: int, *, owner: User) -> Workspace:
    """Close a workspace for good: it is suspended and every key of it is revoked. Raises WorkspaceNotFoundError."""
    workspace = Workspace.objects.filter(pk=workspace_id, owner=owner).first()
    if workspace is None:
        raise WorkspaceNotFoundError(f"There is no workspace with the id {workspace_id} that is theirs.")
    if not workspace.is_suspended:  # an operator's reason stays
        workspace = suspend_workspace(workspace_id, reason=CLOSED_BY_OWNER)
    _revoke(ApiKey.objects.filter(workspace=workspace), actor=owner)
    record("workspace.suspended", workspace_id=workspace.pk, actor_id=owner.pk, details={"reason": CLOSED_BY_OWNER})
    return workspace


@transaction.atomic
def leave_workspaces(user: User) -> None:
    """Take a person out of every workspace that is not theirs, and revoke the keys that they made anywhere."""
    _revoke(ApiKey.objects.filter(created_by=user), actor=user)
    for member in Membership.objects.select_for_update().filter(user=user).exclude(role=Role.OWNER):
        record("member.left", workspace_id=member.workspace_id, actor_id=user.pk, target=("user", user.pk, ""))
        member.delete()


@transaction.atomic
def anonymise(user: User) -> User:
    """Make an account nobody's: no name, no address, no way to sign in, no session. Raises OwnerIsFixedError, see below.

    Every workspace that the person owned has to have another owner or to be closed before.
    """
    user = User.objects.select_for_update().get(pk=user.pk)
    if Workspace.objects.filter(owner=user, suspended_at__isnull=True).exists():
        raise OwnerIsFixedError("A workspace of this person is open: close it, or give it another owner.")
    record("account.deleted", workspace_id=None, actor_id=user.pk)
    for rows in (EmailAddress.objects, Authenticator.objects, SocialAccount.objects):
        rows.filter(user_id=user.pk).delete()
    for session in UserSession.objects.filter(user_id=user.pk):
        session.end()
    # ".invalid" is reserved: no mail leads there, and nobody can prove it.
    user.email, user.name = f"deleted-{user.pk}@deleted.invalid", ""
    user.set_unusable_password()
    user.is_active = user.is_staff = user.is_superuser = False
    user.email_verified_at = None
    user.save()
    user.groups.clear()
    user.user_permissions.clear()
    return user


def _revoke(keys: QuerySet[ApiKey], *, actor: User) -> None:
    for key in keys.select_for_update().filter(revoked_at__isnull=True):
        key.revoked_at = clock.now()
        key.save(update_fields=["revoked_at"])
        record(
            "api_key.revoked", workspace_id=key.workspace_id, actor_id=actor.pk, target=("api_key", key.pk, str(key))
        )
