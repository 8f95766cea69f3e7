"""Workspaces: making, changing, suspending, and who belongs to them.

A key's rights are the intersection with its maker's: whoever leaves a workspace, or keeps a role that may not manage
keys, loses the keys they made there, in the same transaction.
"""

import zoneinfo

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.crypto import get_random_string
from django.utils.text import slugify

from accounts.models import ApiKey, FormerSlug, Membership, User, Workspace
from accounts.roles import Permission, Role, role_allows
from accounts.services.audit import record
from lumyx.lib import clock
from lumyx.lib.origin import current_origin

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


class TooManyWorkspacesError(Exception):
    """The person owns as many workspaces as one may."""


class WorkspaceIsClosingError(Exception):
    """The workspace is being deleted: take that back first."""


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
                return _create(name, slug=candidate, owner=owner)
        except IntegrityError as error:
            if slug is not None or not Workspace.objects.filter(slug=candidate).exists():
                raise WorkspaceExistsError(f"A workspace with the slug {candidate!r} exists already.") from error
        except WorkspaceExistsError:
            if slug is not None:
                raise
        candidate = f"{wanted}-{get_random_string(SUFFIX_LENGTH, SUFFIX_ALPHABET)}"
    raise WorkspaceExistsError(f"No free slug was found for {name!r} in {ATTEMPTS} attempts: choose another name.")


def _create(name: str, *, slug: str, owner: User) -> Workspace:
    workspace = Workspace.objects.create(slug=slug, name=name, owner=owner)
    release_former_slug(slug, taken_by=workspace)
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    origin = current_origin()
    # Who signs up is not signed in yet.
    signs_up = origin.kind == "user" and origin.actor_id is None
    record(
        "workspace.created",
        workspace_id=workspace.pk,
        target=("workspace", workspace.pk, slug),
        actor_id=owner.pk if signs_up else None,
    )
    return workspace


@transaction.atomic
def open_workspace(name: str, *, owner: User) -> Workspace:
    """Make another workspace for a person who asks for it.

    Raises TooManyWorkspacesError, InvalidWorkspaceNameError, WorkspaceExistsError.
    """
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)  # two at once are counted one after the other
    most = settings.LUMYX_WORKSPACES_PER_USER
    if Workspace.objects.filter(owner=owner, deleted_at__isnull=True).count() >= most:
        raise TooManyWorkspacesError(
            f"You own {most} workspaces, which is as many as one person may. Hand one over or delete one first."
        )
    return create_workspace(name, owner=owner)


def release_former_slug(slug: str, *, taken_by: Workspace) -> None:
    """Let a workspace take a slug that it had before, or that nobody holds any more; call it in the transaction that takes it.

    It is asked after the slug was written, so that a workspace which gave the slug up at the same moment is seen.

    Raises WorkspaceExistsError while it still leads to another workspace.
    """
    former = FormerSlug.objects.filter(slug=slug).first()
    if former is None:
        return
    if former.workspace_id != taken_by.pk and former.ends_at > clock.now():
        raise WorkspaceExistsError(
            f"The slug {slug!r} still leads to another workspace, until {former.ends_at:%Y-%m-%d}."
        )
    former.delete()


def suspend_workspace(workspace_id: int, *, reason: str = "") -> Workspace:
    """Stop a workspace: its keys are refused from the next admission on. Suspending twice keeps the first time.

    Raises WorkspaceNotFoundError.
    """
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        was_stopped = workspace.is_suspended and not workspace.suspended_for_deletion
        if workspace.suspended_at is None:
            workspace.suspended_at = clock.now()
        workspace.suspended_for_deletion = False
        workspace.suspension_reason = reason.strip()[:200]
        workspace.save(update_fields=["suspended_at", "suspension_reason", "suspended_for_deletion"])
        if not was_stopped:
            _record("workspace.suspended", workspace, {"reason": workspace.suspension_reason})
        return workspace


def resume_workspace(workspace_id: int) -> Workspace:
    """Let a suspended workspace work again; resuming one that works changes nothing.

    One that is being deleted stands still all the same, but no more by an operator's word.

    Raises WorkspaceNotFoundError; WorkspaceIsClosingError where nothing but its deletion stops it.
    """
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        if workspace.suspended_for_deletion:
            raise WorkspaceIsClosingError(f"{workspace.slug} is being deleted: take the deletion back first.")
        if workspace.suspended_at is None:
            return workspace
        workspace.suspension_reason = ""
        if workspace.is_closing:
            workspace.suspended_for_deletion = True
        else:
            workspace.suspended_at = None
        workspace.save(update_fields=["suspended_at", "suspension_reason", "suspended_for_deletion"])
        _record("workspace.resumed", workspace)
        return workspace


def locked_workspace(workspace_id: int) -> Workspace:
    """Return a workspace, locked for the transaction: changes of it and of its members come one after the other.

    Raises WorkspaceNotFoundError.
    """
    try:
        return Workspace.objects.select_for_update(no_key=True).get(pk=workspace_id)
    except Workspace.DoesNotExist as error:
        raise WorkspaceNotFoundError(f"There is no workspace with the id {workspace_id}.") from error


def _record(action: str, workspace: Workspace, details: dict[str, str] | None = None) -> None:
    record(action, workspace_id=workspace.pk, target=("workspace", workspace.pk, workspace.slug), details=details)


def is_time_zone(name: str) -> bool:
    """Tell whether this machine knows a time zone by a name."""
    return name == "UTC" or name in zoneinfo.available_timezones()


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
        who = ("user", user.pk, "")
        if current is None:
            record("member.joined", workspace_id=workspace.pk, target=who, details={"role": str(role)})
        elif current.role != role:
            change = {"from": str(current.role), "to": str(role)}
            record("member.role_changed", workspace_id=workspace.pk, target=who, details=change)
        return member


def remove_member(workspace: Workspace, *, user: User, action: str = "member.removed") -> None:
    """Take a person out, and revoke the keys they made here. Raises OwnerIsFixedError for the owner."""
    with transaction.atomic():
        member = Membership.objects.select_for_update().filter(workspace=workspace, user=user).first()
        if member is None:
            return
        if member.role == Role.OWNER:
            raise OwnerIsFixedError(f"{user.email} owns {workspace.slug} and cannot be removed from it.")
        member.delete()
        _revoke_keys_of(user, workspace=workspace)
        record(action, workspace_id=workspace.pk, target=("user", user.pk, ""), details={"role": str(member.role)})


def _revoke_keys_of(user: User, *, workspace: Workspace) -> None:
    ApiKey.objects.filter(workspace=workspace, created_by=user, revoked_at__isnull=True).update(revoked_at=clock.now())
