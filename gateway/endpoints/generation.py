"""GET /generation?id=…: the receipt of a request of the key's workspace that has ended.

It reads PostgreSQL each time, so the pace of the workspace counts it; it costs nothing.
"""

import msgspec

from gateway.errors import ApiError, shown
from gateway.http import query_value, send_json
from gateway.pipeline import Arrival, Gateway
from gateway.pipeline.admit import keep_pace
from gateway.pipeline.authenticate import authenticate
from gateway.protocols.receipt import DetailsGoneError, receipt_view, request_id_in

_FORMS = "the id of an answer (chatcmpl-…, msg_…), or the header x-request-id of its response"


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one receipt, or 404 not_found. Raises ApiError 400 for an id that is none."""
    principal = await authenticate(arrival, store=gateway.store, proxies=gateway.limits.trusted_proxies)
    given = query_value(arrival.query, "id")
    if not given:
        raise ApiError(400, "missing_parameter", f"id is missing. Send ?id= with {_FORMS}.")
    request_id = request_id_in(given)
    if request_id is None:
        raise ApiError(400, "invalid_parameter", f"id is `{shown(given)}`, which is no id of a request. Send {_FORMS}.")
    headers = await keep_pace(principal, minute=gateway.minute)
    try:
        receipt = await gateway.store.receipt(principal.workspace_id, request_id)
    except DetailsGoneError as gone:
        raise ApiError(404, "not_found", str(gone), headers=headers) from gone
    if receipt is None:
        raise ApiError(
            404,
            "not_found",
            f"There is no generation `{shown(given)}` in this key's workspace. "
            "One that is still running appears when its answer has ended.",
            headers=headers,
        )
    body = msgspec.json.encode({"data": receipt_view(receipt)})
    await send_json(arrival.send, body, request_id=arrival.id.hex, headers=headers)
