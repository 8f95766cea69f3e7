"""POST /chat/completions."""

from gateway.pipeline import Arrival, Gateway, run
from gateway.protocols.clients import CHAT
from gateway.protocols.openai_chat import parse_chat_request


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one chat completion, whole or streamed. Raises RequestShapeError that names what is wrong with the body."""
    await run(arrival, protocol=CHAT, parse=parse_chat_request, gateway=gateway)
