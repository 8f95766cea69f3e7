"""Identifiers: time-ordered UUIDs for requests, and random base62 strings for public names and secrets."""

import os
import secrets
import time
import uuid

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def uuid7() -> uuid.UUID:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits."""
    millis = time.time_ns() // 1_000_000
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def base62(number: int, *, width: int = 0) -> str:
    """Return a non-negative integer in base62, padded on the left with "0" to ``width`` characters."""
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits)).rjust(width, "0")


def random_name(length: int = 12) -> str:
    """Return ``length`` random base62 characters, for public names that must not be guessed by counting."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
