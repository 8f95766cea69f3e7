"""Models as ``/models`` shows them: OpenAI's fields, Anthropic's fields and the owner's ``_meta`` in one object. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from gateway.types import ModelInfo

#: Who a model belongs to, for clients. Upstreams and their hosts are never named.
OWNER = "lumyx"
_NANO = 1_000_000_000


def _usd_number(nano: int) -> int | float:
    """Return nano-USD as a JSON number of dollars; the only place where money is one (the contract's ``pricing``)."""
    return nano // _NANO if nano % _NANO == 0 else nano / _NANO


def pricing_view(model: ModelInfo) -> dict[str, Any]:
    """Return ``_meta.pricing``: US dollars per million tokens as numbers; cache prices only where they differ from input's."""
    rates = model.rates
    pricing: dict[str, Any] = {"input": _usd_number(rates.input), "output": _usd_number(rates.output)}
    if rates.cache_read is not None:
        pricing["cacheRead"] = _usd_number(rates.cache_read)
    if rates.cache_write is not None:
        pricing["cacheWrite"] = _usd_number(rates.cache_write)
    pricing["free"] = model.is_free
    return pricing


def catalog_view(model: ModelInfo) -> dict[str, Any]:
    """Return one model as ``/models/{id}`` answers it."""
    created_at = dt.datetime.fromtimestamp(model.created, tz=dt.UTC)
    return {
        "id": model.public_id,
        "object": "model",
        "created": model.created,
        "owned_by": OWNER,
        "type": "model",
        "display_name": model.display_name,
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "_meta": {
            "displayName": model.display_name,
            "description": model.description,
            "contextWindow": model.context_window,
            "supportsStreaming": model.supports_streaming,
            "tags": list(model.tags),
            "pricing": pricing_view(model),
        },
    }


def list_view(models: Sequence[ModelInfo]) -> dict[str, Any]:
    """Return the answer of ``/models``: one page with everything, in the given order."""
    return {
        "object": "list",
        "data": [catalog_view(model) for model in models],
        "has_more": False,
        "first_id": models[0].public_id if models else None,
        "last_id": models[-1].public_id if models else None,
    }
