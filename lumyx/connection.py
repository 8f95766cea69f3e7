"""One client's connection: uvicorn's protocol, which waits for ever for a request that does not come, with patience added.

A connection that has not sent the whole head of a request within ``head_deadline`` seconds is closed: at its opening, and whenever
a request has begun or bytes came that begin none. Between two requests uvicorn's keep-alive counts; bodies have their own deadline
(lumyx.guard, gateway.http). What is no HTTP is refused in the API's error shape. A wish to speak another protocol is not granted:
the request is served as HTTP/1.1.

A client that reads nothing of its answer is the kernel's to notice: ``limit_unread`` tells it when to give up.
"""

import asyncio
import socket
import sys
from typing import ClassVar

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.errors import ApiError
from gateway.http import LINE
from lumyx.lib.ids import uuid7


class CycleLine:
    """A gateway.http.Line: pieces of a body, framed as uvicorn's cycle frames them, without its messages."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    @property
    def is_free(self) -> bool:
        """Whether the client is there and reads."""
        cycle = self._cycle
        return not (cycle.flow.write_paused or cycle.disconnected or cycle.transport.is_closing())

    def write(self, data: bytes) -> None:
        """Send a piece of a body whose head has been sent, with no length. Raises RuntimeError for any other."""
        cycle = self._cycle
        if not cycle.chunked_encoding or cycle.response_complete:
            raise RuntimeError("the response is not one of pieces, or is over")
        if data:  # a chunk of nothing is the end of the body
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class PatientProtocol(HttpToolsProtocol):
    """The server's side of a connection."""

    #: Seconds.
    head_deadline: ClassVar[float] = 20.0

    _head_timer: asyncio.TimerHandle | None = None
    #: The request that is being answered; uvicorn's ``cycle`` is the one that came last, which may wait for its turn.
    _running: RequestResponseCycle | None = None
    #: Whether what comes next on the line is, or belongs to, the head of a request; and whether some of it has come.
    _expects_head = True
    _is_in_head = False
    _data = b""
    #: Bytes of a body that are still to come after a head that asked for an upgrade; None: there was no such head.
    _body_left: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_deadline, self._on_late_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more.

        uvicorn tells only the request that came last. One that was sent after it, before its answer had come, would keep the
        other from ever hearing that its client has left: it would write on a line that is no more.
        """
        self._stop_waiting()
        running = self._end_running()
        if running is not None and running is not self.cycle:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came. Nearly always that is a whole head, and no timer is touched but for the first."""
        if self._body_left is not None:
            self._take_body(data)
            return
        self._data = data
        super().data_received(data)
        if self._expects_head and (self._is_in_head or self._is_at_rest()):
            if self._head_timer is None and not self.transport.is_closing():
                self._head_timer = self.loop.call_later(self.head_deadline, self._on_late_head)
        elif self._head_timer is not None:
            self._stop_waiting()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is whole."""
        self._expects_head = self._is_in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Let go of the request that has its answer."""
        self._end_running()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        # An extension may be any object: ASGI's types know of dictionaries only.
        cycle.scope["extensions"] = {LINE: CycleLine(cycle)}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)

    def _end_running(self) -> RequestResponseCycle | None:
        running, self._running = self._running, None
        if running is not None:
            # The line knows the scope: left there by an application, both would be garbage that only the collector can free.
            running.scope.pop("extensions", None)
        return running

    def on_message_complete(self) -> None:
        """Note that another head may follow."""
        self._expects_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(ApiError(400, "invalid_parameter", "The request is not valid HTTP/1.1."))

    def _unsupported_upgrade_warning(self) -> None:
        """Take the body of a request that asked for an upgrade; uvicorn calls this where it handles the parser's exception.

        The parser believes that HTTP ends with such a head: it would drop the body's first bytes, and read what comes after them
        as requests of their own, so that a body could smuggle some past a proxy. Java's own client asks so for HTTP/2.
        """
        upgrade = sys.exception()
        length = dict(self.headers).get(b"content-length", b"")
        self._body_left = int(length) if length.isdigit() and len(length) <= 15 else 0
        self.cycle.keep_alive = False  # what follows the body is nothing that the parser could read
        self.cycle.more_body = self._body_left > 0
        self._expects_head = False
        self._take_body(self._data[upgrade.args[0] :] if upgrade is not None else b"")

    def _take_body(self, data: bytes) -> None:
        part = data[: self._body_left]
        if part and self._body_left:
            self._body_left -= len(part)
            self.on_body(part)
            if not self._body_left:
                self.cycle.more_body = False
                self.cycle.message_event.set()

    def _is_at_rest(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if not self._is_at_rest():
            # The answer before it is still on its way; a refusal now would land in its middle.
            self._head_timer = self.loop.call_later(self.head_deadline, self._on_late_head)
        elif self._is_in_head:
            self._refuse(ApiError(408, "request_timeout", "The request's headers did not arrive in time."))
        else:
            self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        """Answer by ourselves, because there is no request that an application could answer, and close."""
        if not self._is_at_rest():
            self.transport.close()  # the answer before it is still on its way; nothing may land in its middle
            return
        request_id = uuid7().hex.encode()
        body = error.body(request_id.decode())
        head = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", request_id),
            (b"request-id", request_id),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in head)
        self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
        self.transport.close()


def limit_unread(listener: socket.socket, seconds: float) -> None:
    """Have the kernel cut a client that takes nothing of what was sent to it for ``seconds``: where it can, and on TCP.

    The option is the listener's and is inherited by every connection. It covers what an application cannot see: answers that
    fill only the kernel's buffers, and connections that are closed already.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
    if option is not None and listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
