"""What is known about a person."""

from django.conf import settings

from accounts.models import User


def user_by_email(email: str) -> User | None:
    """Return the user with an e-mail address, whatever its case."""
    return User.objects.filter(email=email.strip().lower()).first()


def needs_email_verification(user: User) -> bool:
    """Tell whether free models are closed to the user's workspaces until they prove their address."""
    return settings.LUMYX_EMAIL_VERIFICATION and not user.email_is_verified
