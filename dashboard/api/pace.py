"""How many requests a minute a management key may send: a fixed window in the cache that all processes share.

Fails soft, as the cache does: while Redis is away each process counts for itself.
"""

from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache

from gateway.errors import ApiError, Header, retry_after
from lumyx.lib import clock

WINDOW = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """A key's window after a request; ``reset`` in seconds."""

    limit: int
    used: int
    reset: int

    @property
    def headers(self) -> list[Header]:
        """The three headers that clients of the data plane know."""
        remaining = max(0, self.limit - self.used)
        return [
            (b"x-ratelimit-limit-requests", str(self.limit).encode()),
            (b"x-ratelimit-remaining-requests", str(remaining).encode()),
            (b"x-ratelimit-reset-requests", f"{self.reset}s".encode()),
        ]


def take(management_key_id: int) -> Pace:
    """Count a request of a key, and return where it stands."""
    minute, second = divmod(int(clock.now().timestamp()), WINDOW)
    name = f"management:{management_key_id}:{minute}"
    cache.add(name, 0, timeout=2 * WINDOW)
    try:
        used = cache.incr(name)
    except ValueError:  # it was dropped in between
        used = 1
    return Pace(limit=settings.LUMYX_MANAGEMENT_PER_MINUTE, used=used, reset=WINDOW - second)


def check(pace: Pace) -> None:
    """Raise ApiError 429 for a window that is used up."""
    if pace.used > pace.limit:
        raise ApiError(
            429,
            "rate_limit_exceeded",
            f"This management key may send {pace.limit} requests a minute. Try again in {pace.reset} s.",
            headers=[retry_after(pace.reset)],
        )
