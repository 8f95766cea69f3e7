"""Draws the secret of a key: the row keeps its digest and the two ends that people know it by."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Model

from lumyx.lib import crypto

ATTEMPTS = 5


def draw_secret[Row: Model](
    new: Callable[[], str], *, model: type[Row], write: Callable[[dict[str, Any]], Row]
) -> tuple[Row, str]:
    """Draw a secret and let ``write`` put its columns (digest, prefix, last_four) into a row; anew where its prefix is taken.

    Returns the row and the secret, which is seen here and never again.
    """
    # The prefix is unique so that it can name the key: 62^8 of them, so a second attempt is all but unheard of.
    for _ in range(ATTEMPTS):
        secret = new()
        prefix = crypto.shown_prefix(secret)
        digest = crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER)
        try:
            with transaction.atomic():
                return write({"digest": digest, "prefix": prefix, "last_four": secret[-4:]}), secret
        except IntegrityError:
            if not model._default_manager.filter(prefix=prefix).exists():
                raise
    raise RuntimeError(f"No unused key prefix was found in {ATTEMPTS} attempts: the random source is broken.")
