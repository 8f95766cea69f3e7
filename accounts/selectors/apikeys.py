"""API keys as pages and operators list them."""

from django.db.models import QuerySet

from accounts.models import ApiKey


def api_keys_of(workspace_id: int) -> QuerySet[ApiKey]:
    """Return a workspace's keys with their makers, newest first; ``state`` of each says whether it works."""
    return ApiKey.objects.filter(workspace_id=workspace_id).select_related("created_by").order_by("-created_at", "-pk")


def api_key_of(workspace_id: int, api_key_id: int) -> ApiKey | None:
    """Return a workspace's key by its id."""
    return ApiKey.objects.filter(workspace_id=workspace_id, pk=api_key_id).first()


def api_key_by_prefix(prefix: str) -> ApiKey | None:
    """Return a key with its workspace, for operators; pages revoke by workspace and prefix."""
    return ApiKey.objects.select_related("workspace").filter(prefix=prefix).first()


def api_key_names_of(workspace_id: int) -> dict[int, str]:
    """Return the names of a workspace's keys by their ids, for lists of requests."""
    return dict(ApiKey.objects.filter(workspace_id=workspace_id).values_list("pk", "name"))
