"""API keys: making and revoking them. The secret leaves this module once, in the answer of ``create_api_key``."""

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.roles import Permission, role_allows
from lumyx.lib import clock, crypto

NAME_MAX_LENGTH = 80
#: How a model's public id looks (the catalog has the same rule), and how many a key may list.
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
MODELS_MAX = 100
ATTEMPTS = 5


class InvalidApiKeyOptionError(ValueError):
    """A name, expiry or list of models that a key cannot have; the message says what it may be."""


class KeyPermissionError(Exception):
    """The maker's role does not let them manage keys in this workspace."""


class ApiKeyNotFoundError(LookupError):
    """The workspace has no such key."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made. ``secret`` is seen here and never again: show it once, never log it."""

    row: ApiKey
    secret: str = field(repr=False)


def create_api_key(
    *,
    workspace: Workspace,
    name: str,
    created_by: User | None = None,
    expires_at: dt.datetime | None = None,
    allowed_models: Iterable[str] = (),
    is_test: bool = False,
) -> NewApiKey:
    """Make an API key.

    Args:
        workspace: whose key it is.
        name: what people call it.
        created_by: its maker, whose rights bound the key's; None for an operator on the command line.
        expires_at: an aware time in the future; None: never.
        allowed_models: public ids that it may call; empty: all.
        is_test: reaches sandbox models only.

    Raises:
        InvalidApiKeyOptionError: name, expiry or models cannot be used.
        KeyPermissionError: the maker may not manage keys in this workspace.
    """
    if created_by is not None:
        _check_maker(created_by, workspace=workspace)
    values = {
        "workspace": workspace,
        "name": _clean_name(name),
        "created_by": created_by,
        "expires_at": _clean_expiry(expires_at),
        "allowed_models": _clean_models(allowed_models),
        "is_test": is_test,
    }
    # The prefix is unique so that it can name the key: 62^8 of them, so a second attempt is all but unheard of.
    for _ in range(ATTEMPTS):
        secret = crypto.new_api_key()
        prefix = secret[: crypto.SHOWN_PREFIX_LENGTH]
        digest = crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER)
        try:
            with transaction.atomic():
                row = ApiKey.objects.create(digest=digest, prefix=prefix, last_four=secret[-4:], **values)
                return NewApiKey(row=row, secret=secret)
        except IntegrityError:
            if not ApiKey.objects.filter(prefix=prefix).exists():
                raise
    raise RuntimeError(f"No unused key prefix was found in {ATTEMPTS} attempts: the random source is broken.")


def _check_maker(maker: User, *, workspace: Workspace) -> None:
    role = Membership.objects.filter(workspace=workspace, user=maker).values_list("role", flat=True).first()
    if role is None:
        raise KeyPermissionError(f"{maker.email} is not a member of {workspace.slug}.")
    if not maker.is_active or not role_allows(role, Permission.MANAGE_KEYS):
        raise KeyPermissionError(f"The role {role} may not manage API keys. Ask an owner, admin or developer.")


def _clean_name(name: str) -> str:
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_MAX_LENGTH or not trimmed.isprintable():
        raise InvalidApiKeyOptionError(f"A key's name has 1 to {NAME_MAX_LENGTH} characters, all of them printable.")
    return trimmed


def _clean_expiry(expires_at: dt.datetime | None) -> dt.datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise InvalidApiKeyOptionError("The expiry needs a time zone, for example 2030-01-31T00:00:00Z.")
    if expires_at <= clock.now():
        raise InvalidApiKeyOptionError(f"The expiry {expires_at.isoformat()} is in the past.")
    try:
        return clock.in_utc(expires_at)
    except ValueError as error:
        raise InvalidApiKeyOptionError(f"The expiry cannot be kept: {error}") from error


def _clean_models(models: Iterable[str]) -> list[str]:
    cleaned = list(dict.fromkeys(model.strip() for model in models))
    for model in cleaned:
        if not MODEL_ID.fullmatch(model):
            raise InvalidApiKeyOptionError(f"{model!r} cannot be a model's id.")
    if len(cleaned) > MODELS_MAX:
        raise InvalidApiKeyOptionError(f"A key may list at most {MODELS_MAX} models; leave the list empty for all.")
    return cleaned


def revoke_api_key(*, workspace_id: int, prefix: str) -> ApiKey:
    """Revoke a key for good; revoking twice keeps the first time.

    Args:
        workspace_id: whose key it is.
        prefix: "lx-" and 8 characters.

    Raises ApiKeyNotFoundError: the workspace has no such key.
    """
    with transaction.atomic():
        row = ApiKey.objects.select_for_update().filter(workspace_id=workspace_id, prefix=prefix).first()
        if row is None:
            raise ApiKeyNotFoundError(f"There is no API key that begins with {prefix!r}.")
        if row.revoked_at is None:
            row.revoked_at = clock.now()
            row.save(update_fields=["revoked_at"])
        return row
