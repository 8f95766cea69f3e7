"""Usage events: one row per admitted request, written in the transaction that closed its hold."""

import datetime as dt
import uuid
from collections.abc import Sequence

import msgspec
from django.db import connection
from psycopg import Cursor

from billing.types import Admission
from gateway.models.usage import UsageSource, UsageStatus
from lumyx.lib import clock
from lumyx.lib.prepared import array, scalar


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a usage event says; the fields are the columns of gateway.models.UsageEvent, with their units."""

    id: uuid.UUID
    workspace_id: int
    api_key_id: int | None
    model: str
    upstream_id: int | None = None
    price_id: int | None = None
    route_cost_id: int | None = None
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    charge: int = 0
    absorbed: int = 0
    cost: int | None = None
    usage_source: str
    flags: str = ""
    status: str
    http_status: int
    error_code: str = ""
    is_stream: bool = False
    is_free: bool = False
    started_at: dt.datetime
    first_token_ms: int | None = None
    duration_ms: int

    @classmethod
    def for_unserved(cls, admission: Admission, *, status: int = 503, code: str = "unavailable") -> "UsageRecord":
        """Return the record of a request that was admitted, though its client is or was told otherwise (``status``, ``code``)."""
        return cls(
            id=admission.request_id,
            workspace_id=admission.workspace_id,
            api_key_id=admission.api_key_id,
            model=admission.model,
            cost=0,
            usage_source=UsageSource.NONE,
            status=UsageStatus.RELEASED,
            http_status=status,
            error_code=code,
            is_free=admission.quota is not None,
            started_at=clock.now(),
            duration_ms=0,
        )


_TYPES = {
    "id": "uuid",
    "workspace_id": "bigint",
    "api_key_id": "bigint",
    "upstream_id": "bigint",
    "price_id": "bigint",
    "route_cost_id": "bigint",
    "charge": "bigint",
    "absorbed": "bigint",
    "cost": "bigint",
    "http_status": "smallint",
    "started_at": "timestamptz",
    "model": "text",
    "usage_source": "text",
    "flags": "text",
    "status": "text",
    "error_code": "text",
    "is_stream": "boolean",
    "is_free": "boolean",
}
_COLUMNS = UsageRecord.__struct_fields__
#: What an amendment leaves alone: by these the event was counted once already (gateway.services.rollups).
_IDENTITY = {"id", "workspace_id", "api_key_id", "model", "started_at"}

# S608: names come from the dataclass above, values travel as parameters.
_INSERT = f"""
INSERT INTO gateway_usageevent ({", ".join(_COLUMNS)})
SELECT * FROM unnest({", ".join(f"%s::{_TYPES.get(name, 'integer')}[]" for name in _COLUMNS)})
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS if name not in _IDENTITY)},
    amended_xid = pg_current_xact_id()
WHERE gateway_usageevent.status = 'expired' AND EXCLUDED.status <> 'expired'
"""  # noqa: S608


#: What gateway_settle_plain takes of an event, in its order: all but the id, and what the ledger decides.
_GIVEN = tuple(name for name in _COLUMNS if name not in {"id", "charge", "absorbed"})


def usage_columns(events: Sequence[UsageRecord]) -> list[str]:
    """Return the columns of events that a settlement in one round trip takes, as arrays in PostgreSQL's text form."""
    return [array([getattr(event, name) for event in events]) for name in _GIVEN]


def usage_values(event: UsageRecord) -> list[str | None]:
    """Return those columns of one event."""
    return [scalar(getattr(event, name)) for name in _GIVEN]


def record_usage(events: Sequence[UsageRecord]) -> None:
    """Write usage events in one statement. An event that exists is kept, unless the sweeper wrote it as expired.

    Such an event is amended: its own numbers replace the zeros, while workspace, key, model and start stay as they were
    counted. Of several records with one id the first is written. Call it in the transaction that closed the holds.
    """
    unique = {record.id: record for record in reversed(events)}
    if not unique:
        return
    # Sorted, so that two batches that amend the same events cannot deadlock.
    records = sorted(unique.values(), key=lambda record: record.id)
    connection.ensure_connection()
    raw = connection.connection
    raw.prepare_threshold = 0  # at the first use; Django's own cursors bind on the client and never prepare
    with connection.wrap_database_errors, Cursor(raw) as cursor:
        cursor.execute(_INSERT, [[getattr(record, name) for record in records] for name in _COLUMNS])
