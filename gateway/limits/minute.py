"""Requests per minute of a workspace: a fixed window of the UTC minute, shared by all processes through Redis.

Exact while Redis answers: the script counts a request only if it fits, so refused calls use nothing up. Fails open to a
window in this process when Redis does not answer within half a second: the pace may then be exceeded by the number of
processes, money never. Asking is batched: what arrives while one round trip runs goes into the next.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from lumyx.lib import clock

log = logging.getLogger(__name__)

WINDOW = 60
#: Seconds to wait for Redis, and to leave it alone after it failed.
TIMEOUT, COOL_OFF = 0.5, 1.0

# For every (key, limit): count the request if it fits. Returns used (after) as positive, or -used when it did not fit.
SCRIPT = """
local out = {}
for i, key in ipairs(KEYS) do
  local used = tonumber(redis.call('GET', key) or '0')
  if used < tonumber(ARGV[i]) then
    used = redis.call('INCR', key)
    if used == 1 then redis.call('EXPIRE', key, 120) end
    out[i] = used
  else
    out[i] = -used
  end
end
return out
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of a window after a request. ``reset`` is in seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


class MinuteLimiter:
    """Counts requests per subject and minute."""

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, max_connections=4
        )
        self._script: Any = self._redis.register_script(SCRIPT)
        self._pending: list[tuple[str, int, asyncio.Future[int]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._local: dict[str, int] = {}
        self._local_minute = 0
        self._retry_at = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def take(self, subject: str, *, limit: int) -> Pace:
        """Count one request of ``subject`` against ``limit`` (at least 1) requests a minute."""
        now = clock.now().timestamp()
        minute, second = divmod(int(now), WINDOW)
        key = f"lumyx:rpm:{subject}:{minute}"
        if clock.monotonic() < self._retry_at:
            used = self._take_locally(key, minute, limit)
        else:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._pending.append((key, limit, future))
            if self._flusher is None:
                self._flusher = asyncio.get_running_loop().create_task(self._flush())
            used = await future
        return Pace(allowed=used > 0, limit=limit, remaining=max(0, limit - abs(used)), reset=WINDOW - second)

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                async with asyncio.timeout(TIMEOUT):
                    counts = await self._script(
                        keys=[key for key, _, _ in batch], args=[limit for _, limit, _ in batch]
                    )
                if len(counts) != len(batch):
                    raise RedisError(f"{len(counts)} answers to {len(batch)} questions")
            except Exception as error:  # a failure of any kind must not leave those who wait without an answer
                log.warning("Redis does not answer; pace limits are kept by this process alone: %r", error)
                self._retry_at = clock.monotonic() + COOL_OFF
                counts = [self._take_locally(key, int(key.rsplit(":", 1)[1]), limit) for key, limit, _ in batch]
            for (_, _, future), used in zip(batch, counts, strict=True):
                if not future.done():
                    future.set_result(int(used))
        self._flusher = None

    def _take_locally(self, key: str, minute: int, limit: int) -> int:
        if minute != self._local_minute:
            self._local_minute = minute
            self._local.clear()
        used = self._local.get(key, 0)
        if used >= limit:
            return -used
        self._local[key] = used + 1
        return used + 1
