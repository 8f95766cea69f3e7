"""People: making them, and keeping ``User.email_verified_at`` in step with allauth's ``EmailAddress`` rows.

allauth decides when an address is proved; accounts.adapters and accounts.views call ``sync_email_verification`` after
everything of allauth's that can change it. Fails closed: without a verified row for the present address, it is unproved.
"""

import uuid

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts.models import ApiKey, ManagementKey, User
from accounts.services.audit import record
from accounts.services.workspaces import create_workspace
from lumyx.lib import clock

EMAIL_MAX_LENGTH = 254
NAME_MAX_LENGTH = 120


class InvalidEmailError(ValueError):
    """What was given is not an e-mail address."""


class InvalidNameError(ValueError):
    """A name that is too long, or has control characters."""


class EmailTakenError(Exception):
    """A user with this e-mail address exists already."""


def normalise_email(email: str) -> str:
    """Return the address as it is stored: trimmed, in lower case. Raises InvalidEmailError."""
    address = email.strip().lower()
    try:
        validate_email(address)
    except ValidationError as error:
        raise InvalidEmailError(f"{email!r} is not an e-mail address.") from error
    if len(address) > EMAIL_MAX_LENGTH:
        raise InvalidEmailError(f"An e-mail address has at most {EMAIL_MAX_LENGTH} characters.")
    return address


@transaction.atomic
def create_user(
    email: str,
    *,
    password: str | None = None,
    verified: bool = False,
    name: str = "",
    is_operator: bool = False,
) -> User:
    """Make a user and the ``EmailAddress`` row that allauth signs them in by. They get no workspace.

    Args:
        email: in any case; stored normalised.
        password: None: none works until one is set.
        verified: whether the address counts as proved (a user whom an operator made).
        name: what to call them.
        is_operator: a staff superuser, who may do everything in the admin.

    Raises:
        InvalidEmailError: not an address.
        EmailTakenError: somebody has it.
    """
    address = normalise_email(email)
    user = User(email=address, name=name.strip()[:120], is_staff=is_operator, is_superuser=is_operator)
    user.set_password(password)
    _save_new(user)
    EmailAddress.objects.create(user=user, email=address, primary=True, verified=verified)
    sync_email_verification(user)
    return user


@transaction.atomic
def register_user(user: User) -> User:
    """Save a user who signed up on the site, and give them a workspace of their own. allauth adds the address row.

    Raises EmailTakenError when somebody was quicker with the same address.
    """
    user.email = normalise_email(user.email)
    _save_new(user)
    create_workspace(user.name or user.email.split("@")[0], owner=user)
    return user


def rehearse_registration(*, password: str) -> None:
    """Do what a sign-up does, and leave nothing of it: for a taken address, so that its answer takes as long as a free one's.

    Else the difference, small as it is, decides on a busy machine which step of accounts.pacing an answer falls on.
    """
    with transaction.atomic():
        user = User(email=f"{uuid.uuid4()}@rehearsal.invalid")
        user.set_password(password)
        register_user(user)
        EmailAddress.objects.create(user=user, email=user.email, primary=True)
        transaction.set_rollback(True)


def _save_new(user: User) -> None:
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise EmailTakenError(f"A user with the e-mail address {user.email} exists already.") from error


def sync_email_verification(user: User) -> None:
    """Set ``email_verified_at`` from allauth's row of the user's present address; an unproved address has none."""
    verified = EmailAddress.objects.filter(user_id=user.pk, email__iexact=user.email, verified=True).exists()
    if verified == user.email_is_verified:
        return
    user.email_verified_at = clock.now() if verified else None
    user.save(update_fields=["email_verified_at"])


@transaction.atomic
def mark_email_verified(user: User) -> None:
    """Count the user's present address as proved, on an operator's word. Raises EmailTakenError if another proved it."""
    address, _ = EmailAddress.objects.get_or_create(
        user=user, email=user.email, defaults={"primary": not EmailAddress.objects.filter(user=user).exists()}
    )
    if not address.set_verified():
        raise EmailTakenError(f"Another user has proved that {user.email} is theirs.")
    sync_email_verification(user)


@transaction.atomic
def deactivate_user(user: User) -> None:
    """Shut a person out: no sign-in, and every API key and management key that they made is revoked."""
    user.is_active = False
    user.save(update_fields=["is_active"])
    for keys in (ApiKey, ManagementKey):
        keys.objects.filter(created_by=user, revoked_at__isnull=True).update(revoked_at=clock.now())


def set_password(user: User, *, password: str) -> None:
    """Give a user another password; their sessions end, because each is bound to the password it was opened with."""
    user.set_password(password)
    user.save(update_fields=["password"])


def activate_user(user: User) -> None:
    """Let a person sign in again. The keys they made stay revoked."""
    user.is_active = True
    user.save(update_fields=["is_active"])


def rename_user(user: User, *, name: str) -> User:
    """Give a person another name to be called by; empty is none. Raises InvalidNameError."""
    trimmed = name.strip()
    if len(trimmed) > NAME_MAX_LENGTH or not trimmed.isprintable():
        raise InvalidNameError(f"A name has up to {NAME_MAX_LENGTH} characters, all of them printable.")
    if trimmed != user.name:
        user.name = trimmed
        user.save(update_fields=["name"])
        record("account.renamed", workspace_id=None, actor_id=user.pk)
    return user
