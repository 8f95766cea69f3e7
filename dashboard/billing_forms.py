"""What people type where they pay, checked. Amounts become nano-USD."""

import re
from typing import Any

from django import forms

from billing.payments.checkout import LEAST, MOST, PRESETS
from lumyx.lib.money import NANO_PER_USD, format_usd, usd_to_nano

#: "25", "$25", "1,000", "12.50".
_AMOUNT = re.compile(r"\$? ?(\d{1,7}|\d{1,3}(?:,\d{3})+)(\.\d{1,2})?", re.ASCII)
OTHER = "other"


class DollarField(forms.CharField):
    """An amount in US dollars, to the cent; its value is nano-USD. Empty is None where it is not required."""

    def __init__(self, *, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(max_length=20, **kwargs)
        self.least, self.most = least, most

    def clean(self, value: Any) -> Any:
        """Return nano-USD."""
        text = super().clean(value).strip()
        if not text:
            return None
        match = _AMOUNT.fullmatch(text)
        if match is None:
            raise forms.ValidationError("Type an amount in US dollars, such as 20 or 12.50.")
        nano = usd_to_nano(match[1].replace(",", "") + (match[2] or ""))
        if not self.least * NANO_PER_USD <= nano <= self.most * NANO_PER_USD:
            raise forms.ValidationError(f"Type an amount from ${self.least} to ${self.most:,}.")
        return nano


class BuyForm(forms.Form):
    """Credit to buy: one of the amounts that are offered, or one of one's own."""

    chosen = forms.ChoiceField(
        choices=[*((str(usd), f"${usd}") for usd in PRESETS), (OTHER, "Other")],
        error_messages={"required": "Choose an amount.", "invalid_choice": "Choose one of these amounts."},
    )
    amount = DollarField(least=LEAST, most=MOST, required=False)
    saves_card = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        """Ask for the amount where none of the offered ones is chosen, and forget it where one is."""
        cleaned = self.cleaned_data
        if cleaned.get("chosen") != OTHER:
            self.errors.pop("amount", None)
        elif "amount" not in self.errors and cleaned.get("amount") is None:
            self.add_error("amount", f"Type an amount from ${LEAST} to ${MOST:,}.")
        return cleaned

    @property
    def nano(self) -> int:
        """What was chosen, in nano-USD. Call it on a valid form."""
        chosen: str = self.cleaned_data["chosen"]
        amount: int = self.cleaned_data["amount"] if chosen == OTHER else int(chosen) * NANO_PER_USD
        return amount


class TopUpForm(forms.Form):
    """Automatic top-ups: when to buy, how much, and how much a month at most."""

    is_on = forms.BooleanField(required=False)
    threshold = DollarField(
        least=1, most=MOST, error_messages={"required": "Type the balance below which credit is bought, such as 5."}
    )
    amount = DollarField(least=LEAST, most=MOST, error_messages={"required": "Type how much is bought, such as 25."})
    monthly_ceiling = DollarField(
        least=LEAST,
        most=10 * MOST,
        error_messages={"required": "Type the most that is bought in a month, such as 100."},
    )

    def clean(self) -> dict[str, Any]:
        """Refuse a ceiling that no top-up fits under."""
        cleaned = self.cleaned_data
        amount, ceiling = cleaned.get("amount"), cleaned.get("monthly_ceiling")
        if amount is not None and ceiling is not None and ceiling < amount:
            self.add_error(
                "monthly_ceiling", f"Type at least {format_usd(amount)}: less would never buy the amount above."
            )
        return cleaned


class PlanForm(forms.Form):
    """A tier, by the month or by the year."""

    tier = forms.SlugField(max_length=20)
    interval = forms.ChoiceField(choices=[("month", "Monthly"), ("year", "Yearly")])
