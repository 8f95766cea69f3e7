"""The request, in order: authenticate → admit → route → dispatch → settle → record. Read this file first.

``run`` takes a request from its headers to its record. Up to admission it runs in the request's own coroutine: a client that
leaves costs nothing. From then on the work belongs to a task of the gateway, because what was admitted must be settled.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.errors import unavailable
from gateway.http import Receive, read_body
from gateway.limits.minute import MinuteLimiter
from gateway.pipeline.admit import StaleKeyError, admit
from gateway.pipeline.arrival import Arrival
from gateway.pipeline.authenticate import authenticate
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.permit import find_model, on_terms_of
from gateway.pipeline.record import record
from gateway.pipeline.route import order_routes
from gateway.protocols.clients import ClientProtocol
from gateway.protocols.generation import Generation
from gateway.store import Store
from lumyx.lib import clock

__all__ = ["Arrival", "Gateway", "Limits", "run"]

log = logging.getLogger(__name__)

#: How often a request is judged anew whose key changes under it.
JUDGEMENTS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request: bytes and seconds."""

    body_limit: int
    body_deadline: float
    #: How long a hold lives without being extended (gateway.pipeline.leases).
    lease: float
    sandbox_is_open: bool
    #: How many proxies of ours write into X-Forwarded-For.
    trusted_proxies: int = 0
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
    principal = await authenticate(arrival, store=store, proxies=limits.trusted_proxies)
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
    await _admit(exchange, arrival, gateway)
    # Begun at once, not in the loop's next turn: the upstream is asked that much earlier.
    task = asyncio.Task(_serve(exchange, gateway), loop=asyncio.get_running_loop(), eager_start=True)
    gateway.running[task] = exchange
    task.add_done_callback(gateway.running.pop)
    await _watch(arrival.receive, exchange, task)


async def _admit(exchange: Exchange, arrival: Arrival, gateway: Gateway) -> None:
    """Find the model and admit; where the key's row says otherwise than we remember, by what it says now."""
    limits, store = gateway.limits, gateway.store
    for _ in range(JUDGEMENTS):
        principal = exchange.principal
        model = find_model(
            store.catalog(), exchange.request.model, principal=principal, sandbox_is_open=limits.sandbox_is_open
        )
        exchange.model = on_terms_of(principal, model)
        try:
            await admit(exchange, store=store, minute=gateway.minute, lease=limits.lease)
        except StaleKeyError:
            store.forget_key(principal.api_key_id)
            exchange.headers.clear()
            exchange.principal = await authenticate(arrival, store=store, proxies=limits.trusted_proxies)
        else:
            return
    raise unavailable("This API key is being changed. Try again in a moment.")


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
