"""Forms of second factors and passkeys: every code is counted before it is looked at, and none counts twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, BaseAuthenticateForm, ReauthenticateForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm, EditWebAuthnForm
from django import forms

from accounts.services.tries import TooManyTriesError, TriesUnknownError, forget_tries, take_try, use_once

NAME_MAX_LENGTH = 60
UNKNOWN = "Codes cannot be checked at the moment. Try again in a minute, or sign in with a passkey."


@contextmanager
def counted(kind: str, *, subject: str) -> Iterator[None]:
    """Count the check of a code that happens inside; a right one clears the count.

    Raises ValidationError before the check: too many tries, or they cannot be counted.
    """
    try:
        take_try(kind, subject=subject)
        yield
        forget_tries(kind, subject=subject)
    except TooManyTriesError as error:
        raise get_account_adapter().validation_error("too_many_login_attempts") from error
    except TriesUnknownError as error:
        raise forms.ValidationError(UNKNOWN) from error


class CountedCodeForm(BaseAuthenticateForm):  # type: ignore[misc]  # allauth has no types
    """A code of an authenticator app, or a recovery code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code"
        self.fields["code"].widget.attrs["autofocus"] = True

    def clean_code(self) -> str:
        """Return the code if it is right, new, and not the last of too many tries."""
        subject = str(self.user.pk)
        with counted("second_factor", subject=subject):
            code = str(super().clean_code())
            # allauth remembers a code for one period; with the code before and the code after it is good for three.
            lifetime = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
            if not use_once(code, subject=subject, seconds=lifetime):
                raise get_adapter().validation_error("incorrect_code")
            return code


class SecondFactorForm(CountedCodeForm, AuthenticateForm):  # type: ignore[misc]
    """The code that completes a sign-in."""


class SecondFactorAgainForm(CountedCodeForm, ReauthenticateForm):  # type: ignore[misc]
    """The code that proves who is signed in."""


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    """A passkey: it signs in by itself, so it has to ask for a finger, a face or a PIN."""

    name = forms.CharField(
        required=False, max_length=NAME_MAX_LENGTH, label="Name", help_text="So that you can tell your passkeys apart."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("passwordless", None)

    def clean(self) -> dict[str, Any]:
        """Check the passkey, as one that needs no password beside it."""
        self.cleaned_data["passwordless"] = True
        cleaned: dict[str, Any] = super().clean()
        return cleaned


class RenamePasskeyForm(EditWebAuthnForm):  # type: ignore[misc]
    """Another name for a passkey."""

    name = forms.CharField(max_length=NAME_MAX_LENGTH, label="Name")
