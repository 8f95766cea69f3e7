"""Upstream credentials: sealed when they are set, write-only from then on."""

from django.conf import settings

from gateway.models import Upstream
from gateway.selectors.catalog import CREDENTIAL_PURPOSE, credential_of
from lumyx.lib.crypto import SecretError, seal


def set_credential(upstream: Upstream, plain: str) -> bool:
    """Put a credential into an upstream's row, encrypted; the caller saves the row. Returns whether it differs.

    The ciphertext is bound to the upstream's name: a renamed row needs its credential set again.
    """
    if upstream.credential:
        try:
            if credential_of(upstream) == plain:
                return False
        except SecretError:
            pass  # it was sealed with another master key: replacing it is the way out
    upstream.credential = seal(
        plain, master=settings.LUMYX_ENCRYPTION_KEY, purpose=CREDENTIAL_PURPOSE, row=upstream.name
    )
    return True
