"""What operators do to API keys, which they know by workspace slug and by prefix."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from accounts.budgets import Budget
from accounts.selectors.apikeys import api_key_by_prefix, api_keys_of
from accounts.services.apikeys import (
    ApiKeyNotFoundError,
    NewApiKey,
    create_api_key,
    disable_api_key,
    enable_api_key,
    revoke_api_key,
)
from accounts.services.key_options import ALL_OF_PROVIDER
from accounts.services.rotation import rotate_api_key
from dashboard.flows.workspaces import workspace_named
from gateway.selectors.catalog import load_snapshot

if TYPE_CHECKING:
    from accounts.models import ApiKey


def issue_key(
    slug: str,
    *,
    name: str,
    allowed_models: Sequence[str] = (),
    allowed_addresses: Sequence[str] = (),
    requests_per_minute: int = 0,
    budget: Budget | None = None,
    expires_at: dt.datetime | None = None,
    is_test: bool = False,
) -> NewApiKey:
    """Make a key that has no maker but the operator. Raises WorkspaceNotFoundError, InvalidApiKeyOptionError."""
    return create_api_key(
        workspace=workspace_named(slug),
        name=name,
        allowed_models=allowed_models,
        allowed_addresses=allowed_addresses,
        requests_per_minute=requests_per_minute,
        budget=budget,
        expires_at=expires_at,
        is_test=is_test,
    )


def models_not_in_catalog(model_ids: Sequence[str]) -> list[str]:
    """Return those ids, and those of all of a provider's, that the catalog does not have now.

    A key may list a model before it is there, or misspell one.
    """
    if not model_ids:
        return []
    known = load_snapshot(with_credentials=False).models
    return [model_id for model_id in model_ids if not _is_known(model_id, known)]


def _is_known(model_id: str, known: Iterable[str]) -> bool:
    if model_id.endswith(ALL_OF_PROVIDER):
        return any(one.startswith(model_id[:-1]) for one in known)
    return model_id in known


def revoke_by_prefix(prefix: str) -> "ApiKey":
    """Revoke the key with a prefix, whosever it is. Raises ApiKeyNotFoundError."""
    key = _key_with(prefix)
    return _in(key, revoke_api_key(workspace_id=key.workspace_id, prefix=key.prefix))


def switch_by_prefix(prefix: str, *, on: bool) -> "ApiKey":
    """Switch the key with a prefix on or off. Raises ApiKeyNotFoundError."""
    key, switch = _key_with(prefix), enable_api_key if on else disable_api_key
    return _in(key, switch(workspace_id=key.workspace_id, prefix=key.prefix))


def rotate_by_prefix(prefix: str, *, overlap: dt.timedelta) -> NewApiKey:
    """Give the key with a prefix a new secret. Raises ApiKeyNotFoundError, ApiKeyStateError, InvalidApiKeyOptionError."""
    key = _key_with(prefix)
    made = rotate_api_key(workspace_id=key.workspace_id, prefix=key.prefix, overlap=overlap)
    _in(key, made.row)
    return made


def keys_of(slug: str) -> "list[ApiKey]":
    """Return a workspace's keys, newest first. Raises WorkspaceNotFoundError."""
    return list(api_keys_of(workspace_named(slug).pk))


def _key_with(prefix: str) -> "ApiKey":
    key = api_key_by_prefix(prefix)
    if key is None:
        raise ApiKeyNotFoundError(
            f"There is no API key with the prefix {prefix!r} (a prefix is lx- or lx-test- and 8 characters)."
        )
    return key


def _in(key: "ApiKey", changed: "ApiKey") -> "ApiKey":
    changed.workspace = key.workspace
    return changed
