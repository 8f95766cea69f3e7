"""Counts that upstreams report, whatever they send as one: brought into a range and flagged."""

from typing import Any

#: No request of any model known uses more; a larger report is an error of the upstream.
MAX_TOKENS = 100_000_000


def is_number(value: object) -> bool:
    """Whether a value is a number of JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def clamped(value: Any, at_most: int, flags: set[str]) -> int:
    """Return a count from 0 to ``at_most``; adds ``usage_clamped`` to the flags where it was something else."""
    if value is None:
        return 0
    if type(value) is int and 0 <= value <= at_most:
        return value
    if not is_number(value):
        flags.add("usage_clamped")
        return 0
    number = int(value)
    if 0 <= number <= at_most:
        return number
    flags.add("usage_clamped")
    return max(0, min(number, at_most))
