"""Versions of prices and costs in the admin: to be read, never edited; and the field in which a rate is entered."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from billing.rating import Rates
from gateway.models import Price, RouteCost
from lumyx.lib.money import NANO_PER_USD, nano_to_usd, usd_to_nano

CLASSES = ("input", "output", "cache_read", "cache_write")


class RateField(forms.DecimalField):
    """US dollars per million tokens, exact to a nano-dollar."""

    def __init__(self, label: str, help_text: str = "") -> None:
        super().__init__(
            label=label,
            help_text=help_text,
            required=False,
            min_value=0,
            max_digits=19,
            decimal_places=9,
            localize=False,
        )
        self.widget = forms.TextInput(attrs={"inputmode": "decimal", "size": "20"})


def shown_rates(rates: Rates) -> dict[str, str | None]:
    """Return what the fields of ``CLASSES`` begin with."""
    return {name: None if (value := getattr(rates, name)) is None else nano_to_usd(value) for name in CLASSES}


def too_high(given: Mapping[str, Decimal]) -> list[str]:
    """Return the classes whose rate no column holds."""
    return [name for name, rate in given.items() if rate * NANO_PER_USD >= 2**63]


def read_rates(given: Mapping[str, Decimal]) -> Rates:
    """Return the rates that fields say, those that are not empty; a class without one is as input, output 0."""
    return Rates(**{"output": 0, **{name: usd_to_nano(rate) for name, rate in given.items()}})


def usd(nano: int | None) -> str:
    """Return a rate of a version for people."""
    return "as input" if nano is None else nano_to_usd(nano)


class VersionsInline:
    """What inlines of versions share."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Versions are made by the fields above."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was charged, and what it cost, stays explained."""
        return False

    @admin.display(description="input")
    def input_usd(self, row: Price | RouteCost) -> str:
        """Return the rate of an uncached input token, times a million."""
        return usd(row.input)

    @admin.display(description="output")
    def output_usd(self, row: Price | RouteCost) -> str:
        """Return the rate of an output token, times a million."""
        return usd(row.output)

    @admin.display(description="cache read")
    def cache_read_usd(self, row: Price | RouteCost) -> str:
        """Return the rate of a token that was read from a cache, times a million."""
        return usd(row.cache_read)

    @admin.display(description="cache write")
    def cache_write_usd(self, row: Price | RouteCost) -> str:
        """Return the rate of a token that was written to a cache, times a million."""
        return usd(row.cache_write)
