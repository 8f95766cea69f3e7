"""Secrets: encryption at rest, and the form, digest and checksum of API keys.

One master key comes from the environment (``LUMYX_ENCRYPTION_KEY``); every purpose derives its own key from it by
HKDF-SHA-256, so a leak of one derived key opens nothing else. The associated data binds a ciphertext to its row: copied
to another row, it does not open. Fails closed: what does not authenticate raises ``SecretError``.
"""

import functools
import hmac
import os
import secrets
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lumyx.lib.ids import base62

API_KEY_PREFIX, TEST_API_KEY_PREFIX, MANAGEMENT_KEY_PREFIX = "lx-", "lx-test-", "lm-"
#: Characters of base62 that 32 random bytes need (62^43 > 2^256), and that a CRC32 needs (62^6 > 2^32).
SECRET_WIDTH, CHECKSUM_WIDTH = 43, 6
API_KEY_LENGTH = len(API_KEY_PREFIX) + SECRET_WIDTH + CHECKSUM_WIDTH
#: How many characters of the secret are public, beside its prefix: unique and safe to show.
SHOWN_WIDTH = 8


class SecretError(Exception):
    """A ciphertext that was made with another key, for another row, or was changed."""


@functools.lru_cache(maxsize=32)
def _derived(master: bytes, purpose: str) -> AESGCM:
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"lumyx/{purpose}".encode()).derive(master)
    return AESGCM(key)


def seal(plaintext: str, *, master: bytes, purpose: str, row: str) -> bytes:
    """Encrypt with AES-256-GCM; the result is nonce (12 bytes) + ciphertext + tag.

    Args:
        plaintext: the secret.
        master: the 32-byte master key of the installation.
        purpose: what the secret is for; each purpose has its own derived key.
        row: the row it belongs to, bound as associated data.
    """
    nonce = os.urandom(12)
    return nonce + _derived(master, purpose).encrypt(nonce, plaintext.encode(), f"{purpose}:{row}".encode())


def unseal(sealed: bytes, *, master: bytes, purpose: str, row: str) -> str:
    """Decrypt what ``seal`` made. Raises SecretError when key, purpose, row or bytes differ."""
    try:
        opened = _derived(master, purpose).decrypt(sealed[:12], sealed[12:], f"{purpose}:{row}".encode())
    except (InvalidTag, ValueError) as error:
        raise SecretError(f"The secret for {purpose} does not open: wrong key, or it was changed.") from error
    return opened.decode()


def new_api_key(*, is_test: bool = False) -> str:
    """Return a new API key: "lx-" or "lx-test-", 43 base62 characters of 32 random bytes, 6 of their CRC32."""
    return _new_key(TEST_API_KEY_PREFIX if is_test else API_KEY_PREFIX)


def new_management_key() -> str:
    """Return a new management key: "lm-", and the same form as an API key's."""
    return _new_key(MANAGEMENT_KEY_PREFIX)


def _new_key(prefix: str) -> str:
    body = base62(int.from_bytes(secrets.token_bytes(32), "big"), width=SECRET_WIDTH)
    return prefix + body + _checksum(body)


def shown_prefix(secret: str) -> str:
    """Return the public part of a key of either kind: its prefix, and 8 characters."""
    return secret[: len(_prefix_of(secret)) + SHOWN_WIDTH]


def _prefix_of(secret: str) -> str:
    # The longer one first: each test key begins like an API key.
    known = (TEST_API_KEY_PREFIX, API_KEY_PREFIX, MANAGEMENT_KEY_PREFIX)
    return next((prefix for prefix in known if secret.startswith(prefix)), API_KEY_PREFIX)


def _checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode()), width=CHECKSUM_WIDTH)


def api_key_is_well_formed(secret: str) -> bool:
    """Tell whether an API key's form and checksum are right, so that a typo costs no look-up."""
    return _is_well_formed(secret, TEST_API_KEY_PREFIX if secret.startswith(TEST_API_KEY_PREFIX) else API_KEY_PREFIX)


def management_key_is_well_formed(secret: str) -> bool:
    """Tell the same of a management key."""
    return _is_well_formed(secret, MANAGEMENT_KEY_PREFIX)


def _is_well_formed(secret: str, prefix: str) -> bool:
    body = secret[len(prefix) :]
    if len(body) != SECRET_WIDTH + CHECKSUM_WIDTH or not secret.startswith(prefix) or not secret.isascii():
        return False
    return body[-CHECKSUM_WIDTH:] == _checksum(body[:-CHECKSUM_WIDTH])


def api_key_digest(secret: str, *, pepper: bytes) -> bytes:
    """Return the HMAC-SHA-256 under which a key is stored and looked up (32 bytes)."""
    return hmac.digest(pepper, secret.encode(), "sha256")
