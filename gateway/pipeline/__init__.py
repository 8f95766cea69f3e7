"""The request, in order: authenticate → admit → route → dispatch → settle → record. Read this file first.

``run`` takes a request from its headers to its record. Up to admission it runs in the request's own coroutine: a client that
leaves costs nothing. From then on the work belongs to a task of the gateway, because what was admitted must be settled.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from gateway.http import Line, Receive, Send, read_body
from gateway.limits.minute import MinuteLimiter
from gateway.pipeline.admit import admit
from gateway.pipeline.authenticate import authenticate
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.permit import find_model
from gateway.pipeline.record import record
from gateway.pipeline.route import order_routes
from gateway.protocols.clients import ClientProtocol
from gateway.protocols.generation import Generation
from gateway.store import Store
from lumyx.lib import clock
from lumyx.lib.ids import uuid7

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request: bytes and seconds."""

    body_limit: int
    body_deadline: float
    #: How long a hold lives without being extended (gateway.pipeline.leases).
    lease: float
    sandbox_is_open: bool
    #: The site's address, for links in errors.
    site_url: str = ""


@dataclass(slots=True)
class Gateway:
    """What the stages work with; one a process."""

    store: Store
    minute: MinuteLimiter
    dispatcher: Dispatcher
    limits: Limits
    #: Admitted exchanges that are not settled yet; shutdown waits for them.
    running: dict[asyncio.Task[None], Exchange] = field(default_factory=dict)


class Arrival(msgspec.Struct):
    """A request as it came in: its headers, and the two ends of its connection."""

    headers: Iterable[tuple[bytes, bytes]]
    receive: Receive
    send: Send
    line: Line | None = None
    #: What stands behind the question mark of its address.
    query: bytes = b""
    id: uuid.UUID = msgspec.field(default_factory=uuid7)
    #: The body has come in to its end, or there is none.
    is_read: bool = False


async def run(
    arrival: Arrival,
    *,
    protocol: ClientProtocol,
    parse: Callable[[bytes], Generation],
    gateway: Gateway,
    betas: tuple[str, ...] = (),
) -> None:
    """Serve one request that came in ``protocol``; ``betas`` are features to switch on at upstreams of the same one.

    Raises ApiError, StoreUnavailableError, and what ``parse`` raises, for what goes wrong before it is admitted.
    """
    started_at, started = clock.now(), clock.monotonic()
    limits, store = gateway.limits, gateway.store
    principal = await authenticate(arrival.headers, store=store)
    body = await read_body(arrival.receive, limit=limits.body_limit, deadline=limits.body_deadline)
    if body is None:
        return
    arrival.is_read = True
    exchange = Exchange(
        id=arrival.id,
        send=arrival.send,
        started_at=started_at,
        started=started,
        principal=principal,
        protocol=protocol,
        request=parse(body),
        betas=betas,
        line=arrival.line,
        site_url=limits.site_url,
    )
    exchange.model = find_model(
        store.catalog(), exchange.request.model, principal=principal, sandbox_is_open=limits.sandbox_is_open
    )
    await admit(exchange, store=store, minute=gateway.minute, lease=limits.lease)
    # Begun at once, not in the loop's next turn: the upstream is asked that much earlier.
    task = asyncio.Task(_serve(exchange, gateway), loop=asyncio.get_running_loop(), eager_start=True)
    gateway.running[task] = exchange
    task.add_done_callback(gateway.running.pop)
    await _watch(arrival.receive, exchange, task)


async def _serve(exchange: Exchange, gateway: Gateway) -> None:
    """Dispatch, settle and record; nothing that happens to the client's connection ends this task."""
    try:
        await gateway.dispatcher.serve(exchange, order_routes(exchange.routes))
    except Exception:
        log.exception("request %s met a bug", exchange.request_id)
        await gateway.dispatcher.give_up(exchange)
    record(exchange)


async def _watch(receive: Receive, exchange: Exchange, task: "asyncio.Task[None]") -> None:
    """Wait for the end of the answer, and notice when the client leaves before it.

    ASGI tells of a disconnect through receive() only, and servers wake a waiting receive() when the response is complete. That
    it never is for a client that has stopped reading: then the end of the task is the end of the waiting.
    """

    def stop_waiting(_: object) -> None:
        if exchange.client_gone and not has_left:
            waiting.reschedule(asyncio.get_running_loop().time())

    has_left = False
    try:
        async with asyncio.timeout(None) as waiting:
            task.add_done_callback(stop_waiting)
            while not task.done() and not has_left:
                message = await receive()
                has_left = message["type"] == "http.disconnect"
            exchange.client_gone = exchange.client_gone or has_left
            await asyncio.shield(task)
    except TimeoutError:
        return
    except asyncio.CancelledError:
        exchange.client_gone = True
        raise
    finally:
        task.remove_done_callback(stop_waiting)
