"""The chat completions protocol: requests, chunks, whole answers and errors, under one name for the pipeline."""

from gateway.protocols.answers import WholeAnswer
from gateway.protocols.generation import Image, estimated_input, input_upper_bound
from gateway.protocols.openai_answer import ChunkRelay, relay_whole
from gateway.protocols.openai_errors import stream_error
from gateway.protocols.openai_fold import fold_chunks, whole_to_chunks
from gateway.protocols.openai_request import (
    ChatRequest,
    parse_chat_request,
    upstream_body,
)
from gateway.protocols.wording import RequestShapeError

__all__ = [
    "ChatRequest",
    "ChunkRelay",
    "Image",
    "RequestShapeError",
    "WholeAnswer",
    "estimated_input",
    "fold_chunks",
    "input_upper_bound",
    "parse_chat_request",
    "relay_whole",
    "stream_error",
    "upstream_body",
    "whole_to_chunks",
]
