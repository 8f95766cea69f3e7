"""How numbers, money and moments are written on pages: short to read, exact in the title."""

import datetime as dt

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD, format_usd, nano_to_usd

register = template.Library()

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def places_for(nano: int, *, least: int) -> int:
    """Return how many decimals show an amount: ``least``, or, if all of them are 0, so many that two digits are seen."""
    size = abs(nano)
    if size == 0 or size >= NANO_PER_USD // 10**least:
        return least
    return min(9, 11 - len(str(size)))


def exact_usd(nano: int) -> str:
    """Return the amount to the last nano-dollar: "$0.000000042", "-$1.5"."""
    return f"-${nano_to_usd(-nano)}" if nano < 0 else f"${nano_to_usd(nano)}"


def short_usd(nano: int) -> str:
    """Return a total for people: two decimals from one dollar (and for zero), four or more below."""
    least = 2 if nano == 0 or abs(nano) >= NANO_PER_USD else 4
    return format_usd(nano, places=places_for(nano, least=least))


def axis_usd(nano: int, *, step: int) -> str:
    """Return a tick of an axis whose ticks are ``step`` apart: as many decimals as the step needs, in all of them."""
    needed = len(nano_to_usd(step).partition(".")[2])
    return format_usd(nano, places=needed if needed != 1 else 2)


@register.simple_tag
def money(nano: int) -> SafeString:
    """Write a total of nano-USD with its exact value in the title."""
    return _money(nano, short_usd(nano))


@register.simple_tag
def cost(nano: int) -> SafeString:
    """Write what one request cost: at least four decimals, and its exact value in the title."""
    return _money(nano, format_usd(nano, places=places_for(nano, least=4)))


@register.simple_tag
def exact(nano: int) -> SafeString:
    """Write an amount to the last nano-dollar, where it is one of a sum."""
    return _money(nano, exact_usd(nano))


def _money(nano: int, text: str) -> SafeString:
    return format_html('<data value="{}" title="{}">{}</data>', nano_to_usd(nano), exact_usd(nano), text)


@register.simple_tag
def quantity(number: int) -> SafeString:
    """Write a count: in full below a hundred thousand, else "1.25M", with the full number in the title."""
    return format_html('<data value="{}" title="{}">{}</data>', number, f"{number:,}", short_count(number))


def short_count(number: int) -> str:
    """Return a count for people: "99,999", "182.6K", "1.25M", "3.4B"."""
    if abs(number) < 100_000:
        return f"{number:,}"
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        # A number that would round up to 1,000 of this unit reads better in the next one.
        if abs(number) >= unit * 0.99995:
            return f"{number / unit:.{2 if abs(number) < 10 * unit else 1}f}{letter}"
    raise AssertionError  # 100,000 is above the last unit


@register.filter
def seconds(milliseconds: int | None) -> str:
    """Write a duration: "640 ms", "4.22 s", "2 min 5 s"; a dash when there is none."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 59_995:
        return f"{milliseconds / 1000:.2f} s"
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {rest} s"


@register.simple_tag
def moment(at: dt.datetime | None, *, never: str = "Never") -> SafeString:
    """Write a moment relative to now, past or future, with the exact one in the title, in the workspace's time zone."""
    if at is None:
        return format_html('<span class="dim">{}</span>', never)
    at = localtime(at)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(timespec="seconds"),
        f"{at:%Y-%m-%d %H:%M:%S %Z}",
        relative_text(at, now=clock.now()),
    )


def relative_text(at: dt.datetime, *, now: dt.datetime) -> str:
    """Return "just now", "5 min ago", "in 3 hours", "2 days ago", and the date from thirty days on."""
    distance = (now - at).total_seconds()
    size = abs(distance)
    if size < 45:
        return "just now" if distance >= 0 else "in a moment"
    if size < _HOUR - 30:
        amount = f"{max(round(size / _MINUTE), 1)} min"
    elif size < _DAY - _HOUR / 2:
        amount = _plural(round(size / _HOUR), "hour")
    elif size < 30 * _DAY:
        amount = _plural(round(size / _DAY), "day")
    else:
        return f"{at.day} {at:%b %Y}"
    return f"{amount} ago" if distance > 0 else f"in {amount}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
