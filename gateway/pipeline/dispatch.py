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
from gateway.http import charge_header, send_error, send_json
from gateway.pipeline.estimate import own_count
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.failures import error_for
from gateway.pipeline.settle import Settler
from gateway.pipeline.streaming import StreamRelay
from gateway.pipeline.writer import StreamWriter
from gateway.protocols.answers import AnswerStream, Labels, WholeAnswer
from gateway.protocols.clients import EMBEDDINGS
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.generation import Target, estimated_input
from gateway.protocols.wording import RequestShapeError
from gateway.translate import Pair, pair_for
from gateway.types import RouteInfo
from gateway.upstreams import UpstreamCall, UpstreamClient, open_embeddings, open_upstream
from gateway.upstreams.profiles import profile_of
from lumyx.lib import clock

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3

type Attempt = Callable[[UpstreamCall, Pair], Awaitable[None]]


class Dispatcher:
    """Serves admitted exchanges."""

    def __init__(self, *, client: UpstreamClient, settler: Settler, keepalive: float) -> None:
        self._client = client
        self._settler = settler
        self._keepalive = keepalive

    @property
    def client(self) -> UpstreamClient:
        """The connections to the upstreams."""
        return self._client

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
            event = exchange.protocol.error_event(exchange.error.body(exchange.request_id))
            await exchange.send({"type": "http.response.body", "body": event})
        else:
            await self._send_error(exchange, exchange.error)

    # --- whole answers ------------------------------------------------------------------------------------------------

    async def _serve_whole(self, exchange: Exchange, routes: Sequence[RouteInfo]) -> None:
        body, protocol = b"", exchange.protocol

        async def attempt(call: UpstreamCall, pair: Pair) -> None:
            nonlocal body
            await call.start()
            answer = await _whole(pair, await call.read(), exchange)
            exchange.first_token = clock.monotonic()
            exchange.produced = answer.has_output
            exchange.flags = ",".join(sorted(answer.flags))
            exchange.usage_is_estimate = answer.usage is None
            exchange.usage = TokenUsage()
            if answer.has_output:
                exchange.usage = answer.usage or own_count(exchange, answer.estimated_usage())
            # What the client is told is what is billed.
            same = answer.usage == exchange.usage and not answer.flags
            body = answer.body if same else protocol.tell_usage(answer.body, exchange.usage)

        await self._try_routes(exchange, routes, attempt)
        await self._settler.settle(exchange)
        if exchange.client_gone:
            return
        if exchange.error is not None:
            await self._send_error(exchange, exchange.error)
        else:
            exchange.head_sent = True
            if exchange.request.wants_cost:
                body = protocol.add_cost(body, exchange.charge)
            headers = [*exchange.headers, charge_header(exchange.charge)]
            await send_json(exchange.send, body, request_id=exchange.request_id, headers=headers)

    # --- streams ------------------------------------------------------------------------------------------------------

    async def _serve_stream(self, exchange: Exchange, routes: Sequence[RouteInfo]) -> None:
        writer = StreamWriter(exchange, keepalive=self._keepalive)
        writer.start()
        answer: AnswerStream | None = None

        async def attempt(call: UpstreamCall, pair: Pair) -> None:
            nonlocal answer
            writer.forget()
            answer = pair.stream(exchange.request, _labels(exchange))
            writer.life_sign = answer.life_sign
            await StreamRelay(exchange, call, answer, writer).run()

        try:
            try:
                await self._try_routes(exchange, routes, attempt)
            finally:  # what has come out is billed, also where a bug of ours ended it
                if answer is not None:
                    self._count(exchange, answer)
            await self._settler.settle(exchange)
        finally:
            writer.stop()
        await self._end_stream(exchange, writer, answer)

    def _count(self, exchange: Exchange, answer: AnswerStream) -> None:
        exchange.usage = answer.final_usage()
        exchange.flags = ",".join(sorted(answer.flags))
        if exchange.usage is None and exchange.produced:
            exchange.usage = own_count(exchange, answer.estimated_usage())
            exchange.usage_is_estimate = True
        elif exchange.usage is not None and exchange.usage.output > 0:
            exchange.produced = True

    async def _end_stream(self, exchange: Exchange, writer: StreamWriter, answer: AnswerStream | None) -> None:
        error = exchange.error
        if error is None and answer is not None:
            cost = exchange.charge if exchange.request.wants_cost else None
            writer.hold(answer.end(exchange.usage or TokenUsage(), cost))
            await writer.flush(end=True)
        elif error is not None and exchange.head_sent:
            writer.forget()
            writer.hold(exchange.protocol.error_event(error.body(exchange.request_id)))
            await writer.flush(end=True)
        elif error is not None and not exchange.client_gone:
            await self._send_error(exchange, error)

    async def _send_error(self, exchange: Exchange, error: ApiError) -> None:
        exchange.head_sent = True
        await send_error(exchange.send, error, request_id=exchange.request_id, headers=exchange.headers)

    # --- attempts -----------------------------------------------------------------------------------------------------

    async def _try_routes(self, exchange: Exchange, routes: Sequence[RouteInfo], attempt: Attempt) -> None:
        """Run ``attempt`` over the routes until one works; the last failure becomes ``exchange.error``."""
        failure: UpstreamFailure | RequestShapeError | None = None
        total = max(route.upstream.total_timeout for route in routes)
        try:
            async with asyncio.timeout(total):
                for route in routes[:MAX_ATTEMPTS]:
                    failure = await self._try_one(exchange, route, attempt)
                    if failure is None:
                        return
                    if exchange.produced or exchange.client_gone or not _is_worth_another(failure):
                        break
        except TimeoutError:
            failure = UpstreamFailure(FailureKind.TIMEOUT, f"nothing whole within {total} s")
        if isinstance(failure, RequestShapeError):
            exchange.error = ApiError(400, failure.code, failure.message)
        elif failure is not None:
            exchange.error = error_for(failure)

    def _open(self, exchange: Exchange, route: RouteInfo, body: bytes) -> UpstreamCall:
        if exchange.protocol is EMBEDDINGS:
            return open_embeddings(self._client, route, body)
        return open_upstream(self._client, route, body, stream=exchange.request.stream, betas=exchange.betas)

    async def _try_one(
        self, exchange: Exchange, route: RouteInfo, attempt: Attempt
    ) -> UpstreamFailure | RequestShapeError | None:
        exchange.route = route
        exchange.attempts += 1
        try:
            pair = pair_for(exchange.protocol.name, route.upstream.protocol)
            body = pair.body(exchange.request, _target(exchange, route))
            async with aclosing(self._open(exchange, route, body)) as call:
                await attempt(call, pair)
        except RequestShapeError as refusal:
            return refusal
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


async def _whole(pair: Pair, body: bytes, exchange: Exchange) -> WholeAnswer:
    """Return the client's answer for an upstream's; one that is made in steps lets others run between them."""
    if pair.whole_in_steps is None:
        return pair.whole(body, exchange.request, _labels(exchange))
    steps = pair.whole_in_steps(body, exchange.request, _labels(exchange))
    while True:
        try:
            next(steps)
        except StopIteration as done:
            answer: WholeAnswer = done.value
            return answer
        await asyncio.sleep(0)


def _is_worth_another(failure: UpstreamFailure | RequestShapeError) -> bool:
    """Tell whether another route may do better: what one protocol cannot say, another may."""
    return isinstance(failure, RequestShapeError) or failure.may_retry


def _labels(exchange: Exchange) -> Labels:
    return Labels(
        response_id=exchange.response_id,
        model=exchange.served_model().public_id,
        created=int(exchange.started_at.timestamp()),
        estimated_input=estimated_input(exchange.request),
    )


def _target(exchange: Exchange, route: RouteInfo) -> Target:
    model = exchange.served_model()
    return Target(
        model=route.upstream_model,
        profile=profile_of(route.upstream.provider),
        max_tokens=exchange.max_tokens,
        max_output_tokens=min(model.max_output_tokens or model.context_window, model.context_window),
        can_reason="reasoning" in model.tags,
    )
