"""Changes of an API key after it was made: what it is called, when it ends, which models it may call."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.db import transaction

from accounts.models import ApiKey
from accounts.services import apikeys
from accounts.services.apikeys import ApiKeyNotFoundError

UNCHANGED: Any = object()


class ApiKeyIsRevokedError(Exception):
    """A revoked key stays as it is."""


@transaction.atomic
def change_api_key(
    *,
    workspace_id: int,
    prefix: str,
    name: str = UNCHANGED,
    expires_at: dt.datetime | None = UNCHANGED,
    allowed_models: Iterable[str] = UNCHANGED,
) -> tuple[ApiKey, list[str]]:
    """Change what is given, and return the key with the names of what is other than before.

    Args:
        workspace_id: whose key it is.
        prefix: "lx-" and 8 characters.
        name: what people call it.
        expires_at: an aware time in the future; None: never.
        allowed_models: public ids that it may call; empty: all.

    Raises:
        ApiKeyNotFoundError, ApiKeyIsRevokedError, InvalidApiKeyOptionError.
    """
    row = ApiKey.objects.select_for_update().filter(workspace_id=workspace_id, prefix=prefix).first()
    if row is None:
        raise ApiKeyNotFoundError(f"There is no API key that begins with {prefix!r}.")
    if row.revoked_at is not None:
        raise ApiKeyIsRevokedError("This key is revoked: nothing of it can be changed. Make a new one.")
    values: dict[str, Any] = {}
    if name is not UNCHANGED:
        values["name"] = apikeys._clean_name(name)
    # An expiry that is there already may stay, though it is past.
    if expires_at is not UNCHANGED and expires_at != row.expires_at:
        values["expires_at"] = apikeys._clean_expiry(expires_at)
    if allowed_models is not UNCHANGED:
        values["allowed_models"] = apikeys._clean_models(allowed_models)
    changed = [field for field, value in values.items() if getattr(row, field) != value]
    for field in changed:
        setattr(row, field, values[field])
    if changed:
        row.save(update_fields=changed)
    return row, changed
