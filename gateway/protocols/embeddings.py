"""The embeddings protocol: requests, bodies for upstreams, and answers, under one name for the pipeline."""

from gateway.protocols.embeddings_answer import answer_in_steps, embeddings_answer
from gateway.protocols.embeddings_request import (
    EmbeddingsRequest,
    embeddings_body,
    estimated_tokens,
    parse_embeddings_request,
    tokens_upper_bound,
)
from gateway.protocols.wording import RequestShapeError

__all__ = [
    "EmbeddingsRequest",
    "RequestShapeError",
    "answer_in_steps",
    "embeddings_answer",
    "embeddings_body",
    "estimated_tokens",
    "parse_embeddings_request",
    "tokens_upper_bound",
]
