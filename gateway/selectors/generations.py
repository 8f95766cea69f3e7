"""A workspace's ended requests, newest first, by cursor and filter: what the management API lists."""

import datetime as dt
import uuid

from gateway.models import UsageEvent
from gateway.selectors.usage import RequestRow

_COLUMNS = tuple(RequestRow.__dataclass_fields__)


def generations_of(
    workspace_id: int,
    *,
    limit: int,
    before: uuid.UUID | None = None,
    api_key_id: int | None = None,
    model: str | None = None,
    status: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> list[RequestRow]:
    """Return a workspace's newest ``limit`` requests; ``before`` is the id of the last row of the page before.

    ``since`` (included) and ``until`` (not) are of the time that a request's id says, which is when it came.
    """
    rows = UsageEvent.objects.filter(workspace_id=workspace_id)
    if before is not None:
        rows = rows.filter(id__lt=before)
    if since is not None:
        rows = rows.filter(id__gte=_first_id_at(since))
    if until is not None:
        rows = rows.filter(id__lt=_first_id_at(until))
    if api_key_id is not None:
        rows = rows.filter(api_key_id=api_key_id)
    if model is not None:
        rows = rows.filter(model=model)
    if status is not None:
        rows = rows.filter(status=status)
    return [RequestRow(**row) for row in rows.order_by("-id").values(*_COLUMNS)[:limit]]


def _first_id_at(at: dt.datetime) -> uuid.UUID:
    # As gateway_uuid7_floor in the database: 48 bits of milliseconds, version 7, variant 2.
    milliseconds = min(max(int(at.timestamp() * 1000), 0), (1 << 48) - 1)
    return uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62))
