"""Who wants no more notices of a kind, and the signed links by which a person says so without signing in.

Fails closed: a token that was changed, is too old, or names a person or a kind that is no more, is nobody's.
"""

from dataclasses import dataclass

from django.conf import settings
from django.core import signing
from django.urls import reverse

from accounts.models import User
from billing.models import Mute
from billing.services.notice_kinds import MUTABLE

_SALT = "billing.unsubscribe"
#: Seconds. The law of some countries wants a link to work for 30 days; old mail is read later than that.
TOKEN_LIFE = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose notices, and of which kind."""

    user_id: int
    kind: str


def unsubscribe_token(user_id: int, *, kind: str) -> str:
    """Return the token by which whoever holds the message can stop its kind."""
    return signing.dumps([user_id, kind], salt=_SALT)


def unsubscribe_url(user_id: int, *, kind: str) -> str:
    """Return the absolute link to the page that stops a kind."""
    token = unsubscribe_token(user_id, kind=kind)
    return str(settings.LUMYX_SITE_URL) + reverse("site:unsubscribe", args=[token])


def wish_of(token: str) -> Wish | None:
    """Return what a token is about, or None: forged, too old, or about nobody who is here."""
    try:
        user_id, kind = signing.loads(token, salt=_SALT, max_age=TOKEN_LIFE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    if kind not in MUTABLE or not User.objects.filter(pk=user_id).exists():
        return None
    return Wish(user_id, kind)


def mute(wish: Wish) -> None:
    """Send a person no more of a kind, in any workspace. Twice is once."""
    Mute.objects.bulk_create([Mute(user_id=wish.user_id, kind=wish.kind)], ignore_conflicts=True)


def unmute(wish: Wish) -> None:
    """Send them again."""
    Mute.objects.filter(user_id=wish.user_id, kind=wish.kind).delete()


def is_muted(wish: Wish) -> bool:
    """Tell whether a person gets no more of a kind."""
    return Mute.objects.filter(user_id=wish.user_id, kind=wish.kind).exists()
