"""GET /key: what the key that asks may do, and what is left of its budgets and limits. No secret is in it.

It reads PostgreSQL each time, so the pace counts it; it costs nothing.
"""

import msgspec

from gateway.http import send_json
from gateway.pipeline import Arrival, Gateway
from gateway.pipeline.admit import keep_pace
from gateway.pipeline.authenticate import authenticate, revoked
from gateway.protocols.key_view import key_view


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer the key. Raises what ``authenticate`` raises."""
    principal = await authenticate(arrival, store=gateway.store, proxies=gateway.limits.trusted_proxies)
    headers = await keep_pace(principal, minute=gateway.minute)
    facts = await gateway.store.key_facts(principal)
    if facts is None:  # it was deleted between the two
        raise revoked()
    body = msgspec.json.encode({"data": key_view(facts)})
    await send_json(arrival.send, body, request_id=arrival.id.hex, headers=headers)
