"""What Messages upstreams report as usage, made into disjoint token classes; nonsense is clamped and flagged."""

from typing import Any

import msgspec


class ReportedMessagesUsage(msgspec.Struct, gc=False):
    """The ``usage`` object. Any type is let in here: an upstream's odd report must not break its answer."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    output_tokens_details: Any = None
