"""The fields of a price in the admin, for a new model and for another price of one that is there."""

from decimal import Decimal
from typing import Any

from django import forms

from billing.rating import Rates
from gateway.admin.versions import CLASSES, RateField, read_rates, shown_rates, too_high
from gateway.models import CatalogModel
from gateway.models.catalog import ModelKind

_LIKE_INPUT = "US dollars per million tokens; empty: as input."
FREE_HELP = "A free model costs nothing and counts against the daily limit."


class PriceFields(forms.Form):
    """The fields, and what they have to say together."""

    price_input = RateField("Input", "US dollars per million tokens. Empty: it has no price yet and cannot be called.")
    price_output = RateField("Output", "US dollars per million tokens.")
    price_cache_read = RateField("Cache read", _LIKE_INPUT)
    price_cache_write = RateField("Cache write", _LIKE_INPUT)

    #: nano-USD per million tokens, once the form is valid; None: it has no price yet.
    rates: Rates | None = None

    def clean_price(self: forms.BaseForm, values: dict[str, Any], *, kind: str, is_required: bool) -> Rates | None:
        """Return the price that the fields say, or None. What is wrong with it is an error beside its field.

        Args:
            values: the cleaned fields.
            kind: of the model: only chat models have output.
            is_required: a price that is there cannot be emptied.
        """
        if any(f"price_{name}" in self.errors for name in CLASSES):
            return None
        prices: dict[str, Decimal | None] = {name: values.get(f"price_{name}") for name in CLASSES}
        given = {name: price for name, price in prices.items() if price is not None}
        if values.get("is_free"):
            if any(given.values()):
                self.add_error("price_input", "A free model has no price: empty the prices, or untick free.")
            return Rates(input=0, output=0)
        for name in too_high(given):
            self.add_error(f"price_{name}", "This is more than can be stored.")
        if "input" not in given:
            if given or is_required:
                self.add_error("price_input", "Give a price; 0 is one.")
            return None
        if "output" not in given and kind == ModelKind.CHAT:
            self.add_error("price_output", "Give a price; 0 is one.")
        return None if too_high(given) else read_rates(given)


class PriceForm(PriceFields):
    """Another price for a model, against the version that it was made with."""

    is_free = forms.BooleanField(label="Free", required=False, help_text=FREE_HELP)
    #: 0: there was none.
    seen_version = forms.IntegerField(widget=forms.HiddenInput, min_value=0)

    field_order = ("is_free",)

    def __init__(self, *args: Any, model: CatalogModel, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kind = model.kind
        self.fields["price_input"].help_text = "US dollars per million tokens."

    def clean(self) -> dict[str, Any]:
        """Read the price."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        self.rates = self.clean_price(values, kind=self._kind, is_required=True)
        return values


def price_initial(rates: Rates | None, *, is_free: bool) -> dict[str, Any]:
    """Return what the fields begin with."""
    if rates is None or is_free:
        return {}
    return {f"price_{name}": shown for name, shown in shown_rates(rates).items()}
