"""Whether whoever is behind a request passed a second factor in this session. Fails closed: no record of it, no pass."""

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpRequest

from accounts.models import User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_app(user: User) -> bool:
    """Tell whether somebody has an authenticator app."""
    return bool(is_mfa_enabled(user, [Authenticator.Type.TOTP]))


def has_second_factor(user: User) -> bool:
    """Tell whether somebody has an authenticator app or a passkey."""
    return bool(is_mfa_enabled(user, FACTORS))


def has_passed_second_factor(request: HttpRequest, user: User) -> bool:
    """Tell whether somebody gave a code, a recovery code or a passkey in this session, and still has what it stands for."""
    passed = any(proof["method"] == "mfa" for proof in get_authentication_records(request, user))
    return passed and has_second_factor(user)
