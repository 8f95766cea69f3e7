"""POST /embeddings."""

from gateway.pipeline import Arrival, Gateway, run
from gateway.protocols.clients import EMBEDDINGS
from gateway.protocols.embeddings import parse_embeddings_request


async def serve(arrival: Arrival, gateway: Gateway) -> None:
    """Answer with one vector for each input. Raises RequestShapeError that names what is wrong with the body."""
    await run(arrival, protocol=EMBEDDINGS, parse=parse_embeddings_request, gateway=gateway)
