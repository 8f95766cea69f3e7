"""API keys: made, changed, switched off and on, revoked. The secret leaves this module once, in the answer of ``create_api_key``.

Every change is written to the audit log in its own transaction. Running processes hear of it within a second, and admission reads
the key's row itself.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from accounts.budgets import Budget
from accounts.models import ApiKey, Membership, User, Workspace
from accounts.roles import Permission, role_allows
from accounts.services import audit
from accounts.services.key_options import MODELS_MAX, OPTIONS, InvalidApiKeyOptionError, clean_options, option_in_words
from accounts.services.key_secrets import draw_secret
from lumyx.lib import clock, crypto

__all__ = [
    "MODELS_MAX",
    "ApiKeyNotFoundError",
    "ApiKeyStateError",
    "InvalidApiKeyOptionError",
    "KeyPermissionError",
    "NewApiKey",
    "check_maker",
    "create_api_key",
    "disable_api_key",
    "enable_api_key",
    "locked_key",
    "revoke_api_key",
    "told",
    "update_api_key",
]


class KeyPermissionError(Exception):
    """The maker's role does not let them manage keys in this workspace."""


class ApiKeyNotFoundError(LookupError):
    """The workspace has no such key."""


class ApiKeyStateError(Exception):
    """The key is in no state for that; the message says what to do instead."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key with a secret that was just made. ``secret`` is seen here and never again: show it once, never log it."""

    row: ApiKey
    secret: str = field(repr=False)


def create_api_key(
    *,
    workspace: Workspace,
    name: str,
    created_by: User | None = None,
    expires_at: dt.datetime | None = None,
    allowed_models: Iterable[str] = (),
    allowed_addresses: Iterable[str] = (),
    requests_per_minute: int = 0,
    budget: Budget | None = None,
    is_test: bool = False,
) -> NewApiKey:
    """Make an API key.

    Args:
        workspace: whose key it is.
        name: what people call it.
        created_by: its maker, whose rights bound the key's; None for an operator on the command line.
        expires_at: an aware time in the future; None: never.
        allowed_models: public ids that it may call, "provider/*" for all of a provider's; empty: all.
        allowed_addresses: networks in CIDR form that it may be used from; empty: all.
        requests_per_minute: a pace of its own; 0: none.
        budget: what it may spend in each period, in nano-USD; None: no budget.
        is_test: reaches sandbox models only, and costs nothing.

    Raises:
        InvalidApiKeyOptionError: an option cannot be used.
        KeyPermissionError: the maker may not manage keys in this workspace.
    """
    if created_by is not None:
        check_maker(created_by, workspace=workspace)
    options = clean_options(
        name=name,
        expires_at=expires_at,
        allowed_models=allowed_models,
        allowed_addresses=allowed_addresses,
        requests_per_minute=requests_per_minute,
        budget=budget,
    )

    def insert(columns: dict[str, Any]) -> ApiKey:
        row = ApiKey.objects.create(workspace=workspace, created_by=created_by, is_test=is_test, **columns, **options)
        row.refresh_from_db(fields=["version", "maker_is_barred", "maker_has_budget"])
        chosen = {option: option_in_words(option, value) for option, value in options.items() if value}
        audit.record("api_key.created", **told(row), details={"test": is_test, **chosen})
        return row

    return NewApiKey(*draw_secret(lambda: crypto.new_api_key(is_test=is_test), model=ApiKey, write=insert))


def check_maker(maker: User, *, workspace: Workspace) -> None:
    """Raise KeyPermissionError unless a person may manage keys in a workspace now."""
    role = Membership.objects.filter(workspace=workspace, user=maker).values_list("role", flat=True).first()
    if role is None:
        raise KeyPermissionError(f"{maker.email} is not a member of {workspace.slug}.")
    if not maker.is_active or not role_allows(role, Permission.MANAGE_KEYS):
        raise KeyPermissionError(f"The role {role} may not manage API keys. Ask an owner, admin or developer.")


@transaction.atomic
def update_api_key(
    *,
    workspace_id: int,
    prefix: str,
    name: str,
    expires_at: dt.datetime | None,
    allowed_models: Iterable[str],
    allowed_addresses: Iterable[str],
    requests_per_minute: int,
    budget: Budget | None,
) -> ApiKey:
    """Set all options of a key; what they mean is said at ``create_api_key``. What is used of its budget stays counted.

    Raises:
        ApiKeyNotFoundError: the workspace has no such key.
        ApiKeyStateError: it is revoked.
        InvalidApiKeyOptionError: an option cannot be used.
    """
    row = locked_key(workspace_id, prefix)
    if row.revoked_at is not None:
        raise ApiKeyStateError("This key is revoked: nothing of it can be changed. Make a new one.")
    options = clean_options(
        name=name,
        expires_at=expires_at,
        allowed_models=allowed_models,
        allowed_addresses=allowed_addresses,
        requests_per_minute=requests_per_minute,
        budget=budget,
        present=row,
    )
    changed = {option: getattr(row, option) for option in OPTIONS if getattr(row, option) != options[option]}
    if changed:
        for option in changed:
            setattr(row, option, options[option])
        row.save(update_fields=list(changed))
        details = {
            option: [option_in_words(option, old), option_in_words(option, options[option])]
            for option, old in changed.items()
        }
        audit.record("api_key.changed", **told(row), details=details)
    return row


@transaction.atomic
def disable_api_key(*, workspace_id: int, prefix: str) -> ApiKey:
    """Switch a key off until it is switched on again; twice keeps the first time. Raises as ``revoke_api_key``."""
    return _stamp(workspace_id, prefix, "disabled_at", clock.now(), "api_key.disabled")


@transaction.atomic
def enable_api_key(*, workspace_id: int, prefix: str) -> ApiKey:
    """Switch a key on; one that is on stays as it is. Raises as ``revoke_api_key``."""
    return _stamp(workspace_id, prefix, "disabled_at", None, "api_key.enabled")


@transaction.atomic
def revoke_api_key(*, workspace_id: int, prefix: str) -> ApiKey:
    """Revoke a key for good; revoking twice keeps the first time.

    Args:
        workspace_id: whose key it is.
        prefix: "lx-" (or "lx-test-") and 8 characters.

    Raises ApiKeyNotFoundError: the workspace has no such key.
    """
    return _stamp(workspace_id, prefix, "revoked_at", clock.now(), "api_key.revoked")


def _stamp(workspace_id: int, prefix: str, column: str, at: dt.datetime | None, action: str) -> ApiKey:
    row = locked_key(workspace_id, prefix)
    if (getattr(row, column) is None) != (at is None):
        setattr(row, column, at)
        row.save(update_fields=[column])
        audit.record(action, **told(row), details={"name": row.name})
    return row


def locked_key(workspace_id: int, prefix: str) -> ApiKey:
    """Return a key of a workspace, locked until the caller's transaction ends. Raises ApiKeyNotFoundError."""
    row = ApiKey.objects.select_for_update().filter(workspace_id=workspace_id, prefix=prefix).first()
    if row is None:
        raise ApiKeyNotFoundError(f"There is no API key that begins with {prefix!r}.")
    return row


def told(row: ApiKey) -> dict[str, Any]:
    """Return whose audit log a key's changes belong to, and how people know it."""
    return {"workspace_id": row.workspace_id, "target": ("api_key", row.pk, str(row))}
