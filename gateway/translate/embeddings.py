"""Embeddings served by upstreams that speak OpenAI's protocol."""

from typing import NoReturn

from gateway.protocols.answers import Labels
from gateway.protocols.embeddings import EmbeddingsRequest, answer_in_steps, embeddings_answer, embeddings_body
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.generation import Target
from gateway.translate.pair import Pair


def body_for(request: EmbeddingsRequest, target: Target) -> bytes:
    """Return the body for an upstream."""
    return embeddings_body(request, model=target.model, gives_base64=target.profile.gives_base64)


def no_stream(_request: EmbeddingsRequest, _labels: Labels) -> NoReturn:
    """Raise UpstreamFailure: nobody streams embeddings, and no request can ask for it."""
    raise UpstreamFailure(FailureKind.INVALID, "embeddings are not streamed")


PAIR = Pair(body_for, no_stream, embeddings_answer, answer_in_steps)
