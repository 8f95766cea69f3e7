"""What OpenAI-protocol upstreams report as usage, made into disjoint token classes; nonsense is clamped and flagged."""

from typing import Any

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, estimated_output
from gateway.protocols.counts import MAX_TOKENS, clamped, is_number


class ReportedUsage(msgspec.Struct, gc=False):
    """The ``usage`` object. Any type is let in here: an upstream's odd report must not break its answer."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None
    #: DeepSeek's own field for cached input.
    prompt_cache_hit_tokens: Any = None


def usage_from(reported: ReportedUsage, *, output_bytes: int = 0) -> tuple[TokenUsage | None, frozenset[str]]:
    """Return the report as disjoint classes, None if it holds no counts, and flags that say what had to be put right.

    Flags: ``usage_clamped`` (negative, absurd, or a part larger than its whole), ``reasoning_outside`` (the upstream counts
    reasoning beside the completion instead of in it; it was added to the output), ``usage_zero_output`` (no output reported,
    though ``output_bytes`` came out: our own count stands in), ``usage_unreadable``. A stream adds ``usage_stale`` where output
    came after the last report.
    """
    if reported.prompt_tokens is None and reported.completion_tokens is None:
        return None, NO_FLAGS
    flags: set[str] = set()
    if not is_number(reported.prompt_tokens) and not is_number(reported.completion_tokens):
        return None, frozenset({"usage_unreadable"})
    prompt = clamped(reported.prompt_tokens, MAX_TOKENS, flags)
    output = clamped(reported.completion_tokens, MAX_TOKENS, flags)
    asked, made = _details(reported.prompt_tokens_details), _details(reported.completion_tokens_details)
    cached = asked.get("cached_tokens")
    cache_read = clamped(reported.prompt_cache_hit_tokens if cached is None else cached, prompt, flags)
    cache_write = clamped(asked.get("cache_write_tokens"), prompt - cache_read, flags)
    total = clamped(reported.total_tokens, 2 * MAX_TOKENS, flags)
    beside = total - prompt - output
    reasoning = made.get("reasoning_tokens")
    if beside > 0 and (reasoning is None or reasoning == beside):
        # xAI and Gemini: total_tokens holds the reasoning, completion_tokens does not.
        flags.add("reasoning_outside")
        output = min(output + beside, MAX_TOKENS)
        reasoning = beside
    if output == 0 and output_bytes:
        flags.add("usage_zero_output")
        output = estimated_output(output_bytes)
    return (
        TokenUsage(
            input=prompt - cache_read - cache_write,
            cache_read=cache_read,
            cache_write=cache_write,
            output=output,
            reasoning=clamped(reasoning, output, flags),
        ),
        frozenset(flags) if flags else NO_FLAGS,
    )


def says_otherwise(reported: ReportedUsage, usage: TokenUsage, flags: frozenset[str]) -> bool:
    """Return whether a report does not tell a client what we made of it: other counts, fractions, cached input not as such."""
    counts = (reported.prompt_tokens, reported.completion_tokens)
    hides_cached = usage.cache_read > 0 and "cached_tokens" not in _details(reported.prompt_tokens_details)
    return bool(flags) or hides_cached or any(type(count) is not int for count in counts)


def _details(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
