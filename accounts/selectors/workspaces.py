"""Which workspaces a person belongs to, and workspaces by name."""

from django.db.models import QuerySet

from accounts.models import Membership, User, Workspace


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
    return (memberships if slug is None else memberships.filter(workspace__slug=slug)).first()


def members_of(workspace_id: int) -> QuerySet[Membership]:
    """Return a workspace's memberships with their people, oldest first."""
    return Membership.objects.filter(workspace_id=workspace_id).select_related("user").order_by("created_at", "pk")


def workspace_by_slug(slug: str) -> Workspace | None:
    """Return a workspace with its owner, for operators; pages ask ``membership_of`` instead."""
    return Workspace.objects.select_related("owner").filter(slug=slug).first()
