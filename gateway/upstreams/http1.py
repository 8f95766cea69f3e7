"""HTTP/1.1, client side: one connection that carries one answer at a time. Parsing is llhttp's (httptools), bytes stay bytes.

Why not a general client: see docs/decisions/0005. What it does not do it does not do on purpose: no redirects, cookies, proxies,
compression or pipelining. Fails closed: whatever is not a well-formed answer to our one request ends the connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httptools

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.upstreams.answer import Answer

#: Status line and headers of an answer, in bytes as they came.
MAX_HEAD = 128 * 1024


class Connection(asyncio.Protocol):
    """A connection to one upstream. ``on_free`` is told when it may carry the next call, ``on_lost`` when it is gone."""

    def __init__(self, *, on_free: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_free, self._on_lost = on_free, on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._limit = self._idle_limit = self._last = self._deadline = 0.0
        self._head_size = 0
        self._draining = self._paused = self._keep = self._ended = self._beyond = self._to_eof = False
        #: Calls that it has carried before the present one.
        self.calls = -1
        #: A byte of the present answer has come.
        self.answered = False
        #: By the loop's clock, since when it waits in a pool.
        self.free_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether the next call can be sent on it."""
        return self._answer is None and self._transport is not None and not self._transport.is_closing()

    def ask(self, head: bytes, body: bytes, *, first_byte: float, idle: float, deadline: float) -> Answer:
        """Send a request and return its answer, of which nothing has come yet.

        ``first_byte`` and ``idle`` are in seconds, ``deadline`` is a time of the loop's clock.
        """
        transport = cast(asyncio.Transport, self._transport)
        answer = self._answer = Answer(self)
        self.calls += 1
        self.answered = False
        self._parser = self._parser or httptools.HttpResponseParser(self)
        self._head_size = 0
        self._draining = self._keep = self._ended = self._beyond = self._to_eof = False
        self._last, self._limit, self._idle_limit, self._deadline = self._loop.time(), first_byte, idle, deadline
        self._arm(self._last)
        # One write, one packet, for small bodies; large ones are not copied.
        transport.writelines((head, body)) if len(body) > 65_536 else transport.write(head + body)
        return answer

    def fail(self, failure: UpstreamFailure) -> None:
        """End the present answer with a failure, and the connection with it."""
        answer = self._release()
        if self._transport is not None:
            self._transport.abort()
        if answer is not None:
            answer.fail(failure)

    def drain(self, seconds: float) -> None:
        """Read the rest of the present answer for nobody, for so long at most."""
        self._draining = True
        self._deadline = min(self._deadline, self._loop.time() + seconds)
        self.resume()
        self._arm(self._loop.time())

    def resume(self) -> None:
        """Read on, after a reader has taken what was waiting."""
        if self._paused:
            self._paused = False
            self._last = self._loop.time()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Nobody asked: this cannot be the start of the next caller's answer.
            self.fail(UpstreamFailure(FailureKind.INVALID, "bytes without a request"))
            return
        self.answered = True
        self._last = self._loop.time()
        had_head = answer.status
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            answer.deliver()
            self.fail(UpstreamFailure(FailureKind.INVALID, f"its answer is not HTTP: {error}"))
            return
        if answer.deliver() and not self._ended and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self._ended:
            self._finish()
        elif not answer.status:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self.fail(UpstreamFailure(FailureKind.INVALID, f"its headers are larger than {MAX_HEAD} bytes"))
        elif not had_head:
            self._limit = self._idle_limit
            self._arm(self._last)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)
        answer = self._release()
        if answer is None:
            return
        if answer.status and self._to_eof and exc is None:
            answer.end()
            return
        kind = FailureKind.CUT if answer.status else FailureKind.CONNECT
        answer.fail(UpstreamFailure(kind, f"its connection was lost: {exc or 'closed by it'}"))

    # --- httptools ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._beyond = self._ended

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None and not self._ended:
            headers, key = self._answer.headers, name.decode("latin-1").lower()
            text = value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        answer, status = self._answer, self._parser.get_status_code()
        if answer is None or self._ended:
            return
        if status < 200:
            # 100 and 103 are only announcements; the answer follows.
            answer.headers.clear()
            return
        answer.status = status
        self._keep = self._parser.should_keep_alive()
        self._to_eof = "content-length" not in answer.headers and "transfer-encoding" not in answer.headers
        answer.wake()

    def on_body(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._draining or self._ended:
            return
        answer.add(data)

    def on_message_complete(self) -> None:
        if self._answer is not None and self._answer.status:
            self._ended = True

    # --- inside -------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        answer = self._release()
        self.resume()
        if self._transport is not None:
            if self._keep and not self._beyond and not self._transport.is_closing():
                self._on_free(self)
            else:
                self._transport.close()
        if answer is not None:
            answer.end()

    def _release(self) -> Answer | None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self._answer = self._answer, None
        return answer

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(now + self._limit, self._deadline), self._check_time)

    def _check_time(self) -> None:
        # One timer a call: it looks when data last came, so that a read costs no timer of its own.
        self._timer = None
        now = self._loop.time()
        if self._paused:
            self._last = now  # it is us who do not read
        if now >= self._deadline:
            self.fail(UpstreamFailure(FailureKind.TIMEOUT, "the call as a whole took too long"))
        elif now >= self._last + self._limit:
            self.fail(UpstreamFailure(FailureKind.TIMEOUT, f"nothing came for {self._limit} s"))
        else:
            self._timer = self._loop.call_at(min(self._last + self._limit, self._deadline), self._check_time)
