"""How a person signs in, where they are signed in, and what happened to that: what their account page shows."""

import datetime as dt
from dataclasses import dataclass

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings

from accounts.audit_actions import ACTIONS
from accounts.models import AuditEntry, User

#: In a browser's description of itself, what to look for, and how people call it; the first that is found counts.
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
#: How a sign-in was proved, in words; a provider's name is shown as it is.
WAYS = {
    "password": "password",
    "code": "code by e-mail",
    "passkey": "passkey",
    "totp": "authenticator app",
    "recovery_codes": "recovery code",
    "google": "Google",
    "github": "GitHub",
}


@dataclass(frozen=True, slots=True)
class PasskeySeen:
    """A passkey, without what it is made of."""

    id: int
    name: str
    created_at: dt.datetime
    last_used_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ConnectionSeen:
    """An account at another site that signs in here."""

    id: int
    provider: str
    label: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class SignInSeen:
    """Everything that signs a person in. ``recovery_codes`` are how many are left; None: there are none to run out of."""

    has_password: bool
    has_app: bool
    recovery_codes: int | None
    addresses: list[EmailAddress]
    passkeys: list[PasskeySeen]
    connections: list[ConnectionSeen]


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """Where a person is signed in."""

    id: int
    device: str
    ip: str
    started_at: dt.datetime
    seen_at: dt.datetime
    is_current: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a person's security log."""

    id: int
    at: dt.datetime
    text: str
    how: str
    address: str | None
    is_failure: bool


def sign_in_of(user: User) -> SignInSeen:
    """Return how a person signs in."""
    by_type: dict[str, list[Authenticator]] = {}
    for row in Authenticator.objects.filter(user_id=user.pk).order_by("pk"):
        by_type.setdefault(row.type, []).append(row)
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    return SignInSeen(
        has_password=user.has_usable_password(),
        has_app=Authenticator.Type.TOTP in by_type,
        recovery_codes=len(codes[0].wrap().get_unused_codes()) if codes else None,
        addresses=list(EmailAddress.objects.filter(user_id=user.pk).order_by("-primary", "pk")),
        passkeys=[
            PasskeySeen(row.pk, row.wrap().name, row.created_at, row.last_used_at)
            for row in by_type.get(Authenticator.Type.WEBAUTHN, [])
        ],
        connections=[
            ConnectionSeen(row.pk, provider_name(row.provider), label_of(row), row.date_joined)
            for row in SocialAccount.objects.filter(user_id=user.pk).order_by("pk")
        ],
    )


def provider_name(provider: str) -> str:
    """Return what people call a provider; one that was configured under a name of its own keeps it."""
    for app in settings.SOCIALACCOUNT_PROVIDERS.get("openid_connect", {}).get("APPS", []):
        if provider == app["provider_id"]:
            return str(app["name"])
    return WAYS.get(provider, provider)


def label_of(account: SocialAccount) -> str:
    """Return what an account at a provider is called there: its address, else its name."""
    data = account.extra_data or {}
    data = data.get("userinfo") or data.get("id_token") or data
    return str(data.get("email") or data.get("login") or data.get("name") or account.uid)


def sessions_of(user: User, *, current: str | None) -> list[SessionSeen]:
    """Return the sessions of a person that still work, the current one first, then by when they were seen last.

    Args:
        user: whose.
        current: the key of the session that asks.
    """
    sessions = [
        SessionSeen(
            row.pk, device_of(row.user_agent), row.ip, row.created_at, row.last_seen_at, row.session_key == current
        )
        for row in UserSession.objects.purge_and_list(user)
    ]
    return sorted(sessions, key=lambda seen: (not seen.is_current, -seen.seen_at.timestamp()))


def session_of(user: User, *, session_id: int) -> UserSession | None:
    """Return one of a person's sessions; another person's is None."""
    return UserSession.objects.filter(user_id=user.pk, pk=session_id).first()


def device_of(user_agent: str) -> str:
    """Return a browser in words ("Firefox on Linux"); what is not known stays as it calls itself, cut short."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or user_agent[:40] or "Unknown device"


def security_log_of(user: User, *, limit: int, before: int | None = None) -> list[LogLine]:
    """Return what happened to a person's account, newest first; ``before`` is the id of the line that they follow."""
    rows = AuditEntry.objects.filter(actor_id=user.pk, workspace_id__isnull=True, action__startswith="account.")
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [
        LogLine(
            id=row.pk,
            at=row.at,
            text=ACTIONS.get(row.action, row.action),
            how=_how(row.details),
            address=row.address,
            is_failure=row.action == "account.sign_in_failed",
        )
        for row in rows.order_by("-id")[:limit]
    ]


def _how(details: dict[str, object]) -> str:
    found = details.get("how") or details.get("provider") or []
    names = found if isinstance(found, list) else [found]
    return ", ".join(WAYS.get(str(name), provider_name(str(name))) for name in names)
