"""What a client is told beside the answer itself: usage as it is billed, and nothing of who answered or at what price."""

from typing import Any

import msgspec
from msgspec import Raw

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.cost import cost_number

DONE = b"data: [DONE]\n\n"
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


#: Fields in which aggregators and hosts name themselves.
UPSTREAM_FIELDS = ("provider", "x_groq")


def told_fields(fields: dict[str, Raw]) -> dict[str, Raw]:
    """Return an answer's or chunk's fields without what names the upstream or its prices; changes them in place."""
    for name in UPSTREAM_FIELDS:
        fields.pop(name, None)
    usage = fields.get("usage")
    if usage is not None and bytes(usage)[:1] == b"{":
        counts = _decode_fields(usage)
        kept = {name: value for name, value in counts.items() if name.endswith(("_tokens", "_tokens_details"))}
        if len(kept) < len(counts):
            fields["usage"] = Raw(msgspec.json.encode(kept))
    return fields


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


def usage_chunk(usage: TokenUsage, *, response_id: str, model: str, created: int, cost: int | None = None) -> bytes:
    """Return the chunk that tells a client of usage (``created``: Unix seconds), and of the charge, if given (nano-USD)."""
    told = usage_object(usage)
    if cost is not None:
        told["cost"] = cost_number(cost)
    return msgspec.json.encode(
        {
            "id": response_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [],
            "usage": told,
        }
    )


def stream_end(usage: TokenUsage | None, labels: Labels, *, cost: int | None = None) -> bytes:
    """Return the end of a stream: the usage chunk, where the client is still to be told of it (None: not), and the end mark.

    ``cost`` is the charge in nano-USD, None where the client did not ask for it.
    """
    if usage is None:
        return DONE
    chunk = usage_chunk(usage, response_id=labels.response_id, model=labels.model, created=labels.created, cost=cost)
    return b"data: " + chunk + b"\n\n" + DONE
