"""What people change about a workspace: its name, its slug and its time zone."""

import datetime as dt

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.models import FormerSlug, Workspace
from accounts.services.audit import record
from accounts.services.workspaces import (
    SLUG_MAX_LENGTH,
    WorkspaceExistsError,
    clean_name,
    is_time_zone,
    locked_workspace,
    release_former_slug,
)
from lumyx.lib import clock

#: So long a slug that was given up still leads to its workspace, and is nobody else's.
SLUG_KEPT = dt.timedelta(days=30)
SLUG_MIN_LENGTH = 3


class InvalidSlugError(ValueError):
    """A slug that cannot be used; the message says what it may be."""


class UnknownTimeZoneError(ValueError):
    """There is no such time zone here."""


def clean_slug(slug: str) -> str:
    """Return a slug as it is stored. Raises InvalidSlugError."""
    trimmed = slug.strip().lower()
    if not SLUG_MIN_LENGTH <= len(trimmed) <= SLUG_MAX_LENGTH or slugify(trimmed).strip("_") != trimmed:
        raise InvalidSlugError(
            f"A slug has {SLUG_MIN_LENGTH} to {SLUG_MAX_LENGTH} characters: a to z, digits, and single hyphens between them."
        )
    return trimmed


def change_workspace(
    workspace_id: int, *, name: str | None = None, slug: str | None = None, time_zone: str | None = None
) -> Workspace:
    """Change what is given. The slug before leads here for another 30 days.

    Args:
        workspace_id: which.
        name: what people call it.
        slug: what operators and sessions call it; nobody else's now, nor within its 30 days.
        time_zone: an IANA name ("Europe/Berlin").

    Raises:
        WorkspaceNotFoundError, InvalidWorkspaceNameError, InvalidSlugError, UnknownTimeZoneError, WorkspaceExistsError.
    """
    wanted = {
        "name": None if name is None else clean_name(name),
        "slug": None if slug is None else clean_slug(slug),
        "time_zone": time_zone,
    }
    if time_zone is not None and not is_time_zone(time_zone):
        raise UnknownTimeZoneError(f"There is no time zone {time_zone!r}. Choose one from the list.")
    with transaction.atomic():
        workspace = locked_workspace(workspace_id)
        before = {key: getattr(workspace, key) for key in wanted}
        changed = {key: value for key, value in wanted.items() if value is not None and value != before[key]}
        if not changed:
            return workspace
        for key, value in changed.items():
            setattr(workspace, key, value)
        _save(workspace, list(changed))
        if "slug" in changed:
            release_former_slug(workspace.slug, taken_by=workspace)
            FormerSlug.objects.update_or_create(
                slug=before["slug"], defaults={"workspace": workspace, "ends_at": clock.now() + SLUG_KEPT}
            )
        record(
            "workspace.changed",
            workspace_id=workspace.pk,
            target=("workspace", workspace.pk, workspace.slug),
            details={key: [str(before[key]), str(value)] for key, value in changed.items()},
        )
        return workspace


def _save(workspace: Workspace, fields: list[str]) -> None:
    try:
        with transaction.atomic():
            workspace.save(update_fields=fields)
    except IntegrityError as error:
        raise WorkspaceExistsError(f"Another workspace has the slug {workspace.slug!r}. Choose another one.") from error
