"""Management keys as pages list them, and who presents one."""

from dataclasses import dataclass

from django.db.models import OuterRef, QuerySet, Subquery

from accounts.models import ManagementKey, Membership


@dataclass(frozen=True, slots=True)
class Bearer:
    """A management key with its workspace, and its maker's role there now; empty: it has no maker any more."""

    key: ManagementKey
    role: str


def management_keys_of(workspace_id: int) -> QuerySet[ManagementKey]:
    """Return a workspace's management keys with their makers, newest first."""
    rows = ManagementKey.objects.filter(workspace_id=workspace_id)
    return rows.select_related("created_by").order_by("-created_at", "-pk")


def management_key_by_prefix(prefix: str) -> ManagementKey | None:
    """Return a key with its workspace, for operators; pages revoke by workspace and prefix."""
    return ManagementKey.objects.select_related("workspace").filter(prefix=prefix).first()


def management_key_names_of(workspace_id: int) -> dict[int, str]:
    """Return the names of a workspace's management keys by their ids."""
    return dict(ManagementKey.objects.filter(workspace_id=workspace_id).values_list("pk", "name"))


def bearer_of(digest: bytes) -> Bearer | None:
    """Return who presents the key with this digest, or None for a key that does not exist. One query.

    A membership that began after the key does not count: whoever left and came back makes a new key.
    """
    role = Membership.objects.filter(
        workspace_id=OuterRef("workspace_id"),
        user_id=OuterRef("created_by_id"),
        user__is_active=True,
        created_at__lte=OuterRef("created_at"),
    ).values("role")[:1]
    row = (
        ManagementKey.objects.select_related("workspace", "workspace__owner", "created_by")
        .annotate(maker_role=Subquery(role))
        .filter(digest=digest)
        .first()
    )
    return None if row is None else Bearer(key=row, role=row.maker_role or "")
