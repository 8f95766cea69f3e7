"""What a Messages client is told beside the answer itself: usage as it is billed, and nothing of who answered."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from billing.rating import TokenUsage
from gateway.protocols.cost import cost_number
from gateway.protocols.openai_told import UPSTREAM_FIELDS

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_counts = msgspec.json.Decoder(dict[str, int]).decode
_encode = msgspec.json.encode
#: The counts of a ``usage`` object; what follows is added before the brace.
_USAGE = b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d'


def messages_usage_object(usage: TokenUsage, cost: int | None = None) -> dict[str, int | dict[str, int] | Raw]:
    """Return the ``usage`` object as the protocol counts it, with the charge, if given (nano-USD)."""
    told: dict[str, int | dict[str, int] | Raw] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if cost is not None:
        told["cost"] = cost_number(cost)
    return told


def told_usage(usage: TokenUsage, given: Iterable[Raw], cost: int | None = None) -> Raw:
    """Return the ``usage`` object for a client; of the upstream's own only the parts of cache writes stay, if they add up.

    Of several reports given, the first whose parts add up has the word. ``cost`` is the charge in nano-USD, None for untold.
    """
    told = _USAGE % (usage.input, usage.cache_write, usage.cache_read, usage.output)
    if usage.reasoning:
        told += b',"output_tokens_details":{"thinking_tokens":%d}' % usage.reasoning
    for report in given:
        if (parts := _cache_parts(report, usage.cache_write)) is not None:
            told += b',"cache_creation":' + _encode(parts)
            break
    if cost is not None:
        told += b',"cost":' + bytes(cost_number(cost))
    return Raw(told + b"}")


def told_message(fields: dict[str, Raw], *, response_id: Raw, model: Raw) -> dict[str, Raw]:
    """Return a message's fields with our id and model and without what names the upstream; changes them in place."""
    fields["id"], fields["model"] = response_id, model
    fields.setdefault("type", Raw(b'"message"'))
    fields.setdefault("role", Raw(b'"assistant"'))
    for name in UPSTREAM_FIELDS:
        fields.pop(name, None)
    return fields


def tell_messages_usage(body: bytes, usage: TokenUsage) -> bytes:
    """Return a whole message, or a ``message_delta``, with its ``usage`` replaced by ours; all else stays byte for byte."""
    fields = _decode_fields(body)
    fields["usage"] = told_usage(usage, (fields["usage"],) if "usage" in fields else ())
    return _encode(fields)


def known_cache_parts(parts: dict[str, int], total: int) -> dict[str, int] | None:
    """Return those of the parts of cache writes that the protocol has; None if they do not add up to ``total`` tokens."""
    known = {name: count for name, count in parts.items() if name.endswith("_input_tokens") and count >= 0}
    return known if sum(known.values()) == total else None


def _cache_parts(given: Raw, total: int) -> dict[str, int] | None:
    if b'"cache_creation"' not in bytes(given):
        return None
    try:
        parts = _decode_counts(_decode_fields(given)["cache_creation"])
    except (msgspec.DecodeError, RecursionError, KeyError):
        return None
    return known_cache_parts(parts, total)
