"""Stages 4 and 5 for one exchange: ask the upstreams in turn, relay the answer, and settle before its end is seen.

Runs in a task that the request does not own: a client's disconnect stops the writing, never the reading or the bill.
Another upstream is tried only before the first content, at most ``MAX_ATTEMPTS`` in all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from billing.rating import TokenUsage
from gateway.errors import ApiError, internal_error
from gateway.http import send_error, send_json
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.failures import error_for
from gateway.pipeline.settle import Settler
from gateway.pipeline.streaming import StreamRelay
from gateway.pipeline.writer import StreamWriter
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import ChunkRelay, estimated_input, relay_whole, stream_error
from gateway.protocols.openai_told import tell_usage, usage_chunk
from gateway.types import RouteInfo
from gateway.upstreams import UpstreamCall, UpstreamClient, open_upstream
from lumyx.lib import clock

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
DONE = b"data: [DONE]\n\n"

type Attempt = Callable[[UpstreamCall], Awaitable[None]]


class Dispatcher:
    """Serves admitted exchanges."""

    def __init__(self, *, client: UpstreamClient, settler: Settler, keepalive: float) -> None:
        self._client = client
        self._settler = settler
        self._keepalive = keepalive

    async def serve(self, exchange: Exchange, routes: Sequence[RouteInfo]) -> None:
        """Answer the client, whole or streamed, and settle. Never raises for what an upstream or a client did."""
        if exchange.request.stream:
            await self._serve_stream(exchange, routes)
        else:
            await self._serve_whole(exchange, routes)

    async def give_up(self, exchange: Exchange) -> None:
        """End an exchange that met a bug of ours: close its hold (a no-op when it is closed), and tell the client."""
        exchange.error = internal_error()
        try:
            await self._settler.settle(exchange)
        except Exception:
            # The settlement may be what the bug is in. The sweeper closes the hold; a client that is told nothing waits for ever.
            log.exception("request %s could not be settled", exchange.request_id)
        if exchange.client_gone:
            return
        if exchange.head_sent:
            event = stream_error(exchange.error.body(exchange.request_id))
            await exchange.send({"type": "http.response.body", "body": event})
        else:
            await self._send_error(exchange, exchange.error)

    # --- whole answers ------------------------------------------------------------------------------------------------

    async def _serve_whole(self, exchange: Exchange, routes: Sequence[RouteInfo]) -> None:
        body = b""

        async def attempt(call: UpstreamCall) -> None:
            nonlocal body
            await call.start()
            answer = relay_whole(
                await call.read(),
                response_id=exchange.response_id,
                model=exchange.served_model().public_id,
                estimated_input=estimated_input(exchange.request),
            )
            exchange.first_token = clock.monotonic()
            exchange.produced = answer.has_output
            exchange.flags = ",".join(sorted(answer.flags))
            exchange.usage_is_estimate = answer.usage is None
            exchange.usage = (answer.usage or answer.estimated_usage()) if answer.has_output else TokenUsage()
            # What the client is told is what is billed.
            same = answer.usage == exchange.usage and not answer.flags
            body = answer.body if same else tell_usage(answer.body, exchange.usage)

        await self._try_routes(exchange, routes, attempt)
        await self._settler.settle(exchange)
        if exchange.client_gone:
            return
        if exchange.error is not None:
            await self._send_error(exchange, exchange.error)
        else:
            exchange.head_sent = True
            await send_json(exchange.send, body, request_id=exchange.request_id, headers=exchange.headers)

    # --- streams ------------------------------------------------------------------------------------------------------

    async def _serve_stream(self, exchange: Exchange, routes: Sequence[RouteInfo]) -> None:
        writer = StreamWriter(exchange, keepalive=self._keepalive)
        writer.start()
        relay: ChunkRelay | None = None

        async def attempt(call: UpstreamCall) -> None:
            nonlocal relay
            writer.forget()
            stream = StreamRelay(exchange, call, writer)
            relay = stream.relay
            await stream.run()

        try:
            await self._try_routes(exchange, routes, attempt)
            if relay is not None:
                self._count(exchange, relay)
            await self._settler.settle(exchange)
        finally:
            writer.stop()
        await self._end_stream(exchange, writer, relay)

    def _count(self, exchange: Exchange, relay: ChunkRelay) -> None:
        exchange.usage = relay.final_usage()
        exchange.flags = ",".join(sorted(relay.flags))
        if exchange.usage is None and exchange.produced:
            exchange.usage = relay.estimated_usage()
            exchange.usage_is_estimate = True
        elif exchange.usage is not None and exchange.usage.output > 0:
            exchange.produced = True

    async def _end_stream(self, exchange: Exchange, writer: StreamWriter, relay: ChunkRelay | None) -> None:
        error = exchange.error
        if error is None:
            if exchange.request.include_usage and relay is not None and not relay.told_usage:
                chunk = usage_chunk(
                    exchange.usage or TokenUsage(),
                    response_id=exchange.response_id,
                    model=exchange.served_model().public_id,
                    created=int(exchange.started_at.timestamp()),
                )
                writer.hold(b"data: " + chunk + b"\n\n")
            writer.hold(DONE)
            await writer.flush(end=True)
        elif exchange.head_sent:
            writer.forget()
            writer.hold(stream_error(error.body(exchange.request_id)))
            await writer.flush(end=True)
        elif not exchange.client_gone:
            await self._send_error(exchange, error)

    async def _send_error(self, exchange: Exchange, error: ApiError) -> None:
        exchange.head_sent = True
        await send_error(exchange.send, error, request_id=exchange.request_id, headers=exchange.headers)

    # --- attempts -----------------------------------------------------------------------------------------------------

    async def _try_routes(self, exchange: Exchange, routes: Sequence[RouteInfo], attempt: Attempt) -> None:
        """Run ``attempt`` over the routes until one works; the last failure becomes ``exchange.error``."""
        failure: UpstreamFailure | None = None
        total = max(route.upstream.total_timeout for route in routes)
        try:
            async with asyncio.timeout(total):
                for route in routes[:MAX_ATTEMPTS]:
                    failure = await self._try_one(exchange, route, attempt)
                    if failure is None:
                        return
                    if not failure.may_retry or exchange.produced or exchange.client_gone:
                        break
        except TimeoutError:
            failure = UpstreamFailure(FailureKind.TIMEOUT, f"nothing whole within {total} s")
        if failure is not None:
            exchange.error = error_for(failure)

    async def _try_one(self, exchange: Exchange, route: RouteInfo, attempt: Attempt) -> UpstreamFailure | None:
        exchange.route = route
        exchange.attempts += 1
        try:
            async with aclosing(
                open_upstream(self._client, route, exchange.request, max_tokens=exchange.max_tokens)
            ) as call:
                await attempt(call)
        except UpstreamFailure as failure:
            log.warning(
                "upstream failed: request=%s upstream=%s attempt=%d %s",
                exchange.request_id,
                route.upstream.name,
                exchange.attempts,
                failure,
            )
            return failure
        return None
