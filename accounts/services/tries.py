"""Counts tries of what is short enough to be guessed: codes by mail, of authenticator apps, and for recovery.

Fails closed: while Redis is away no code is taken, because nobody could say how often it was tried. Passwords and passkeys go
on (allauth counts those, in a cache that falls back to each process's memory). Exact over all processes; the windows are fixed.
"""

import hashlib

from django.core.cache import caches
from redis.exceptions import RedisError

from lumyx.lib import clock

#: Kind → how many tries, within how many seconds, for one account from however many places.
LIMITS = {"code": (10, 900), "second_factor": (10, 900)}


class TooManyTriesError(Exception):
    """The account's tries of this kind are used up for now."""


class TriesUnknownError(Exception):
    """Tries cannot be counted at the moment, so none is let through."""


def take_try(kind: str, *, subject: str) -> None:
    """Count a try before it is looked at.

    Args:
        kind: one of LIMITS.
        subject: whose secret it is: an account's id, or an address that may have no account.

    Raises TooManyTriesError, TriesUnknownError.
    """
    limit, seconds = LIMITS[kind]
    key = _key(kind, subject, seconds)
    try:
        cache = caches["strict"]
        cache.add(key, 0, timeout=seconds)
        count = cache.incr(key)
    except (RedisError, ValueError) as error:  # ValueError: it ran out between the two
        raise TriesUnknownError("Tries cannot be counted: the cache is away.") from error
    if count > limit:
        raise TooManyTriesError(f"More than {limit} tries within {seconds} s.")


def forget_tries(kind: str, *, subject: str) -> None:
    """Begin anew, after a right one. Raises TriesUnknownError."""
    try:
        caches["strict"].delete(_key(kind, subject, LIMITS[kind][1]))
    except RedisError as error:
        raise TriesUnknownError("Tries cannot be counted: the cache is away.") from error


def use_once(code: str, *, subject: str, seconds: int) -> bool:
    """Tell whether a right code is used for the first time, and remember it. Raises TriesUnknownError."""
    try:
        return bool(caches["strict"].add(f"used:{_digest(subject + ':' + code)}", 1, timeout=seconds))
    except RedisError as error:
        raise TriesUnknownError("Used codes cannot be remembered: the cache is away.") from error


def _key(kind: str, subject: str, seconds: int) -> str:
    return f"tries:{kind}:{_digest(subject)}:{int(clock.now().timestamp()) // seconds}"


def _digest(text: str) -> str:
    # Addresses are not for the cache's eyes.
    return hashlib.sha256(text.encode()).hexdigest()
