"""What people type on the dashboard, checked."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms

#: A longer range makes a page that nobody reads; ask twice.
MAX_RANGE_DAYS = 366


class RevokeKeyForm(forms.Form):
    """Typing the key's name proves that the right one is meant."""

    name = forms.CharField(max_length=80, error_messages={"required": "Type the key’s name to revoke it."})

    def __init__(self, *args: Any, key_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key_name = key_name

    def clean_name(self) -> str:
        """Refuse anything but the name itself."""
        name: str = self.cleaned_data["name"]
        if name != self.key_name.strip():
            raise forms.ValidationError("That is not this key’s name. Type “%(name)s”.", params={"name": self.key_name})
        return name


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """What the usage page shows: UTC days, both included, and the number that the chart draws."""

    period: str
    start: dt.date
    end: dt.date
    metric: str


class UsageFilterForm(forms.Form):
    """The usage page's address line: ``range``, ``from``, ``to`` and ``metric``."""

    PERIODS: ClassVar[dict[str, str]] = {
        "7d": "7 days",
        "30d": "30 days",
        "month": "This month",
        "custom": "Custom",
    }
    METRICS: ClassVar[dict[str, str]] = {"charge": "Charge", "requests": "Requests", "tokens": "Tokens"}
    DEFAULT_PERIOD = "7d"

    range = forms.ChoiceField(choices=[*PERIODS.items()], required=False)
    metric = forms.ChoiceField(choices=[*METRICS.items()], required=False)
    to = forms.DateField(required=False, error_messages={"invalid": "Write the last day as 2026-01-31."})

    def __init__(self, data: Mapping[str, Any], *, today: dt.date) -> None:
        super().__init__(data)
        self.today = today
        # "from" is a Python keyword, so it cannot be declared like the others.
        self.fields["from"] = forms.DateField(
            required=False, error_messages={"invalid": "Write the first day as 2026-01-31."}
        )

    def clean(self) -> dict[str, Any]:
        """Check a custom range: both days, in order, not in the future, not longer than a year."""
        cleaned = self.cleaned_data
        if cleaned.get("range") != "custom" or self.errors:
            return cleaned
        start, end = cleaned.get("from"), cleaned.get("to")
        if start is None or end is None:
            raise forms.ValidationError("Choose the first and the last day.")
        if start > end:
            raise forms.ValidationError("The first day must not be after the last.")
        if start > self.today:
            raise forms.ValidationError("The first day is in the future.")
        if (end - start).days >= MAX_RANGE_DAYS:
            raise forms.ValidationError("Choose at most a year.")
        return cleaned

    def chosen(self) -> UsageFilter:
        """Return what to show; when the address line is wrong, the last seven days (the page names the errors)."""
        valid = self.is_valid()
        period = (self.cleaned_data.get("range") or self.DEFAULT_PERIOD) if valid else self.DEFAULT_PERIOD
        metric = self.cleaned_data.get("metric") or "charge"
        end = self.today
        match period:
            case "custom":
                # Days that have not begun hold nothing: the chart ends today.
                start, end = self.cleaned_data["from"], min(self.cleaned_data["to"], self.today)
            case "month":
                start = self.today.replace(day=1)
            case "30d":
                start = self.today - dt.timedelta(days=29)
            case _:
                start = self.today - dt.timedelta(days=6)
        return UsageFilter(period, start, end, metric)
