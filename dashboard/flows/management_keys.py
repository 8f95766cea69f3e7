"""What operators do to management keys, which they know by workspace slug and by prefix."""

import datetime as dt
from typing import TYPE_CHECKING

from accounts.selectors.management_keys import management_key_by_prefix
from accounts.selectors.users import user_by_email
from accounts.services.management_keys import (
    ManagementKeyNotFoundError,
    ManagementKeyPermissionError,
    NewManagementKey,
    create_management_key,
    revoke_management_key,
)
from dashboard.flows.workspaces import workspace_named

if TYPE_CHECKING:
    from accounts.models import ManagementKey


def issue_management_key(
    slug: str, *, name: str, maker_email: str | None, is_read_only: bool, expires_at: dt.datetime | None
) -> NewManagementKey:
    """Make a management key in the name of a member; without one, of the workspace's owner.

    Raises WorkspaceNotFoundError, ManagementKeyPermissionError, InvalidApiKeyOptionError.
    """
    workspace = workspace_named(slug)
    maker = workspace.owner if maker_email is None else user_by_email(maker_email)
    if maker is None:
        raise ManagementKeyPermissionError(f"There is no user {maker_email}.")
    return create_management_key(
        workspace=workspace, name=name, created_by=maker, is_read_only=is_read_only, expires_at=expires_at
    )


def revoke_by_prefix(prefix: str) -> "ManagementKey":
    """Revoke the management key with a prefix, whosever it is. Raises ManagementKeyNotFoundError."""
    key = management_key_by_prefix(prefix)
    if key is None:
        raise ManagementKeyNotFoundError(
            f"There is no management key with the prefix {prefix!r} (a prefix is lm- and 8 characters)."
        )
    revoked = revoke_management_key(workspace_id=key.workspace_id, prefix=prefix)
    revoked.workspace = key.workspace
    return revoked
