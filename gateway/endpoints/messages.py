"""POST /messages."""

from gateway.pipeline import Arrival, Gateway, run
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.clients import MESSAGES
from gateway.upstreams.anthropic_messages import allowed_betas


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one message, whole or streamed. Raises RequestShapeError that names what is wrong with the body."""
    betas = allowed_betas(arrival.headers)
    await run(arrival, protocol=MESSAGES, parse=parse_messages_request, gateway=gateway, betas=betas)
