"""Second factors: their secrets are encrypted at rest, and they are called what people call them."""

import base64

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings

from accounts.models import User
from lumyx.lib import crypto

PURPOSE = "second-factor"


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """allauth's decisions on authenticator apps, passkeys and recovery codes."""

    def encrypt(self, text: str) -> str:
        """Return an app's secret, or the seed of recovery codes, as it is stored."""
        sealed = crypto.seal(text, master=settings.LUMYX_ENCRYPTION_KEY, purpose=PURPOSE, row="")
        return base64.b64encode(sealed).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return what ``encrypt`` was given. Raises lumyx.lib.crypto.SecretError: another key, or it was changed."""
        sealed = base64.b64decode(encrypted_text)
        return crypto.unseal(sealed, master=settings.LUMYX_ENCRYPTION_KEY, purpose=PURPOSE, row="")

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        """Return what a new passkey is called until it gets a name."""
        known = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {known + 1}" if known else "Passkey"

    def _get_site_name(self) -> str:
        # allauth's is the Host header, which the caller chooses; phones show it.
        return "LumyxAI"
