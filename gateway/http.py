"""HTTP primitives of the gateway's own ASGI application: capped bodies, JSON answers, server-sent events."""

import asyncio
from collections.abc import Callable, Coroutine, Generator, MutableMapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs

from gateway.errors import ApiError, Header
from lumyx.lib.money import nano_to_usd

Scope = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]

JSON: Header = (b"content-type", b"application/json")
#: Proxies must neither store nor buffer a stream.
SSE: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
#: After a refusal the rest of a body is read and dropped, so that the client gets to read the answer.
DRAIN_BYTES, DRAIN_SECONDS = 64 * 1024 * 1024, 5.0


#: The name of the extension under which a server may offer a Line.
LINE = "lumyx.line"


class Line(Protocol):
    """The client's connection itself, for the body of a response whose head went through ASGI.

    A server offers it in the scope, as the extension ``LINE``. Writing to it costs a fifth of what a message costs.
    """

    @property
    def is_free(self) -> bool:
        """Whether what is sent now would be taken at once: the client is there, and reads."""
        ...

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        ...


def run_now(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for. Raises RuntimeError if it waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("it waits, though the line is free")


class _Rest[T]:
    """What is left of a coroutine that has begun and waits for ``waiting``."""

    def __init__(self, work: Coroutine[Any, Any, T], waiting: Any) -> None:
        self._work = work
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, T]:
        work, waiting = self._work, self._waiting
        try:
            while True:
                try:
                    value = yield waiting
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as error:  # a cancellation, mostly: it belongs to the work
                    waiting = work.throw(error)
                else:
                    waiting = work.send(value)
        except StopIteration as done:
            result: T = done.value
            return result


async def within[T](seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``. Raises TimeoutError after ``seconds``.

    Most writes and reads of the hot path never wait; those that do not cost no timer here, which is most of what they cost.
    """
    try:
        waiting = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _Rest(work, waiting)


def id_headers(request_id: str) -> list[Header]:
    """Return the request id under both names that SDKs read."""
    value = request_id.encode()
    return [(b"x-request-id", value), (b"request-id", value)]


def query_value(query: bytes, name: str) -> str | None:
    """Return a parameter of a query string, None where there is none. Raises ApiError 400 for one that is there twice."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, [])
    if len(values) > 1:
        raise ApiError(400, "invalid_parameter", f"{name} is there {len(values)} times. Send it once.")
    return values[0] if values else None


def charge_header(charge: int) -> Header:
    """Return what tells a client the committed charge (nano-USD), as a decimal number of US dollars."""
    return (b"x-lumyx-charge", nano_to_usd(charge).encode())


async def read_body(receive: Receive, *, limit: int, deadline: float) -> bytes | None:
    """Read a whole body; None when the client went away.

    Args:
        receive: ASGI's receive.
        limit: bytes; more is a 413.
        deadline: seconds for the whole body; slower is a 408.

    Raises:
        ApiError: 413 body_too_large, 408 request_timeout.
    """
    first = await receive() if deadline <= 0 else await _receive_before(receive, deadline)
    if first["type"] == "http.disconnect":
        return None
    body: bytes = first.get("body", b"")
    if not first.get("more_body"):
        return body if len(body) <= limit else _too_large(limit)
    parts, size = [body], len(body)
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while True:
        message = await _receive_before(receive, end - loop.time())
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            _too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def drain_body(receive: Receive) -> None:
    """Read what is left of a body and drop it, within bounds."""
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return


def _too_large(limit: int) -> bytes:
    raise ApiError(413, "body_too_large", f"The body is larger than the limit of {limit} bytes.")


async def _receive_before(receive: Receive, seconds: float) -> MutableMapping[str, Any]:
    try:
        return await within(seconds, receive())
    except TimeoutError as error:
        raise ApiError(408, "request_timeout", "The body did not arrive in time. Send it faster.") from error


async def send_json(
    send: Send, body: bytes, *, request_id: str, status: int = 200, headers: Sequence[Header] = ()
) -> None:
    """Send a whole JSON answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON, (b"content-length", str(len(body)).encode()), *id_headers(request_id), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send, error: ApiError, *, request_id: str, headers: Sequence[Header] = (), unread: Receive | None = None
) -> None:
    """Send an error body.

    ``unread`` is ASGI's receive where the request's body may not have been read to its end: the answer goes out at once, the
    rest of the body is dropped, and the connection closes, because a server would wait for that rest without end.
    """
    body = error.body(request_id)
    extra = [*error.headers, *headers]
    if unread is None:
        await send_json(send, body, request_id=request_id, status=error.status, headers=extra)
        return
    head = [JSON, (b"content-length", str(len(body)).encode()), (b"connection", b"close"), *id_headers(request_id)]
    await send({"type": "http.response.start", "status": error.status, "headers": [*head, *extra]})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if error.status != 408:  # whoever was too slow for the deadline gets no more time
        await drain_body(unread)
    await send({"type": "http.response.body", "body": b""})
