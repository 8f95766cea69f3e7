"""The events of a Messages stream, written by templates: most of an answer is deltas that differ in their text alone."""

from typing import Any

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_told import messages_usage_object
from gateway.translate.messages_over_chat.blocks import AnyBlock, TextBlock
from gateway.translate.messages_over_chat.signature import signature_over

#: What stands behind the text of every delta.
TAIL = b"}}\n\n"
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b:'
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_THINKING = b'"thinking_delta","thinking"'
_TEXT = b'"text_delta","text"'
_INPUT = b'"input_json_delta","partial_json"'
_SIGNATURE = b'"signature_delta","signature"'

encode = msgspec.json.encode


class EventWriter:
    """Writes blocks as events; ``taken`` hands out what has been written."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out: list[bytes] = []

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def start(self, labels: Labels, usage: TokenUsage) -> None:
        """Write the start of the message."""
        message: dict[str, Any] = {
            "id": labels.response_id,
            "type": "message",
            "role": "assistant",
            "model": labels.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_usage_object(usage),
        }
        self._write("message_start", {"message": message})

    def end(self, stop: dict[str, Any], usage: TokenUsage, cost: int | None = None) -> None:
        """Write the end of the message: why it ended, what it used, and the charge, if given (nano-USD)."""
        self._write("message_delta", {"delta": stop, "usage": messages_usage_object(usage, cost)})
        self._write("message_stop", {})

    def open(self, block: AnyBlock) -> None:
        """Write the start of a block."""
        if not isinstance(block, TextBlock):
            kind = _INPUT
            content = encode({"type": "tool_use", "id": block.id, "name": block.name, "input": {}})
        elif block.kind == "thinking":
            kind = _THINKING
            content = b'{"type":"thinking","thinking":"","signature":""}'
        else:
            kind = _TEXT
            content = b'{"type":"text","text":""}'
        block.head = _DELTA % (block.index, kind)
        self._out.append(_START % (block.index, content))

    def add(self, block: AnyBlock, piece: str) -> None:
        """Write a delta."""
        self._out.append(block.head + encode(piece) + TAIL)

    def close(self, block: AnyBlock) -> None:
        """Write the end of a block; thinking is signed first."""
        if isinstance(block, TextBlock) and block.kind == "thinking":
            self._out.append(_DELTA % (block.index, _SIGNATURE) + encode(signature_over(block.details)) + TAIL)
        self._out.append(_STOP % block.index)

    def _write(self, kind: str, fields: dict[str, Any]) -> None:
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields})))
