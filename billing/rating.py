"""Rating: tokens times rates is the charge. Pure integers of nano-USD; rounded up once per request.

Rates are per million tokens because cached and batch rates go below one nano-USD a token.
"""

from dataclasses import dataclass

import msgspec

TOKENS_PER_RATE = 1_000_000


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in nano-USD per million tokens of each class. A class without its own price costs what input costs."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None

    @property
    def dearest_input(self) -> int:
        """The highest rate that an input token can have, for upper bounds."""
        return max(self.input, self.cache_read or 0, self.cache_write or 0)


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens by disjoint classes; reasoning is a part of output."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


def _ceil_rate(product: int) -> int:
    return -(-product // TOKENS_PER_RATE)


def _cache_rates(rates: Rates) -> tuple[int, int]:
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write is None else rates.cache_write
    return read, write


def charge_for(usage: TokenUsage, rates: Rates) -> int:
    """Return the charge of a request in nano-USD, rounded up."""
    read, write = _cache_rates(rates)
    return _ceil_rate(
        usage.input * rates.input + usage.cache_read * read + usage.cache_write * write + usage.output * rates.output
    )


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """One class of tokens in a charge: how many, and their rate in nano-USD per million."""

    token_class: str
    tokens: int
    rate: int

    @property
    def product(self) -> int:
        """Tokens times rate: millionths of a nano-USD, not rounded."""
        return self.tokens * self.rate


def charge_lines(usage: TokenUsage, rates: Rates) -> tuple[ChargeLine, ...]:
    """Return what a charge is the sum of; ``rounded_up`` of the sum of their products is ``charge_for``."""
    read, write = _cache_rates(rates)
    return (
        ChargeLine("input", usage.input, rates.input),
        ChargeLine("cache_read", usage.cache_read, read),
        ChargeLine("cache_write", usage.cache_write, write),
        ChargeLine("output", usage.output, rates.output),
    )


def rounded_up(product: int) -> int:
    """Return millionths of a nano-USD as nano-USD, rounded up."""
    return _ceil_rate(product)


def exact_nano(product: int) -> str:
    """Return millionths of a nano-USD as nano-USD in decimals, not rounded and without trailing zeros ("18000.5")."""
    whole, rest = divmod(product, TOKENS_PER_RATE)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def hold_for(*, input_upper: int, output_max: int, rates: Rates) -> int:
    """Return an amount that no answer can exceed: all input at the dearest rate, all output used (nano-USD)."""
    return _ceil_rate(input_upper * rates.dearest_input + output_max * rates.output)


def affordable_output(*, amount: int, input_upper: int, rates: Rates, at_most: int) -> int:
    """Return how many output tokens ``amount`` (nano-USD) pays for after the input; below zero never, above ``at_most`` never."""
    left = amount * TOKENS_PER_RATE - input_upper * rates.dearest_input
    if left < 0:
        return 0
    return at_most if rates.output == 0 else min(at_most, left // rates.output)
