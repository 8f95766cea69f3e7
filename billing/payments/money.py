"""Stripe counts US cents, the books nano-dollars. Pure."""

CURRENCY = "usd"
NANO_PER_CENT = 10_000_000


def nano_of(cents: int) -> int:
    """Return cents as nano-USD."""
    return cents * NANO_PER_CENT


def cents_of(nano: int) -> int:
    """Return nano-USD as cents. Raises ValueError for an amount that is not whole cents."""
    cents, rest = divmod(nano, NANO_PER_CENT)
    if rest:
        raise ValueError(f"{nano} nano-USD are not whole cents.")
    return cents
