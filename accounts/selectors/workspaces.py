"""Which workspaces a person belongs to, and workspaces by name."""

import datetime as dt

from django.db.models import Q, QuerySet

from accounts.models import Membership, User, Workspace
from lumyx.lib import clock


def memberships_of(user: User) -> QuerySet[Membership]:
    """Return the user's memberships with their workspaces, oldest first: the first is where they land."""
    return Membership.objects.filter(user=user).select_related("workspace").order_by("created_at", "pk")


def workspaces_of(user: User) -> list[Workspace]:
    """Return the workspaces that the user is a member of, in the order of their memberships."""
    return [membership.workspace for membership in memberships_of(user)]


def membership_of(user: User, *, slug: str | None = None) -> Membership | None:
    """Return the user's membership in a workspace (without a slug: their first), or None: then it is not theirs to see."""
    memberships = memberships_of(user)
    if slug is not None and "\0" in slug:  # PostgreSQL refuses to compare it
        return None
    if slug is None:
        return memberships.first()
    return (
        memberships.filter(workspace__slug=slug).first() or memberships.filter(_was_called(slug, "workspace__")).first()
    )


def membership_by_id(workspace_id: int, membership_id: int) -> Membership | None:
    """Return a workspace's member, or None: it has no such one."""
    return members_of(workspace_id).filter(pk=membership_id).first()


def members_of(workspace_id: int) -> QuerySet[Membership]:
    """Return a workspace's memberships with their people, oldest first."""
    return Membership.objects.filter(workspace_id=workspace_id).select_related("user").order_by("created_at", "pk")


def workspace_by_slug(slug: str) -> Workspace | None:
    """Return a workspace with its owner, for operators, also by a slug that it had until lately; pages ask ``membership_of``."""
    found = Workspace.objects.select_related("owner")
    return found.filter(slug=slug).first() or found.filter(_was_called(slug)).first()


def workspaces_to_delete(now: dt.datetime) -> list[int]:
    """Return the ids of workspaces whose time of grace is over and that are not deleted yet."""
    due = Workspace.objects.filter(deletion_due_at__lte=now, deleted_at__isnull=True)
    return list(due.order_by("deletion_due_at", "pk").values_list("pk", flat=True))


def _was_called(slug: str, path: str = "") -> Q:
    """Return the condition that a workspace had a slug until lately."""
    return Q(**{f"{path}former_slugs__slug": slug, f"{path}former_slugs__ends_at__gt": clock.now()})
