"""What Messages upstreams report as usage, made into disjoint token classes; nonsense is clamped and flagged."""

from typing import Any

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, estimated_output
from gateway.protocols.counts import MAX_TOKENS, clamped, is_number


class ReportedMessagesUsage(msgspec.Struct, gc=False):
    """The ``usage`` object. Any type is let in here: an upstream's odd report must not break its answer."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    output_tokens_details: Any = None

    @property
    def has_input(self) -> bool:
        """Whether it counts any input."""
        return bool(self.input_tokens or self.cache_read_input_tokens or self.cache_creation_input_tokens)


def merged_reports(earlier: ReportedMessagesUsage | None, later: ReportedMessagesUsage) -> ReportedMessagesUsage:
    """Return what two reports of one stream amount to: counts are totals, so the later stands, where it says anything.

    Some upstreams say zero input at the end, though they counted it at the start: then the start stands.
    """
    if earlier is None:
        return later
    input_from = later if later.has_input or not earlier.has_input else earlier
    cache_from = earlier if input_from is earlier else later
    return ReportedMessagesUsage(
        input_tokens=_first(input_from.input_tokens, earlier.input_tokens),
        output_tokens=_first(later.output_tokens, earlier.output_tokens),
        cache_read_input_tokens=_first(cache_from.cache_read_input_tokens, earlier.cache_read_input_tokens),
        cache_creation_input_tokens=_first(cache_from.cache_creation_input_tokens, earlier.cache_creation_input_tokens),
        output_tokens_details=_first(later.output_tokens_details, earlier.output_tokens_details),
    )


def messages_usage_from(
    reported: ReportedMessagesUsage, *, output_bytes: int = 0
) -> tuple[TokenUsage | None, frozenset[str]]:
    """Return the report as disjoint classes, None if it holds no counts, and flags that say what had to be put right.

    Flags: ``usage_clamped`` (negative, absurd, or a part larger than its whole), ``usage_zero_output`` (no output reported,
    though ``output_bytes`` came out: our own count stands in), ``usage_unreadable``. A stream adds ``usage_stale`` where output
    came after the last report.
    """
    if reported.input_tokens is None and reported.output_tokens is None:
        return None, NO_FLAGS
    if not is_number(reported.input_tokens) and not is_number(reported.output_tokens):
        return None, frozenset({"usage_unreadable"})
    flags: set[str] = set()
    output = clamped(reported.output_tokens, MAX_TOKENS, flags)
    if output == 0 and output_bytes:
        flags.add("usage_zero_output")
        output = estimated_output(output_bytes)
    details = reported.output_tokens_details
    reasoning = details.get("thinking_tokens") if isinstance(details, dict) else None
    usage = TokenUsage(
        input=clamped(reported.input_tokens, MAX_TOKENS, flags),
        cache_read=clamped(reported.cache_read_input_tokens, MAX_TOKENS, flags),
        cache_write=clamped(reported.cache_creation_input_tokens, MAX_TOKENS, flags),
        output=output,
        reasoning=clamped(reasoning, output, flags),
    )
    return usage, frozenset(flags) if flags else NO_FLAGS


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value
