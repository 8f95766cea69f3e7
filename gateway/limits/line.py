"""One connection to Redis in the event loop, for the one question that every request asks. hiredis reads and writes the protocol.

Why not the client of redis-py: a call costs it 66 µs of CPU, this 8, and it is on every request's way. Answers come in the order of
the questions, so a question that nobody waits for any more still takes its own answer off the line. How it fails: whatever goes
wrong ends the connection, and every question on it gets the error; nothing is asked twice here.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

type Done = Callable[[object], None]


class LineError(Exception):
    """There is no connection, or it broke before the answer."""


class Line(asyncio.Protocol):
    """Questions out, answers in. ``open`` returns a connected one."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[Done] = deque()
        self._transport: asyncio.Transport | None = None

    @property
    def is_up(self) -> bool:
        """Whether a question can be sent."""
        return self._transport is not None

    def ask(self, *words: str | bytes | int, done: Done) -> None:
        """Send a command; ``done`` gets the answer, hiredis' ReplyError, or a LineError. Never called before this returns."""
        assert self._transport is not None  # noqa: S101  callers ask is_up
        self._waiting.append(done)
        self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub takes one word only

    def close(self) -> None:
        """End the connection; questions on it get a LineError."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are not its subclasses

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self._waiting.popleft()(answer)
        except (hiredis.ProtocolError, IndexError):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for done in waiting:
            done(LineError(f"the connection to Redis was lost: {exc or 'closed'}"))


async def open_line(url: str, *, seconds: float) -> Line:
    """Connect to redis://user:password@host:port/db, rediss:// (TLS) or unix:///path?db=N. Raises LineError in time."""
    try:
        async with asyncio.timeout(seconds):
            return await _open(url)
    except (OSError, TimeoutError, ssl.SSLError, ValueError) as error:
        raise LineError(f"no connection to Redis: {error or 'no answer in time'}") from error


async def _open(url: str) -> Line:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    loop = asyncio.get_running_loop()
    if parts.scheme == "unix":
        path, database = unquote(parts.path), query.get("db", ["0"])[0]
        _, line = await loop.create_unix_connection(Line, path)
    else:
        context = ssl.create_default_context() if parts.scheme == "rediss" else None
        _, line = await loop.create_connection(Line, parts.hostname or "127.0.0.1", parts.port or 6379, ssl=context)
        database = query.get("db", [parts.path.strip("/") or "0"])[0]
    with contextlib.ExitStack() as stack:
        stack.callback(line.close)
        if parts.password:
            user = [unquote(parts.username)] if parts.username else []
            await _demand(line, "AUTH", *user, unquote(parts.password))
        if database != "0":
            await _demand(line, "SELECT", database)
        stack.pop_all()
    return line


async def _demand(line: Line, *words: str) -> Any:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def done(answer: object) -> None:
        if not future.done():
            future.set_result(answer)

    line.ask(*words, done=done)
    answer = await future
    if isinstance(answer, Exception):
        raise LineError(f"Redis refused {words[0]}: {answer}")
    return answer
