"""A new secret for an API key that stays the same key: budget, limits and history go on. The old secret may work on for a while.

A key has two secrets at most: another rotation ends the one before the last at once.
"""

import datetime as dt
from typing import Any

from django.db import transaction

from accounts.models import ApiKey, User
from accounts.services import audit
from accounts.services.apikeys import (
    ApiKeyStateError,
    InvalidApiKeyOptionError,
    NewApiKey,
    check_maker,
    locked_key,
    told,
)
from accounts.services.key_secrets import draw_secret
from lumyx.lib import clock, crypto

OVERLAP_MAX = dt.timedelta(days=30)


@transaction.atomic
def rotate_api_key(*, workspace_id: int, prefix: str, overlap: dt.timedelta, by: User | None = None) -> NewApiKey:
    """Give a key a new secret, and with it a new prefix. The old secret works for ``overlap``, and not after.

    Whoever rotates it (``by``; None: an operator) sees the secret, so the key is theirs from then on: it counts on their
    budget, and ends with their rights.

    Raises:
        ApiKeyNotFoundError: the workspace has no such key.
        KeyPermissionError: ``by`` may not manage keys in this workspace.
        ApiKeyStateError: it is revoked, or its maker has no right to keys any more.
        InvalidApiKeyOptionError: the overlap is not between 0 and 30 days.
    """
    if not dt.timedelta() <= overlap <= OVERLAP_MAX:
        raise InvalidApiKeyOptionError("The old secret may work on for 0 minutes to 30 days.")
    row = locked_key(workspace_id, prefix)
    if by is not None:
        check_maker(by, workspace=row.workspace)
    if row.revoked_at is not None:
        raise ApiKeyStateError("This key is revoked for good. Make a new one.")
    if row.maker_is_barred:
        raise ApiKeyStateError(
            "Whoever made this key may not manage keys any more, so it does not work. Make a new one."
        )
    ends_at = clock.now() + overlap
    old_digest, old_prefix = row.digest, row.prefix

    def write(columns: dict[str, Any]) -> ApiKey:
        # Kept also without an overlap: who goes on using the old secret is told that it was rotated, and not that it is unknown.
        row.previous_digest, row.previous_prefix, row.previous_ends_at = old_digest, old_prefix, ends_at
        row.digest, row.prefix, row.last_four = columns["digest"], columns["prefix"], columns["last_four"]
        if by is not None:
            row.created_by = by
        fields = ["previous_digest", "previous_prefix", "previous_ends_at", "created_by", *columns]
        row.save(update_fields=fields)
        details = {"before": row.previous_prefix, "old_secret_ends_at": ends_at.isoformat()}
        audit.record("api_key.rotated", **told(row), details=details)
        return row

    return NewApiKey(*draw_secret(lambda: crypto.new_api_key(is_test=row.is_test), model=ApiKey, write=write))


@transaction.atomic
def end_old_secret(*, workspace_id: int, prefix: str) -> ApiKey:
    """End the overlap of the last rotation now; without one nothing changes. Raises ApiKeyNotFoundError."""
    row = locked_key(workspace_id, prefix)
    if row.overlap_ends_at is not None:
        row.previous_ends_at = clock.now()
        row.save(update_fields=["previous_ends_at"])
        details = {"before": row.previous_prefix, "old_secret_ends_at": row.previous_ends_at.isoformat()}
        audit.record("api_key.changed", **told(row), details=details)
    return row
