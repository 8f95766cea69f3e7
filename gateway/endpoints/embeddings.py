"""POST /embeddings."""

from gateway.errors import ApiError
from gateway.pipeline import Arrival, Gateway, run
from gateway.protocols.clients import EMBEDDINGS
from gateway.protocols.embeddings import EmbeddingsRequest, RequestShapeError, parse_embeddings_request


def parse(body: bytes) -> EmbeddingsRequest:
    """Return the parsed request. Raises ApiError 400 that names what is wrong."""
    try:
        return parse_embeddings_request(body)
    except RequestShapeError as error:
        raise ApiError(400, error.code, error.message) from error


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer with one vector for each input."""
    await run(arrival, protocol=EMBEDDINGS, parse=parse, gateway=gateway)
