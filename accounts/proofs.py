"""How, and how long ago, the person behind a request proved who they are. allauth keeps it in the session."""

import time

from allauth.account import app_settings
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate, get_reauthentication_flows
from allauth.mfa.models import Authenticator
from django.http import HttpRequest

from accounts.models import User

#: Seconds. Proofs of one sign-in are not further apart.
ONE_SIGN_IN = 900


def proofs_of(request: HttpRequest, user: User) -> list[str]:
    """Return how somebody has just proved who they are, in order: "password", "code", "passkey", "totp", a provider's name."""
    names = []
    for proof in get_authentication_records(request, user):
        if proof.get("at", 0) < time.time() - ONE_SIGN_IN or proof.get("reauthenticated"):
            continue
        name = proof["method"]
        if name == "mfa":
            name = "passkey" if proof["type"] == Authenticator.Type.WEBAUTHN else proof["type"]
        names.append(str(proof["provider"] if name == "socialaccount" else name))
    return names


def has_proved_lately(request: HttpRequest) -> bool:
    """Tell whether the signed-in person proved who they are within the last minutes.

    Somebody with neither password nor second factor cannot prove it here (allauth lets them pass): for them it is the sign-in
    itself that has to be recent.
    """
    if not request.user.is_authenticated:
        return False
    if get_reauthentication_flows(request.user):
        return bool(did_recently_reauthenticate(request))
    last = max((proof.get("at", 0) for proof in get_authentication_records(request, request.user)), default=0)
    return bool(time.time() - last < app_settings.REAUTHENTICATION_TIMEOUT)


def can_prove_here(user: User) -> bool:
    """Tell whether there is anything to prove it with, apart from signing in again."""
    return bool(get_reauthentication_flows(user))
