"""Requests that were made and settled, through the same services as the gateway's."""

import datetime as dt
import uuid

from accounts.models import ApiKey, Workspace
from billing.services import ledger
from billing.types import Admission, QuotaClaim, Settled, Settlement
from gateway.services.settlement import settle_exchanges
from gateway.services.usage import UsageRecord
from lumyx.lib import clock


def make_request(
    workspace: Workspace,
    *,
    key: ApiKey,
    model: str = "lumyx-plus_v1",
    charge: int = 4_200_000,
    at: dt.datetime | None = None,
    tokens: tuple[int, int, int] = (1000, 200, 300),
    status: str = "ok",
    http_status: int = 200,
    quota: QuotaClaim | None = None,
) -> Settled:
    """Admit and settle a request of a funded workspace.

    ``charge`` in nano-USD (0: a free model); ``tokens`` are uncached input, read from a cache, and output.
    """
    at = at or clock.now()
    request_id = uuid7_at(at)
    admission = Admission(request_id, workspace.pk, key.pk, model, charge, charge, 600.0, quota)
    (admitted,) = ledger.admit([admission])
    assert admitted.refusal is None
    record = UsageRecord(
        id=request_id,
        workspace_id=workspace.pk,
        api_key_id=key.pk,
        model=model,
        input_tokens=tokens[0],
        cache_read_tokens=tokens[1],
        output_tokens=tokens[2],
        usage_source="upstream",
        status=status,
        http_status=http_status,
        is_free=charge == 0,
        started_at=at,
        duration_ms=1234,
    )
    (settled,) = settle_exchanges([(Settlement(request_id, charge), record)])
    return settled


def uuid7_at(at: dt.datetime) -> uuid.UUID:
    """Return a UUIDv7 of a moment: usage events are ordered, and stored by month, by their ids."""
    random = uuid.uuid4().int & ((1 << 80) - 1)
    value = int(at.timestamp() * 1000) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
