"""What people type to make a management key, checked."""

import datetime as dt
from typing import ClassVar

from django import forms

from dashboard.key_forms import NamedKeyForm


class CreateManagementKeyForm(NamedKeyForm):
    """A new management key: its name, whether it may change things, and when it ends."""

    ACCESS: ClassVar[dict[str, str]] = {"read": "Read only", "write": "Read and change"}

    access = forms.ChoiceField(
        choices=[*ACCESS.items()], initial="read", error_messages={"required": "Choose what the key may do."}
    )
    expires = forms.ChoiceField(
        choices=[*NamedKeyForm.EXPIRY_DAYS.items()],
        required=False,
        error_messages={"invalid_choice": "Choose one of the list."},
    )

    def expires_at(self) -> dt.datetime | None:
        """Return when the key ends; None: never. Call it on a valid form."""
        return self.expires_in(self.cleaned_data["expires"])
