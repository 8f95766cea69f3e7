"""Writes a stream to the client: head and first content together, life signs while nothing comes, the end held back.

A client that has gone, or that reads nothing for ``SLOWEST_READ`` seconds, is marked on the exchange; the upstream's answer
is still read to its end for the bill, by whoever feeds this writer.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from gateway.http import SSE, id_headers, run_now, within
from gateway.pipeline.exchange import Exchange
from gateway.protocols.sse import KEEP_ALIVE
from lumyx.lib import clock

log = logging.getLogger(__name__)

#: Seconds that one write may wait for a client that does not read.
SLOWEST_READ = 30.0


class StreamWriter:
    """The client's side of one stream.

    Args:
        exchange: whose ``send`` is used and whose ``head_sent`` and ``client_gone`` are kept.
        keepalive: seconds without a write after which a comment is sent.
    """

    def __init__(self, exchange: Exchange, *, keepalive: float) -> None:
        #: What says that the line is alive; the answer's own once there is one.
        self.life_sign: Callable[[], bytes] = lambda: KEEP_ALIVE
        self._exchange = exchange
        self._keepalive = keepalive
        self._waiting: list[bytes] = []
        self._last_write = clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        #: The life sign under way; nothing may pass it, because it may have the head with it.
        self._beat: asyncio.Task[None] | None = None
        self._is_flushing = False

    def start(self) -> None:
        """Begin to send life signs."""
        self._timer = asyncio.get_running_loop().call_later(self._keepalive, self._on_timer)

    def stop(self) -> None:
        """Send no more life signs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hold(self, data: bytes) -> None:
        """Keep bytes back until the next ``flush``."""
        self._waiting.append(data)

    def forget(self) -> None:
        """Drop what was kept back: another upstream starts the answer anew."""
        self._waiting.clear()

    def push(self) -> bool:
        """Send what was kept back, at once; False where only ``flush`` can: the line to the client is not free.

        For callbacks of the network, where nothing can be waited for.
        """
        exchange, waiting = self._exchange, self._waiting
        line = exchange.line
        if not waiting or exchange.client_gone:
            waiting.clear()
            return True
        if line is None or self._beat is not None or not line.is_free:
            return False
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        waiting.clear()
        try:
            if not exchange.head_sent:
                exchange.head_sent = True
                run_now(exchange.send(self._head()))
            line.write(data)
        except Exception as error:
            self._give_up(error)
        self._last_write = clock.monotonic()
        return True

    async def flush(self, *, end: bool = False) -> None:
        """Send what was kept back; with ``end`` the response is over."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        if not data and not end:
            return
        self._is_flushing = True
        try:
            if self._beat is not None:
                await asyncio.wait([self._beat])
            await self._send(data, more=not end)
        finally:
            self._is_flushing = False

    async def _send(self, data: bytes, *, more: bool) -> None:
        exchange = self._exchange
        if exchange.client_gone:
            return
        self._last_write = clock.monotonic()
        try:
            if not exchange.head_sent:
                await self._send_head()
            await within(SLOWEST_READ, exchange.send({"type": "http.response.body", "body": data, "more_body": more}))
        except (TimeoutError, OSError):
            exchange.client_gone = True
        except Exception as error:
            self._give_up(error)

    async def _send_head(self) -> None:
        exchange = self._exchange
        exchange.head_sent = True
        try:
            await within(SLOWEST_READ, exchange.send(self._head()))
        except asyncio.CancelledError:
            exchange.head_sent = False  # it waited for its turn, and goes no more
            raise

    def _give_up(self, error: Exception) -> None:
        """Note that the server takes nothing more of this answer: whatever that is, what the upstream sends is to be billed."""
        log.error("request %s: the server refused to write", self._exchange.request_id, exc_info=error)
        self._exchange.client_gone = True

    def _head(self) -> dict[str, Any]:
        headers = [*SSE, *id_headers(self._exchange.request_id), *self._exchange.headers]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    def _on_timer(self) -> None:
        idle = clock.monotonic() - self._last_write
        loop = asyncio.get_running_loop()
        if self._exchange.client_gone:
            return
        if idle + 0.01 >= self._keepalive:
            idle = 0.0
            if self._beat is None and not self._is_flushing:  # else something waits for this client already
                self._beat = loop.create_task(self._show_life())
        self._timer = loop.call_later(self._keepalive - idle, self._on_timer)

    async def _show_life(self) -> None:
        try:
            if self._timer is not None:
                await self._send(self.life_sign(), more=True)
        finally:
            self._beat = None
