"""What people type to make a management key, checked."""

import datetime as dt
from typing import ClassVar

from django import forms

from dashboard.key_forms import KeyForm
from lumyx.lib import clock


class CreateManagementKeyForm(forms.Form):
    """A new management key: its name, whether it may change things, and when it ends."""

    ACCESS: ClassVar[dict[str, str]] = {"read": "Read only", "write": "Read and change"}

    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": "Give the key a name, so that you know later what uses it.",
            "max_length": "Use at most 80 characters.",
        },
    )
    access = forms.ChoiceField(
        choices=[*ACCESS.items()], initial="read", error_messages={"required": "Choose what the key may do."}
    )
    expires = forms.ChoiceField(
        choices=[*KeyForm.EXPIRY_DAYS.items()],
        required=False,
        error_messages={"invalid_choice": "Choose one of the list."},
    )

    def clean_name(self) -> str:
        """Refuse line breaks and other control characters: names are shown in tables and logs."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Use letters, digits, spaces and signs that can be seen.")
        return name

    def expires_at(self) -> dt.datetime | None:
        """Return when the key ends; None: never. Call it on a valid form."""
        days = self.cleaned_data["expires"]
        return clock.now() + dt.timedelta(days=int(days)) if days else None
