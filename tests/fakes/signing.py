"""Signatures of thinking that the strict upstream issues, and knows again: bound to the text, as the real ones are."""

import base64
import hashlib
import hmac

_KEY = b"the strict upstream's own"


def signature_of(text: str) -> str:
    """Return the signature of a thinking block with that text."""
    digest = hmac.new(_KEY, text.encode(), hashlib.sha384).digest()
    return base64.b64encode(b"\x12\xa4\x01" + digest).decode()


#: What a redacted block holds.
REDACTED = signature_of("redacted")


def is_ours(signature: object, text: str) -> bool:
    """Return whether the signature was issued here, for that text."""
    return signature == signature_of(text)
