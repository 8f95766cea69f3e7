"""A workspace's audit log as the management API reads it: newest first, by cursor."""

import datetime as dt

from accounts.models import AuditEntry


def audit_entries(
    workspace_id: int,
    *,
    limit: int,
    before: int | None = None,
    action: str | None = None,
    actor_kind: str | None = None,
    actor_id: int | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> list[AuditEntry]:
    """Return a workspace's newest ``limit`` lines; ``before`` (a line's id) turns the page.

    ``action`` is a whole one ("api_key.created") or a group ("api_key"); ``since`` is included, ``until`` is not.
    """
    rows = AuditEntry.objects.filter(workspace_id=workspace_id)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    if action is not None:
        rows = rows.filter(action=action) if "." in action else rows.filter(action__startswith=f"{action}.")
    if actor_kind is not None:
        rows = rows.filter(actor_kind=actor_kind)
    if actor_id is not None:
        rows = rows.filter(actor_id=actor_id)
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lt=until)
    return list(rows.order_by("-pk")[:limit])
