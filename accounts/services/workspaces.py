"""Workspaces: making, suspending, and who belongs to them.

A key's rights are the intersection with its maker's: whoever leaves a workspace, or keeps a role that may not manage
keys, loses the keys they made there, in the same transaction.
"""

from django.db import IntegrityError, transaction
from django.utils.crypto import get_random_string
from django.utils.text import slugify

from accounts.models import ApiKey, Membership, User, Workspace
from accounts.roles import Permission, Role, role_allows
from lumyx.lib import clock

SLUG_MAX_LENGTH = 60
NAME_MAX_LENGTH = 120
#: Random characters after a name that is taken: 32^4 choices, tried anew on a collision.
SUFFIX_ALPHABET, SUFFIX_LENGTH, ATTEMPTS = "abcdefghijkmnpqrstuvwxyz23456789", 4, 8


class InvalidWorkspaceNameError(ValueError):
    """A name that is empty, too long, or has control characters."""


class WorkspaceExistsError(Exception):
    """The slug that was asked for is taken."""


class WorkspaceNotFoundError(LookupError):
    """There is no such workspace."""


class OwnerIsFixedError(Exception):
    """A workspace has exactly one owner: they can neither be removed nor given another role."""


def clean_name(name: str) -> str:
    """Return a workspace's name, trimmed. Raises InvalidWorkspaceNameError."""
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_MAX_LENGTH or not trimmed.isprintable():
        raise InvalidWorkspaceNameError(
            f"A workspace's name has 1 to {NAME_MAX_LENGTH} characters, all of them printable."
        )
    return trimmed


def slug_of(name: str) -> str:
    """Return the slug that a name asks for; names without a Latin letter or digit all ask for "workspace"."""
    return slugify(name)[: SLUG_MAX_LENGTH - SUFFIX_LENGTH - 1].strip("-_") or "workspace"


def create_workspace(name: str, *, owner: User, slug: str | None = None) -> Workspace:
    """Make a workspace with its owner as first member.

    Args:
        name: what people call it; the slug is made from it, with a random ending if it is taken.
        owner: the member with role owner.
        slug: exactly this slug, or an error.

    Raises:
        InvalidWorkspaceNameError: the name cannot be used.
        WorkspaceExistsError: the slug that was asked for is taken.
    """
    name = clean_name(name)
    wanted = slug or slug_of(name)
    candidate = wanted
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                workspace = Workspace.objects.create(slug=candidate, name=name, owner=owner)
                Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
                return workspace
        except IntegrityError as error:
            if slug is not None or not Workspace.objects.filter(slug=candidate).exists():
                raise WorkspaceExistsError(f"A workspace with the slug {candidate!r} exists already.") from error
        candidate = f"{wanted}-{get_random_string(SUFFIX_LENGTH, SUFFIX_ALPHABET)}"
    raise WorkspaceExistsError(f"No free slug was found for {name!r} in {ATTEMPTS} attempts: choose another name.")


def suspend_workspace(workspace_id: int, *, reason: str = "") -> Workspace:
    """Stop a workspace: its keys are refused from the next admission on. Suspending twice keeps the first time.

    Raises WorkspaceNotFoundError.
    """
    with transaction.atomic():
        workspace = _locked(workspace_id)
        if workspace.suspended_at is None:
            workspace.suspended_at = clock.now()
        workspace.suspension_reason = reason.strip()[:200]
        workspace.save(update_fields=["suspended_at", "suspension_reason"])
        return workspace


def resume_workspace(workspace_id: int) -> Workspace:
    """Let a suspended workspace work again; resuming one that works changes nothing. Raises WorkspaceNotFoundError."""
    with transaction.atomic():
        workspace = _locked(workspace_id)
        workspace.suspended_at, workspace.suspension_reason = None, ""
        workspace.save(update_fields=["suspended_at", "suspension_reason"])
        return workspace


def _locked(workspace_id: int) -> Workspace:
    try:
        return Workspace.objects.select_for_update().get(pk=workspace_id)
    except Workspace.DoesNotExist as error:
        raise WorkspaceNotFoundError(f"There is no workspace with the id {workspace_id}.") from error


def set_member(workspace: Workspace, *, user: User, role: Role) -> Membership:
    """Add a person, or change their role. A role that may not manage keys revokes the keys they made here.

    Raises OwnerIsFixedError when it would make, or unmake, an owner.
    """
    with transaction.atomic():
        current = Membership.objects.select_for_update().filter(workspace=workspace, user=user).first()
        if role == Role.OWNER or (current is not None and current.role == Role.OWNER):
            raise OwnerIsFixedError(f"{workspace.slug} has exactly one owner; their role cannot be given or taken.")
        member, _ = Membership.objects.update_or_create(workspace=workspace, user=user, defaults={"role": role})
        if not role_allows(role, Permission.MANAGE_KEYS):
            _revoke_keys_of(user, workspace=workspace)
        return member


def remove_member(workspace: Workspace, *, user: User) -> None:
    """Take a person out, and revoke the keys they made here. Raises OwnerIsFixedError for the owner."""
    with transaction.atomic():
        member = Membership.objects.select_for_update().filter(workspace=workspace, user=user).first()
        if member is None:
            return
        if member.role == Role.OWNER:
            raise OwnerIsFixedError(f"{user.email} owns {workspace.slug} and cannot be removed from it.")
        member.delete()
        _revoke_keys_of(user, workspace=workspace)


def _revoke_keys_of(user: User, *, workspace: Workspace) -> None:
    ApiKey.objects.filter(workspace=workspace, created_by=user, revoked_at__isnull=True).update(revoked_at=clock.now())
