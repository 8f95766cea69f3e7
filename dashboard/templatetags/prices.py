"""How the catalog is written on pages: prices, sizes and a model's tile. What was spent is written by ``figures``."""

import re

from django import template

from lumyx.lib.money import NANO_PER_USD, format_usd, nano_to_usd

register = template.Library()


@register.filter
def price(nano: int) -> str:
    """Return an exact price with at least cents: "$0.50", "$1.50", "$0.625"."""
    whole, _, fraction = nano_to_usd(nano).partition(".")
    return f"${int(whole):,}.{fraction.ljust(2, '0')}"


@register.filter
def round_price(nano: int) -> str:
    """Return a price without cents where it has none: "$20", "$19.99"."""
    return format_usd(nano, places=2 if nano % NANO_PER_USD else 0)


@register.filter
def tokens(count: int | None) -> str:
    """Return a number of tokens in the short form that catalogs use: "128K", "1M", "512"."""
    if count is None:
        return "–"
    for unit, letter in ((1_000_000, "M"), (1_000, "K")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + letter
    return str(count)


@register.filter
def initials(name: str) -> str:
    """Return two letters for a model's tile: "Lumyx Plus v1" is LP, "Echo" is EC."""
    words = re.findall(r"[^\W_]+", name)
    return ("".join(word[0] for word in words[:2]) if len(words) > 1 else name[:2]).upper()
