"""A chat upstream's whole answer as a Messages message."""

from typing import Any

import msgspec

from gateway.protocols.answers import Labels, WholeAnswer
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.anthropic_told import messages_usage_object
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.messages_over_chat.answer import Answer
from gateway.translate.messages_over_chat.blocks import AnyBlock, TextBlock
from gateway.translate.messages_over_chat.chunks import read_chunk
from gateway.translate.messages_over_chat.signature import signature_over


class _ContentWriter:
    """Writes blocks as the content of a message."""

    __slots__ = ("_pieces", "content")

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self._pieces: list[str] = []

    def open(self, block: AnyBlock) -> None:
        """Begin a block."""
        self._pieces = []

    def add(self, block: AnyBlock, piece: str) -> None:
        """Add to it. A call knows its own input."""
        self._pieces.append(piece)

    def close(self, block: AnyBlock) -> None:
        """Write it."""
        if not isinstance(block, TextBlock):
            written = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input()}
        elif block.kind == "thinking":
            text = "".join(self._pieces)
            written = {"type": "thinking", "thinking": text, "signature": signature_over(block.details)}
        else:
            written = {"type": "text", "text": "".join(self._pieces)}
        self.content.append(written)


def message_from_chat_answer(body: bytes, request: MessagesRequest, labels: Labels) -> WholeAnswer:
    """Return the message for a whole chat answer. Raises UpstreamFailure for an error object, or for what is no answer."""
    chunk = read_chunk(body)
    writer = _ContentWriter()
    answer = Answer(writer, labels, request.stop_sequences)
    answer.add(chunk)
    if not chunk.choices:
        raise UpstreamFailure(FailureKind.INVALID, "its answer has no choices")
    answer.blocks.close()
    usage = answer.final_usage()
    message = {
        "id": labels.response_id,
        "type": "message",
        "role": "assistant",
        "model": labels.model,
        "content": writer.content,
        **answer.told_ending(),
        "usage": messages_usage_object(usage or answer.estimated_usage()),
    }
    return WholeAnswer(
        body=msgspec.json.encode(message),
        usage=usage,
        flags=answer.flags,
        has_output=answer.output_bytes > 0 or (usage is not None and usage.output > 0),
        output_bytes=answer.output_bytes,
        estimated_input=labels.estimated_input,
    )
