"""POST /chat/completions."""

from gateway.errors import ApiError
from gateway.pipeline import Arrival, Gateway, run
from gateway.protocols.clients import CHAT
from gateway.protocols.openai_chat import ChatRequest, RequestShapeError, parse_chat_request


def parse(body: bytes) -> ChatRequest:
    """Return the parsed request. Raises ApiError 400 that names what is wrong."""
    try:
        return parse_chat_request(body)
    except RequestShapeError as error:
        raise ApiError(400, error.code, error.message) from error


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer one chat completion, whole or streamed."""
    await run(arrival, protocol=CHAT, parse=parse, gateway=gateway)
