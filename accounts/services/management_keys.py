"""Management keys: making, revoking, noting their use. The secret leaves this module once, in the answer of the maker."""

import datetime as dt
from dataclasses import dataclass, field

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import ManagementKey, Membership, User, Workspace
from accounts.roles import Permission, role_allows
from accounts.services import audit
from lumyx.lib import clock, crypto

NAME_MAX_LENGTH = 80
#: "lm-" and 8 characters of the secret: unique, and safe to show.
SHOWN_LENGTH = 11
ATTEMPTS = 5
#: A newer time of use replaces the stored one only when it is later by this much.
GRANULARITY = dt.timedelta(minutes=1)


class InvalidManagementKeyError(ValueError):
    """A name or expiry that a key cannot have; the message says what it may be."""


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
        InvalidManagementKeyError: name or expiry cannot be used.
        ManagementKeyPermissionError: the maker is no owner or admin of this workspace.
    """
    _check_maker(created_by, workspace=workspace)
    name, expires_at = _clean_name(name), _clean_expiry(expires_at)
    # The prefix is unique so that it can name the key: 62^8 of them, so a second attempt is all but unheard of.
    for _ in range(ATTEMPTS):
        secret = crypto.new_management_key()
        prefix = secret[:SHOWN_LENGTH]
        try:
            with transaction.atomic():
                row = ManagementKey.objects.create(
                    workspace=workspace,
                    created_by=created_by,
                    name=name,
                    digest=crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER),
                    prefix=prefix,
                    last_four=secret[-4:],
                    is_read_only=is_read_only,
                    expires_at=expires_at,
                )
        except IntegrityError:
            if not ManagementKey.objects.filter(prefix=prefix).exists():
                raise
            continue
        _record("management_key.created", row)
        return NewManagementKey(row=row, secret=secret)
    raise RuntimeError(f"No unused key prefix was found in {ATTEMPTS} attempts: the random source is broken.")


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


def _clean_name(name: str) -> str:
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_MAX_LENGTH or not trimmed.isprintable():
        raise InvalidManagementKeyError(f"A key's name has 1 to {NAME_MAX_LENGTH} characters, all of them printable.")
    return trimmed


def _clean_expiry(expires_at: dt.datetime | None) -> dt.datetime | None:
    if expires_at is None:
        return None
    try:
        expires_at = clock.in_utc(expires_at)
    except ValueError as error:
        raise InvalidManagementKeyError(f"The expiry cannot be kept: {error}") from error
    if expires_at <= clock.now():
        raise InvalidManagementKeyError(f"The expiry {expires_at.isoformat()} is in the past.")
    return expires_at


def _record(action: str, row: ManagementKey) -> None:
    audit.record(
        action,
        workspace_id=row.workspace_id,
        target=("management_key", row.pk, str(row)),
        details={"name": row.name, "read_only": row.is_read_only},
    )
