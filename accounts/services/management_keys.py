"""Management keys: making, revoking, noting their use. The secret leaves this module once, in the answer of the maker."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts.models import ManagementKey, Membership, User, Workspace
from accounts.roles import Permission, role_allows
from accounts.services import audit
from accounts.services.key_options import clean_expiry, clean_name
from accounts.services.key_secrets import draw_secret
from lumyx.lib import clock, crypto

#: A newer time of use replaces the stored one only when it is later by this much.
GRANULARITY = dt.timedelta(minutes=1)


class ManagementKeyPermissionError(Exception):
    """The maker's role does not let them make management keys in this workspace."""


class ManagementKeyNotFoundError(LookupError):
    """The workspace has no such management key."""


@dataclass(frozen=True, slots=True)
class NewManagementKey:
    """A key that was just made. ``secret`` is seen here and never again: show it once, never log it."""

    row: ManagementKey
    secret: str = field(repr=False)


@transaction.atomic
def create_management_key(
    *,
    workspace: Workspace,
    name: str,
    created_by: User,
    is_read_only: bool = True,
    expires_at: dt.datetime | None = None,
) -> NewManagementKey:
    """Make a management key.

    Args:
        workspace: what it manages.
        name: what people call it.
        created_by: its maker, an owner or admin; it may never do more than they may at that time.
        is_read_only: it reads and changes nothing.
        expires_at: an aware time in the future; None: never.

    Raises:
        InvalidApiKeyOptionError: name or expiry cannot be used.
        ManagementKeyPermissionError: the maker is no owner or admin of this workspace.
    """
    _check_maker(created_by, workspace=workspace)
    name, expires_at = clean_name(name), clean_expiry(expires_at)

    def insert(columns: dict[str, Any]) -> ManagementKey:
        return ManagementKey.objects.create(
            workspace=workspace,
            created_by=created_by,
            name=name,
            is_read_only=is_read_only,
            expires_at=expires_at,
            **columns,
        )

    new = NewManagementKey(*draw_secret(crypto.new_management_key, model=ManagementKey, write=insert))
    _record("management_key.created", new.row)
    return new


@transaction.atomic
def revoke_management_key(*, workspace_id: int, prefix: str) -> ManagementKey:
    """Revoke a key for good; revoking twice keeps the first time.

    Args:
        workspace_id: whose key it is.
        prefix: "lm-" and 8 characters.

    Raises ManagementKeyNotFoundError.
    """
    row = ManagementKey.objects.select_for_update().filter(workspace_id=workspace_id, prefix=prefix).first()
    if row is None:
        raise ManagementKeyNotFoundError(f"There is no management key that begins with {prefix!r}.")
    if row.revoked_at is None:
        row.revoked_at = clock.now()
        row.save(update_fields=["revoked_at"])
        _record("management_key.revoked", row)
    return row


def note_management_key_use(row: ManagementKey) -> None:
    """Move ``last_used_at`` forward, at most once a minute."""
    now = clock.now()
    due = now - GRANULARITY
    if row.last_used_at is None or row.last_used_at <= due:
        is_due = Q(last_used_at=None) | Q(last_used_at__lte=due)
        ManagementKey.objects.filter(is_due, pk=row.pk).update(last_used_at=now)


def _check_maker(maker: User, *, workspace: Workspace) -> None:
    role = Membership.objects.filter(workspace=workspace, user=maker).values_list("role", flat=True).first()
    if role is None:
        raise ManagementKeyPermissionError(f"{maker.email} is not a member of {workspace.slug}.")
    if not maker.is_active or not role_allows(role, Permission.MANAGE_MEMBERS):
        raise ManagementKeyPermissionError(f"The role {role} may not make management keys. Ask an owner or admin.")


def _record(action: str, row: ManagementKey) -> None:
    audit.record(
        action,
        workspace_id=row.workspace_id,
        target=("management_key", row.pk, str(row)),
        details={"name": row.name, "read_only": row.is_read_only},
    )
