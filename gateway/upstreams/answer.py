"""An answer on its way in from an upstream: what a Connection fills, and a call reads."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.protocols.failures import FailureKind, UpstreamFailure

#: Bytes of an answer that wait to be read before the socket is no longer read.
HIGH_WATER = 512 * 1024


class Source(Protocol):
    """What an answer asks of the connection that it comes on."""

    def fail(self, failure: UpstreamFailure) -> None:
        """End the connection."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def drain(self, seconds: float) -> None:
        """Read the rest for nobody, for so long at most."""
        ...


class Answer:
    """An answer on its way in: status and headers first, then the body as it comes."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_failure",
        "_fault",
        "_held",
        "_sink",
        "_waiter",
        "complete",
        "headers",
        "status",
    )

    def __init__(self, connection: Source) -> None:
        self.status = 0
        #: Names in lower case; repeated ones joined by a comma.
        self.headers: dict[str, str] = {}
        #: The whole body has come in (it may still wait to be read).
        self.complete = False
        self._connection: Source | None = connection
        self._chunks: list[bytes] = []
        self._held = 0
        self._failure: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None
        #: Takes what comes in the very callback in which it comes; and what went wrong in it.
        self._sink: Callable[[bytes], bool] | None = None
        self._fault: Exception | None = None

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def head(self) -> None:
        """Wait for status and headers. Raises UpstreamFailure."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._wait()

    async def readany(self) -> bytes:
        """Return what has come of the body, waiting for some; empty at its end. Raises UpstreamFailure.

        What came before a failure is given out before the failure is raised.
        """
        while not self._chunks:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait()
        return self._taken()

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Give the body to ``sink`` as it comes, until it is over (True) or the sink wants a pause (False).

        The sink is called where the bytes arrive: a task that had to be woken for each of them would cost more than all that is
        done with them. Raises UpstreamFailure, and what the sink raises; what came before a failure is given first.
        """
        while True:
            while self._chunks:
                if not sink(self._taken()):
                    return False
            if self.complete:
                return True
            if self._failure is not None:
                raise self._failure
            self._sink = sink
            try:
                await self._wait()
            finally:
                paused, self._sink = self._sink is None, None
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            if paused:
                return False

    def close(self) -> None:
        """Drop the connection unless the answer is complete. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None and not self.complete:
            connection.fail(UpstreamFailure(FailureKind.CUT, "closed by us"))

    def finish_within(self, seconds: float) -> None:
        """Let the rest of the body go unread; keep the connection if it ends in time."""
        if not self.complete and self._connection is not None:
            self._connection.drain(seconds)

    def add(self, data: bytes) -> None:
        """Take a piece of the body in; ``deliver`` passes on what one read of the socket brought."""
        self._chunks.append(data)
        self._held += len(data)

    def deliver(self) -> bool:
        """Pass on what was added; return whether too much waits to be read."""
        if self._sink is None:
            if self._chunks:
                self.wake()
        elif self._chunks:
            self._pour(self._sink)
        return self._held > HIGH_WATER

    def fail(self, failure: UpstreamFailure) -> None:
        """End the answer with a failure."""
        self._failure = failure
        self._connection = None
        self.wake()

    def end(self) -> None:
        """End the answer well."""
        self.complete = True
        self._connection = None
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _pour(self, sink: Callable[[bytes], bool]) -> None:
        try:
            if sink(self._taken()):
                return
        except Exception as error:  # whatever it is, it belongs to the reader, not to the connection that called us
            self._fault = error
        self._sink = None
        self.wake()

    def _taken(self) -> bytes:
        """Return what waits to be read, which must be something."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        if self._connection is not None:
            self._connection.resume()
        return data

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter
