"""What is known about a person."""

from allauth.account.models import EmailAddress
from django.conf import settings

from accounts.models import User


def user_by_email(email: str) -> User | None:
    """Return the user with an e-mail address, whatever its case."""
    return User.objects.filter(email=email.strip().lower()).first()


def needs_email_verification(user: User) -> bool:
    """Tell whether free models are closed to the user's workspaces until they prove their address."""
    return settings.LUMYX_EMAIL_VERIFICATION and not user.email_is_verified


def address_is_taken(email: str, *, by_other_than: User) -> bool:
    """Tell whether somebody else signs in with an address, or has begun to prove it."""
    others = User.objects.exclude(pk=by_other_than.pk)
    return others.filter(email=email).exists() or EmailAddress.objects.filter(email=email, user__in=others).exists()
