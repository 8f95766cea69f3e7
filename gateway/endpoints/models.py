"""GET /models and GET /models/{id}: public; with a key, only what that key may use."""

import msgspec

from gateway.http import send_json
from gateway.pipeline import Arrival, Gateway
from gateway.pipeline.authenticate import authenticate_if_given
from gateway.pipeline.permit import can_see, can_use, find_model
from gateway.protocols.model_list import catalog_view, list_view


async def serve_list(arrival: Arrival, gateway: Gateway) -> None:
    """Answer the list of models that the caller can see and use."""
    principal = await authenticate_if_given(arrival, store=gateway.store, proxies=gateway.limits.trusted_proxies)
    sandbox = gateway.limits.sandbox_is_open
    models = [
        model
        for model in gateway.store.catalog().models.values()
        if can_see(model, principal, sandbox_is_open=sandbox) and can_use(model, principal)
    ]
    await send_json(arrival.send, msgspec.json.encode(list_view(models)), request_id=arrival.id.hex)


async def serve_one(arrival: Arrival, gateway: Gateway, public_id: str) -> None:
    """Answer one model, or 404 model_not_found."""
    principal = await authenticate_if_given(arrival, store=gateway.store, proxies=gateway.limits.trusted_proxies)
    model = find_model(
        gateway.store.catalog(), public_id, principal=principal, sandbox_is_open=gateway.limits.sandbox_is_open
    )
    await send_json(arrival.send, msgspec.json.encode(catalog_view(model)), request_id=arrival.id.hex)
