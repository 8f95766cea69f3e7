"""What operators do to API keys, which they know by workspace slug and by prefix."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from accounts.selectors.apikeys import api_key_by_prefix
from accounts.services.apikeys import ApiKeyNotFoundError, NewApiKey, create_api_key, revoke_api_key
from dashboard.flows.workspaces import workspace_named
from gateway.selectors.catalog import load_snapshot

if TYPE_CHECKING:
    from accounts.models import ApiKey


def issue_key(
    slug: str,
    *,
    name: str,
    allowed_models: Sequence[str] = (),
    expires_at: dt.datetime | None = None,
    is_test: bool = False,
) -> NewApiKey:
    """Make a key that has no maker but the operator. Raises WorkspaceNotFoundError, InvalidApiKeyOptionError."""
    return create_api_key(
        workspace=workspace_named(slug),
        name=name,
        allowed_models=allowed_models,
        expires_at=expires_at,
        is_test=is_test,
    )


def models_not_in_catalog(model_ids: Sequence[str]) -> list[str]:
    """Return those ids that the catalog does not have now: a key may list a model before it is there, or misspell one."""
    if not model_ids:
        return []
    known = load_snapshot(with_credentials=False).models
    return [model_id for model_id in model_ids if model_id not in known]


def revoke_by_prefix(prefix: str) -> "ApiKey":
    """Revoke the key with a prefix, whosever it is. Raises ApiKeyNotFoundError."""
    key = api_key_by_prefix(prefix)
    if key is None:
        raise ApiKeyNotFoundError(f"There is no API key with the prefix {prefix!r} (a prefix is lx- and 8 characters).")
    revoked = revoke_api_key(workspace_id=key.workspace_id, prefix=prefix)
    revoked.workspace = key.workspace
    return revoked
