"""What people type about API keys, checked. The rules of accounts.services.key_options stand behind these."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from accounts.budgets import PERIOD_WORDS, Budget, BudgetPeriod
from accounts.services.key_options import ALL_OF_PROVIDER, PACE_MAX, InvalidApiKeyOptionError, clean_addresses
from lumyx.lib import clock
from lumyx.lib.money import MoneyError, nano_to_usd, usd_to_nano

if TYPE_CHECKING:
    from accounts.models import ApiKey

#: The choice of an edit that leaves the expiry as it is.
KEEP = "keep"


class BudgetForm(forms.Form):
    """What may be spent in each period: of a key, or of all keys that a member made."""

    budget = forms.CharField(required=False, max_length=24, error_messages={"max_length": "Write US dollars, like 25."})
    period = forms.ChoiceField(
        choices=[*PERIOD_WORDS.items()], required=False, error_messages={"invalid_choice": "Choose one of the list."}
    )

    def clean_budget(self) -> int | None:
        """Return nano-USD; None: no budget."""
        text = self.cleaned_data["budget"].strip().removeprefix("$").replace(",", "")
        if not text:
            return None
        try:
            amount = usd_to_nano(text)
        except MoneyError as error:
            raise forms.ValidationError("Write US dollars, like 25 or 0.50, or leave it empty.") from error
        if amount <= 0:
            raise forms.ValidationError("Write more than 0. To let a key spend nothing, switch it off.")
        return amount

    def budget_given(self) -> Budget | None:
        """Return the budget; None: none. Call it on a valid form."""
        amount = self.cleaned_data["budget"]
        return (
            None if amount is None else Budget(amount, BudgetPeriod(self.cleaned_data["period"] or BudgetPeriod.MONTH))
        )


def budget_initial(budget: Budget | None) -> dict[str, str]:
    """Return a budget as the form shows it."""
    return {
        "budget": nano_to_usd(budget.amount) if budget is not None else "",
        "period": budget.period if budget is not None else "month",
    }


class NamedKeyForm(forms.Form):
    """The name of a key of either kind, and when it ends."""

    EXPIRY_DAYS: ClassVar[dict[str, str]] = {
        "": "Never",
        "7": "In 7 days",
        "30": "In 30 days",
        "90": "In 90 days",
        "365": "In a year",
    }

    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": "Give the key a name, so that you know later what uses it.",
            "max_length": "Use at most 80 characters.",
        },
    )

    def clean_name(self) -> str:
        """Refuse line breaks and other control characters: names are shown in tables and logs."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Use letters, digits, spaces and signs that can be seen.")
        return name

    def expires_in(self, days: str) -> dt.datetime | None:
        """Return the moment that a choice of ``EXPIRY_DAYS`` stands for; None: never."""
        return clock.now() + dt.timedelta(days=int(days)) if days else None


class KeyForm(BudgetForm, NamedKeyForm):
    """A key's name, when it ends, and its limits. ``key`` is the one that is edited; None: a new one."""

    expires = forms.ChoiceField(required=False, error_messages={"invalid_choice": "Choose one of the list."})
    is_test = forms.BooleanField(required=False)
    requests_per_minute = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=PACE_MAX,
        error_messages={
            "invalid": "Write a whole number, or leave it empty.",
            "min_value": "Write at least 1, or leave it empty.",
            "max_value": f"Write at most {PACE_MAX:,}.",
        },
    )
    allowed_models = forms.MultipleChoiceField(
        required=False,
        error_messages={"invalid_choice": "“%(value)s” is not a model of the catalog. Choose from the list."},
    )
    allowed_addresses = forms.CharField(
        required=False, max_length=6000, error_messages={"max_length": "These are too many networks."}
    )

    def __init__(self, *args: Any, model_ids: Sequence[str], key: "ApiKey | None" = None, **kwargs: Any) -> None:
        self.key = key
        if key is not None:
            kwargs.setdefault("initial", _initial(key))
        super().__init__(*args, **kwargs)
        self._set_choices("expires", self._expiry_choices())
        providers = sorted({id.partition("/")[0] + ALL_OF_PROVIDER for id in model_ids if "/" in id})
        # What the key has already may stay, though the catalog has it no more.
        known = dict.fromkeys([*providers, *model_ids, *(key.allowed_models if key is not None else ())])
        self._set_choices(
            "allowed_models", [(id, f"{id[:-2]}: all models" if id.endswith(ALL_OF_PROVIDER) else id) for id in known]
        )

    def _set_choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  narrows the type; declared above
        field.choices = choices

    def _expiry_choices(self) -> list[tuple[str, str]]:
        present = self.key.expires_at if self.key is not None else None
        kept = [(KEEP, f"As it is: {present:%-d %B %Y, %H:%M} UTC")] if present is not None else []
        return [*kept, *self.EXPIRY_DAYS.items()]

    @property
    def has_limits(self) -> bool:
        """Whether any limit is set or wrong, so that they are shown."""
        names = ("budget", "requests_per_minute", "allowed_models", "allowed_addresses")
        return any(self[name].value() or self[name].errors for name in names)

    def clean_allowed_addresses(self) -> list[str]:
        """Return networks in CIDR form, from lines or what stands between commas."""
        try:
            return clean_addresses(re.split(r"[\s,;]+", self.cleaned_data["allowed_addresses"]))
        except InvalidApiKeyOptionError as error:
            raise forms.ValidationError(str(error)) from error

    def options(self) -> dict[str, Any]:
        """Return what create_api_key and update_api_key take. Call it on a valid form."""
        data = self.cleaned_data
        return {
            "name": data["name"],
            "expires_at": self._expires_at(),
            "allowed_models": data["allowed_models"],
            "allowed_addresses": data["allowed_addresses"],
            "requests_per_minute": data["requests_per_minute"] or 0,
            "budget": self.budget_given(),
        }

    def _expires_at(self) -> dt.datetime | None:
        days = self.cleaned_data["expires"]
        if days == KEEP and self.key is not None:
            return self.key.expires_at
        return self.expires_in(days)


def _initial(key: "ApiKey") -> dict[str, Any]:
    return {
        "name": key.name,
        "expires": KEEP if key.expires_at is not None else "",
        **budget_initial(key.budget),
        "requests_per_minute": key.requests_per_minute or "",
        "allowed_models": key.allowed_models,
        "allowed_addresses": "\n".join(key.allowed_addresses),
    }


class RotateKeyForm(forms.Form):
    """How long the old secret works on."""

    OVERLAPS: ClassVar[dict[str, str]] = {
        "0": "Not at all: it ends now",
        "60": "For 1 hour",
        "1440": "For 24 hours",
        "10080": "For 7 days",
        "43200": "For 30 days",
    }

    overlap = forms.ChoiceField(
        choices=[*OVERLAPS.items()],
        initial="1440",
        error_messages={"required": "Choose one of the list.", "invalid_choice": "Choose one of the list."},
    )

    def length(self) -> dt.timedelta:
        """Return it as a length of time. Call it on a valid form."""
        return dt.timedelta(minutes=int(self.cleaned_data["overlap"]))
