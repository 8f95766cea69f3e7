"""Takes a lost second factor away, on an operator's word at the command line: there is no page that does it."""

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db import transaction

from accounts.models import User
from accounts.selectors.users import user_by_email
from accounts.services.audit import record


class UserNotFoundError(Exception):
    """Nobody has this e-mail address."""


@dataclass(frozen=True, slots=True)
class FactorReset:
    """What was taken away: apps, passkeys and sets of recovery codes, and sessions that were ended."""

    user: User
    apps: int
    passkeys: int
    recovery_codes: int
    sessions: int


@transaction.atomic
def reset_second_factors(email: str) -> FactorReset:
    """Remove somebody's authenticator app, passkeys and recovery codes, and end their sessions: whoever found the device is out.

    Whoever asks has to know who they are dealing with: from then on the password alone signs in. Raises UserNotFoundError.
    """
    found = user_by_email(email)
    if found is None:
        raise UserNotFoundError(f"There is no user with the e-mail address {email}.")
    user = User.objects.select_for_update(no_key=True).get(pk=found.pk)
    types = list(Authenticator.objects.filter(user_id=user.pk).values_list("type", flat=True))
    Authenticator.objects.filter(user_id=user.pk).delete()
    sessions = list(UserSession.objects.filter(user_id=user.pk))
    for session in sessions:
        session.end()
    done = FactorReset(
        user,
        apps=types.count(Authenticator.Type.TOTP),
        passkeys=types.count(Authenticator.Type.WEBAUTHN),
        recovery_codes=types.count(Authenticator.Type.RECOVERY_CODES),
        sessions=len(sessions),
    )
    record(
        "account.second_factor_reset",
        workspace_id=None,
        target=("user", user.pk, ""),
        details={"apps": done.apps, "passkeys": done.passkeys, "sessions": done.sessions},
    )
    return done
