"""POST /quote: what a request would cost at most, by the code that admits it, and probably. Nothing is held, asked or charged.

The pace of the workspace counts it, the daily limit does not.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from billing.rating import TokenUsage, charge_for
from billing.types import Admitted
from gateway.http import query_value, read_body, send_json
from gateway.pipeline import Arrival, Gateway
from gateway.pipeline.admit import Budget, admission_for, examine, keep_pace
from gateway.pipeline.authenticate import authenticate
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.permit import find_model, on_terms_of
from gateway.protocols import embeddings
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.clients import CHAT, EMBEDDINGS, MESSAGES
from gateway.protocols.detect import NAMES, protocol_named, protocol_of
from gateway.protocols.embeddings import EmbeddingsRequest, parse_embeddings_request
from gateway.protocols.generation import Generation
from gateway.protocols.openai_chat import parse_chat_request
from gateway.protocols.receipt import rates_view
from gateway.protocols.request_tokens import estimated_tokens
from lumyx.lib import clock
from lumyx.lib.money import nano_to_usd

#: Tokens of output a choice that an estimate assumes, where the ceiling is not lower.
ASSUMED_OUTPUT = 500
PARSERS: dict[str, Callable[[bytes], Generation]] = {
    CHAT.name: parse_chat_request,
    MESSAGES.name: parse_messages_request,
    EMBEDDINGS.name: parse_embeddings_request,
}


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one quote. Raises what the endpoint of the quoted request raises before it admits, but for its 402."""
    limits, store = gateway.limits, gateway.store
    principal = await authenticate(arrival, store=store, proxies=limits.trusted_proxies)
    body = await read_body(arrival.receive, limit=limits.body_limit, deadline=limits.body_deadline)
    if body is None:
        return
    arrival.is_read = True
    named = query_value(arrival.query, "protocol")
    protocol = protocol_of(body, arrival.headers) if named is None else protocol_named(named)
    exchange = Exchange(
        id=arrival.id,
        send=arrival.send,
        started_at=clock.now(),
        started=clock.monotonic(),
        principal=principal,
        protocol=protocol,
        request=PARSERS[protocol.name](body),
        site_url=limits.site_url,
    )
    model = find_model(
        store.catalog(), exchange.request.model, principal=principal, sandbox_is_open=limits.sandbox_is_open
    )
    exchange.model = on_terms_of(principal, model)
    examine(exchange)
    window = await keep_pace(principal, minute=gateway.minute)
    budget = Budget(exchange)
    answer = await store.would_admit(admission_for(exchange, budget, lease=limits.lease))
    # On a free model the headers speak of the day, which is not asked here.
    headers = [] if exchange.model.is_free else window
    view = msgspec.json.encode(quote_view(exchange, budget, answer))
    await send_json(arrival.send, view, request_id=exchange.request_id, headers=headers)


def quote_view(exchange: Exchange, budget: Budget, answer: Admitted) -> dict[str, Any]:
    """Return the quote; ``answer`` is what the ledger would say. Where it would refuse, the quote is of the whole wish."""
    model, is_affordable = exchange.served_model(), answer.refusal is None
    # The budget that refuses it leaves less than the balance.
    left = answer.available if answer.budget is None else min(answer.available, answer.budget.left)
    most = answer.held if is_affordable else budget.most
    ceiling = budget.ceiling_for(most)
    writes = not isinstance(exchange.request, EmbeddingsRequest)
    return {
        "object": "quote",
        "model": model.public_id,
        "protocol": next(name for name, protocol in NAMES.items() if protocol is exchange.protocol),
        "max_charge": nano_to_usd(most),
        "max_charge_nano": str(most),
        "hold": nano_to_usd(most),
        "hold_nano": str(most),
        "max_tokens": ceiling if writes else None,
        "affordable": is_affordable,
        "refusal": None if answer.refusal is None else answer.refusal.value,
        "affordable_max_tokens": budget.affordable(max(0, left)) if writes else None,
        "available": nano_to_usd(answer.available),
        "estimate": _estimate(exchange, budget, ceiling),
        "price": {"id": model.price_id, "free": model.is_free, "per_million": rates_view(model.rates)},
    }


def _estimate(exchange: Exchange, budget: Budget, ceiling: int) -> dict[str, Any]:
    request = exchange.request
    tokens = (
        embeddings.estimated_tokens(request) if isinstance(request, EmbeddingsRequest) else estimated_tokens(request)
    )
    usage = TokenUsage(input=min(tokens, budget.input_upper), output=min(ASSUMED_OUTPUT, ceiling) * budget.choices)
    charge = charge_for(usage, budget.rates)
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "charge": nano_to_usd(charge),
        "charge_nano": str(charge),
    }
