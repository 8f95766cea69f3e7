"""POST /messages."""

from gateway.errors import ApiError
from gateway.pipeline import Arrival, Gateway, run
from gateway.protocols.anthropic_request import MessagesRequest, parse_messages_request
from gateway.protocols.clients import MESSAGES
from gateway.protocols.wording import RequestShapeError
from gateway.upstreams.anthropic_messages import allowed_betas


def parse(body: bytes) -> MessagesRequest:
    """Return the parsed request. Raises ApiError 400 that names what is wrong."""
    try:
        return parse_messages_request(body)
    except RequestShapeError as error:
        raise ApiError(400, error.code, error.message) from error


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one message, whole or streamed."""
    await run(arrival, protocol=MESSAGES, parse=parse, gateway=gateway, betas=allowed_betas(arrival.headers))
