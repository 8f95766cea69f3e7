"""What is known about a person."""

from typing import cast

from allauth.account.models import EmailAddress
from django.conf import settings

from accounts.models import User


def user_by_email(email: str) -> User | None:
    """Return the user with an e-mail address, whatever its case."""
    return User.objects.filter(email=email.strip().lower()).first()


def needs_email_verification(user: User) -> bool:
    """Tell whether free models are closed to the user's workspaces until they prove their address."""
    return settings.LUMYX_EMAIL_VERIFICATION and not user.email_is_verified


def address_is_owned(email: str, *, by_other_than: User | None = None) -> bool:
    """Tell whether an address is somebody's: they sign in with it, or have proved it. Having only named it makes it nobody's."""
    email = email.strip().lower()
    users, addresses = User.objects.filter(email=email), EmailAddress.objects.filter(email=email, verified=True)
    if by_other_than is not None:
        users, addresses = users.exclude(pk=by_other_than.pk), addresses.exclude(user_id=by_other_than.pk)
    return users.exists() or addresses.exists()


def owns_address(user: User, email: str) -> bool:
    """Tell whether an address is this user's: theirs to sign in with, or proved."""
    email = email.strip().lower()
    return user.email == email or EmailAddress.objects.filter(user_id=user.pk, email=email, verified=True).exists()


def owner_of_verified_address(email: str) -> User | None:
    """Return who has proved an address."""
    address = EmailAddress.objects.select_related("user").filter(email=email.strip().lower(), verified=True).first()
    return cast("User", address.user) if address is not None else None
