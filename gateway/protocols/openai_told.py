"""The usage that a client is told, in the protocol's form: the same numbers that are billed, when they are not the upstream's."""

from typing import Any

import msgspec
from msgspec import Raw

from billing.rating import TokenUsage

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Return the ``usage`` object; the disjoint classes are put together again as the protocol counts them."""
    prompt = usage.input + usage.cache_read + usage.cache_write
    told: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
    }
    if usage.cache_read or usage.cache_write:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write}
    if usage.reasoning:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return told


def tell_usage(payload: bytes, usage: TokenUsage) -> bytes:
    """Return an answer or chunk with its ``usage`` replaced by ours; every other field stays byte for byte."""
    fields = _decode_fields(payload)
    fields["usage"] = Raw(msgspec.json.encode(usage_object(usage)))
    return msgspec.json.encode(fields)


def usage_chunk(usage: TokenUsage, *, response_id: str, model: str, created: int) -> bytes:
    """Return the chunk that tells a client who asked for usage, when the upstream sent none (``created``: Unix seconds)."""
    return msgspec.json.encode(
        {
            "id": response_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [],
            "usage": usage_object(usage),
        }
    )
