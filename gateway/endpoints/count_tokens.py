"""POST /messages/count_tokens: how many tokens a request's input has. Costs nothing: no hold, no charge, no daily quota.

The upstream that would be asked first counts by itself where it can; else, and where it fails, the answer is our own estimate and
says so. The pace of the workspace holds here too.
"""

import logging

import msgspec

from gateway.errors import Header
from gateway.http import read_body, send_json
from gateway.pipeline import Arrival, Gateway
from gateway.pipeline.admit import keep_pace
from gateway.pipeline.authenticate import authenticate
from gateway.pipeline.permit import check_model, find_model
from gateway.pipeline.route import order_routes, usable_routes
from gateway.protocols.anthropic_body import count_body
from gateway.protocols.anthropic_request import MessagesRequest, parse_messages_request
from gateway.protocols.failures import UpstreamFailure
from gateway.protocols.generation import Target
from gateway.protocols.request_tokens import estimated_tokens
from gateway.types import ModelInfo, RouteInfo
from gateway.upstreams import UpstreamClient
from gateway.upstreams.anthropic_count import count_upstream
from gateway.upstreams.anthropic_messages import allowed_betas
from gateway.upstreams.profiles import profile_of

log = logging.getLogger(__name__)

#: Marks an answer that is our estimate, beside ``_meta`` in its body.
ESTIMATED: Header = (b"x-lumyx-estimated", b"true")
#: Upstreams of these protocols count tokens.
COUNTING = frozenset({"anthropic_messages"})


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one count. Raises RequestShapeError that names what is wrong with the body."""
    limits = gateway.limits
    principal = await authenticate(arrival, store=gateway.store, proxies=limits.trusted_proxies)
    body = await read_body(arrival.receive, limit=limits.body_limit, deadline=limits.body_deadline)
    if body is None:
        return
    arrival.is_read = True
    request = parse_messages_request(body, needs_limit=False)
    model = find_model(
        gateway.store.catalog(), request.model, principal=principal, sandbox_is_open=limits.sandbox_is_open
    )
    check_model(request, model=model, principal=principal)
    routes = order_routes(usable_routes(model, request))
    window = await keep_pace(principal, minute=gateway.minute)
    # On a free model the headers speak of the day, which is not asked here.
    headers = [] if model.is_free else window
    tokens = await _counted(gateway.dispatcher.client, routes[0], request, model, allowed_betas(arrival.headers))
    answer: dict[str, object] = {"input_tokens": tokens}
    if tokens is None:
        answer = {"input_tokens": estimated_tokens(request), "_meta": {"estimated": True}}
        headers = [*headers, ESTIMATED]
    await send_json(arrival.send, msgspec.json.encode(answer), request_id=arrival.id.hex, headers=headers)


async def _counted(
    client: UpstreamClient, route: RouteInfo, request: MessagesRequest, model: ModelInfo, betas: tuple[str, ...]
) -> int | None:
    """Return the upstream's own count; None where it has none to give."""
    upstream = route.upstream
    if upstream.protocol not in COUNTING:
        return None
    target = Target(
        model=route.upstream_model, profile=profile_of(upstream.provider), can_reason="reasoning" in model.tags
    )
    try:
        return await count_upstream(client, upstream, count_body(request, target), betas=betas)
    except UpstreamFailure as failure:
        log.warning("upstream did not count tokens: upstream=%s %s", upstream.name, failure)
        return None
