"""Writes down what changes how people sign in, and when they do. allauth tells of it by signals; nothing here decides anything."""

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from django.contrib.auth.signals import user_logged_out
from django.http import HttpRequest

from accounts.models import User
from accounts.proofs import proofs_of
from accounts.services.audit import Details, record

ADDED = {
    Authenticator.Type.TOTP: "account.totp_added",
    Authenticator.Type.WEBAUTHN: "account.passkey_added",
    Authenticator.Type.RECOVERY_CODES: "account.recovery_codes_made",
}
REMOVED = {
    Authenticator.Type.TOTP: "account.totp_removed",
    Authenticator.Type.WEBAUTHN: "account.passkey_removed",
}


def connect() -> None:
    """Listen, once, when Django starts."""
    account.user_signed_up.connect(_signed_up)
    account.user_logged_in.connect(_signed_in)
    user_logged_out.connect(_signed_out)
    account.login_code_rejected.connect(_code_rejected)
    for signal, action in (
        (account.password_changed, "account.password_changed"),
        (account.password_set, "account.password_changed"),
        (account.password_reset, "account.password_reset"),
        (account.email_added, "account.email_added"),
        (account.email_removed, "account.email_removed"),
        (account.email_changed, "account.email_changed"),
    ):
        signal.connect(_writer_of(action), weak=False)
    mfa.authenticator_added.connect(_factor_added)
    mfa.authenticator_reset.connect(_factor_added)
    mfa.authenticator_removed.connect(_factor_removed)
    mfa.authentication_failed.connect(_factor_failed)
    social.social_account_added.connect(_provider_connected)
    social.social_account_removed.connect(_provider_disconnected)


def _write(
    action: str, user: User, details: Details | None = None, target: tuple[str, object, str] = ("", "", "")
) -> None:
    record(action, workspace_id=None, actor_id=user.pk, details=details, target=target)


def _writer_of(action: str) -> Any:
    def write(*, user: User, **_: Any) -> None:
        _write(action, user)

    return write


def _signed_up(*, user: User, sociallogin: Any = None, **_: Any) -> None:
    _write("account.created", user, {"how": sociallogin.account.provider if sociallogin else "password"})


def _signed_in(*, request: HttpRequest, user: User, **_: Any) -> None:
    _write("account.signed_in", user, {"how": proofs_of(request, user)})


def _signed_out(*, user: User | None, **_: Any) -> None:
    if user is not None:
        _write("account.signed_out", user)


def _code_rejected(*, user: User, **_: Any) -> None:
    _write("account.sign_in_failed", user, {"how": "code"})


def _factor_added(*, user: User, authenticator: Authenticator, **_: Any) -> None:
    _write(ADDED[authenticator.type], user)


def _factor_removed(*, user: User, authenticator: Authenticator, **_: Any) -> None:
    action = REMOVED.get(authenticator.type)
    if action:  # recovery codes go with the last factor that they stand in for
        _write(action, user)


def _factor_failed(*, user: User, authenticator: Authenticator, **_: Any) -> None:
    _write("account.sign_in_failed", user, {"how": str(authenticator.type)})


def _provider_connected(*, sociallogin: Any, **_: Any) -> None:
    _write("account.provider_connected", sociallogin.user, {"provider": sociallogin.account.provider})


def _provider_disconnected(*, socialaccount: Any, **_: Any) -> None:
    _write("account.provider_disconnected", socialaccount.user, {"provider": socialaccount.provider})
