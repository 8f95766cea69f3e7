"""Usage records for tests, with everything filled in."""

import datetime as dt
from typing import Any

from gateway.services.usage import UsageRecord
from lumyx.lib.ids import uuid7

#: A moment inside a partition and inside one hour.
NOON = dt.datetime.now(tz=dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def usage_record(**values: Any) -> UsageRecord:
    """Return a record of a paid request that went well; any field can be given."""
    defaults: dict[str, Any] = {
        "id": uuid7(),
        "workspace_id": 1,
        "api_key_id": 10,
        "model": "sandbox/paid",
        "upstream_id": 3,
        "price_id": 4,
        "input_tokens": 12,
        "cache_read_tokens": 2,
        "cache_write_tokens": 1,
        "output_tokens": 8,
        "reasoning_tokens": 3,
        "charge": 18_000,
        "absorbed": 0,
        "usage_source": "upstream",
        "status": "ok",
        "http_status": 200,
        "started_at": NOON,
        "first_token_ms": 20,
        "duration_ms": 100,
    }
    return UsageRecord(**(defaults | values))


def expired_record(**values: Any) -> UsageRecord:
    """Return what the sweeper writes: no tokens, no charge."""
    nothing = dict.fromkeys(
        ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "charge"), 0
    )
    return usage_record(
        **nothing,
        upstream_id=None,
        price_id=None,
        usage_source="none",
        status="expired",
        http_status=500,
        error_code="hold_expired",
        first_token_ms=None,
        **values,
    )
