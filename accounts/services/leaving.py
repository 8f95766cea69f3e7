"""Leaving for good: a person goes from every workspace, and their account becomes nobody's.

The ledger, usage and the audit log stay; they name people by ids, which lead to no name and no address any more.
"""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.db import transaction

from accounts.models import ApiKey, ManagementKey, Membership, User, Workspace
from accounts.roles import Role
from accounts.selectors.audit import DELETED
from accounts.services.apikeys import revoke_api_key
from accounts.services.audit import record
from accounts.services.management_keys import revoke_management_key
from accounts.services.members import leave
from accounts.services.workspaces import OwnerIsFixedError


@transaction.atomic
def revoke_keys_of(user: User) -> None:
    """Revoke the API keys and management keys that a person made anywhere."""
    for key in ApiKey.objects.filter(created_by=user, revoked_at__isnull=True):
        revoke_api_key(workspace_id=key.workspace_id, prefix=key.prefix)
    for management_key in ManagementKey.objects.filter(created_by=user, revoked_at__isnull=True):
        revoke_management_key(workspace_id=management_key.workspace_id, prefix=management_key.prefix)


@transaction.atomic
def leave_workspaces(user: User) -> None:
    """Take a person out of every workspace that is not theirs."""
    for membership in Membership.objects.filter(user=user).exclude(role=Role.OWNER):
        leave(membership.workspace_id, user=user)


@transaction.atomic
def anonymise(user: User) -> User:
    """Make an account nobody's: no name, no address, no way to sign in, no session. Raises OwnerIsFixedError, see below.

    Every workspace that the person owned has to have another owner or to be deleted before.
    """
    user = User.objects.select_for_update().get(pk=user.pk)
    if Workspace.objects.filter(owner=user, deleted_at__isnull=True).exists():
        raise OwnerIsFixedError("A workspace of this person is not deleted: delete it, or give it another owner.")
    record("account.deleted", workspace_id=None, actor_id=user.pk)
    for rows in (EmailAddress.objects, Authenticator.objects, SocialAccount.objects):
        rows.filter(user_id=user.pk).delete()
    for session in UserSession.objects.filter(user_id=user.pk):
        session.end()
    # ".invalid" is reserved: no mail leads there, and nobody can prove it.
    user.email, user.name = f"deleted-{user.pk}@deleted.invalid", DELETED
    user.set_unusable_password()
    user.is_active = user.is_staff = user.is_superuser = False
    user.email_verified_at = None
    user.save()
    user.groups.clear()
    user.user_permissions.clear()
    return user
