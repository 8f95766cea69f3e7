"""Requests per minute of a workspace: a fixed window of the UTC minute, shared by all processes through Redis.

Exact while Redis answers: the script counts a request only if it fits, so refused calls use nothing up. Fails open to a
window in this process when Redis does not answer within half a second: the pace may then be exceeded by the number of
processes, money never. Asking is batched: what arrives while one round trip runs goes into the next.
"""

import asyncio
import hashlib
import logging
from typing import NamedTuple

import hiredis
import msgspec

from gateway.limits.line import Line, LineError, open_line
from lumyx.lib import clock

log = logging.getLogger(__name__)

WINDOW = 60
#: Seconds to wait for Redis, and to leave it alone after it failed.
TIMEOUT, COOL_OFF = 0.5, 1.0
MAX_HINTS = 10_000

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
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Pace(msgspec.Struct, frozen=True, gc=False):
    """The state of a window after a request. ``reset`` is in seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


class Asked:
    """A question under way. ``has_room``: this minute is known to have been used to less than a half, a moment ago."""

    __slots__ = ("_future", "_limit", "_reset", "has_room")

    def __init__(self, future: asyncio.Future[int], limit: int, reset: int, *, has_room: bool) -> None:
        self._future = future
        self._limit = limit
        self._reset = reset
        self.has_room = has_room

    async def answer(self) -> Pace:
        """Wait for the answer."""
        used = await self._future
        limit = self._limit
        return Pace(allowed=used > 0, limit=limit, remaining=max(0, limit - abs(used)), reset=self._reset)


class _Question(NamedTuple):
    key: str
    limit: int
    future: asyncio.Future[int]


class MinuteLimiter:
    """Counts requests per subject and minute."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._line: Line | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pending: list[_Question] = []
        self._asked: list[_Question] = []
        self._sending: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: What was used of windows, by their keys, as last heard; a hint, and forgotten when there are many.
        self._used: dict[str, int] = {}
        self._local: dict[str, int] = {}
        self._local_minute = 0
        self._retry_at = 0.0

    async def close(self) -> None:
        """Close the connection; whoever still waits is answered by this process alone."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._line is not None:
            self._line.close()
        self._give_up(LineError("the limiter is closed"))

    async def take(self, subject: str, *, limit: int) -> Pace:
        """Count one request of ``subject`` against ``limit`` (at least 1) requests a minute."""
        return await self.ask(subject, limit=limit).answer()

    def ask(self, subject: str, *, limit: int) -> Asked:
        """Count one request as ``take`` does; its answer may be waited for later."""
        minute, second = divmod(int(clock.now().timestamp()), WINDOW)
        key = f"lumyx:rpm:{subject}:{minute}"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        asked = Asked(future, limit, WINDOW - second, has_room=self._used.get(key, limit) * 2 < limit)
        if key in self._used:
            self._used[key] += 1  # until the answer says how many there are
        if clock.monotonic() < self._retry_at:
            future.set_result(self._take_locally(key, minute, limit))
        else:
            self._pending.append(_Question(key, limit, future))
            if self._sending is None and not self._asked:
                # In the loop's next turn: the books are asked first, and all that asks in this one is one round trip.
                self._sending = loop.call_soon(self._send)
        return asked

    def _send(self) -> None:
        self._sending = None
        if not self._pending:
            return  # they were answered without Redis
        loop = asyncio.get_running_loop()
        self._asked, self._pending = self._pending, []
        self._timer = loop.call_later(TIMEOUT, self._give_up, LineError(f"no answer within {TIMEOUT} s"))
        if self._line is not None and self._line.is_up:
            self._ask(self._line, "EVALSHA", SHA)
        else:
            self._connecting = loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            self._line = await open_line(self._url, seconds=TIMEOUT)
        except LineError as error:
            self._give_up(error)
        else:
            if self._asked:
                self._ask(self._line, "EVALSHA", SHA)

    def _ask(self, line: Line, command: str, script: str) -> None:
        asked = self._asked
        keys, limits = [question.key for question in asked], [question.limit for question in asked]
        line.ask(
            command,
            script,
            len(asked),
            *keys,
            *limits,
            done=lambda answer: self._on_answer(line, asked, command, answer),
        )

    def _on_answer(self, line: Line, asked: list[_Question], command: str, answer: object) -> None:
        if asked is not self._asked:
            return  # they were answered without Redis
        if isinstance(answer, hiredis.ReplyError) and str(answer).startswith("NOSCRIPT") and command == "EVALSHA":
            self._ask(line, "EVAL", SCRIPT)
        elif isinstance(answer, list) and len(answer) == len(asked) and all(isinstance(used, int) for used in answer):
            self._asked = []
            self._resolve(asked, answer)
        else:
            self._give_up(answer if isinstance(answer, Exception) else LineError(f"{answer!r} is no answer"))

    def _give_up(self, error: Exception) -> None:
        """Keep the pace in this process, and leave Redis alone for a moment."""
        if not self._asked and not self._pending:
            return
        log.warning("Redis does not answer; pace limits are kept by this process alone: %s", error)
        self._retry_at = clock.monotonic() + COOL_OFF
        questions = self._asked + self._pending
        self._asked, self._pending = [], []
        if self._line is not None:
            self._line.close()
        self._resolve(questions, [self._take_locally(q.key, int(q.key.rsplit(":", 1)[1]), q.limit) for q in questions])

    def _resolve(self, questions: list[_Question], counts: list[int]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if len(self._used) > MAX_HINTS:
            self._used.clear()
        for question, used in zip(questions, counts, strict=True):
            self._used[question.key] = abs(used)
            if not question.future.done():
                question.future.set_result(used)
        if self._pending:
            # In the loop's next turn, so that all that asks in this one goes into one round trip.
            self._sending = asyncio.get_running_loop().call_soon(self._send)

    def _take_locally(self, key: str, minute: int, limit: int) -> int:
        if minute != self._local_minute:
            self._local_minute = minute
            self._local.clear()
        used = self._local.get(key, 0)
        if used >= limit:
            return -used
        self._local[key] = used + 1
        return used + 1
