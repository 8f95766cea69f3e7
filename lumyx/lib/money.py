"""Money as integers of nano-USD (10^-9 dollars). No float ever holds an amount."""

from decimal import Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
#: Largest amount a BIGINT column can hold, in nano-USD (about 9.2 billion dollars).
MAX_NANO = 2**63 - 1


class MoneyError(ValueError):
    """An amount that is not a number of dollars with at most nine decimals."""


def usd_to_nano(amount: str | int | Decimal) -> int:
    """Return dollars as exact nano-USD.

    Args:
        amount: US dollars as a decimal string, an int or a Decimal (never a float).

    Raises:
        MoneyError: not a finite number, more than nine decimals, or out of the range of BIGINT.
    """
    try:
        value = Decimal(amount)
    except (InvalidOperation, ValueError, TypeError) as error:
        raise MoneyError(f"{amount!r} is not an amount in US dollars.") from error
    if not value.is_finite() or abs(value) > MAX_NANO // NANO_PER_USD:
        raise MoneyError(f"{amount!r} is not an amount that can be stored.")
    nano = value * NANO_PER_USD
    if nano != nano.to_integral_value():
        raise MoneyError(f"{amount!r} has more than nine decimals.")
    return int(nano)


def nano_to_usd(nano: int) -> str:
    """Return nano-USD as a plain decimal string of dollars, without trailing zeros ("1.5", "0", "-0.000000001")."""
    sign = "-" if nano < 0 else ""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    fraction = f"{rest:09d}".rstrip("0")
    return f"{sign}{dollars}.{fraction}" if fraction else f"{sign}{dollars}"


def format_usd(nano: int, *, places: int = 2) -> str:
    """Return nano-USD for people: "$1.50", "-$0.0042"; rounded half up at ``places`` decimals (0 to 9)."""
    unit = 10 ** (9 - places)
    rounded = (abs(nano) + unit // 2) // unit
    whole, rest = divmod(rounded, 10**places)
    sign = "-" if nano < 0 and rounded else ""
    return f"{sign}${whole:,}.{rest:0{places}d}" if places else f"{sign}${whole:,}"
