"""A Messages stream as chat completion chunks, event by event.

Each event that says something becomes one chunk. The pieces of a tool's arguments come out as they come in; a tool without
any input has ``{}`` as its one piece. The numbers of tool calls and of reasoning details are counted here: a content block's
own number counts texts too.
"""

from typing import Any

import msgspec
from msgspec import Raw

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_reader import MessagesReader
from gateway.protocols.anthropic_shapes import AnswerBlock, Event, EventDelta
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_request import ChatRequest
from gateway.protocols.openai_told import stream_end
from gateway.protocols.sse import KEEP_ALIVE
from gateway.translate.chat_over_messages.answer import (
    annotations_of,
    arguments_in,
    block_failure,
    citations_in,
    second_call_failure,
)
from gateway.translate.chat_over_messages.reasoning import encrypted_detail, text_detail
from gateway.translate.chat_over_messages.tools import is_legacy
from gateway.translate.tables import finish_reason_of

_GOES_ON = b',"finish_reason":null}]}\n\n'
_NO_BLOCK = AnswerBlock()
_encode = msgspec.json.encode


class ChatOverMessages:
    """The AnswerStream of this pair."""

    __slots__ = (
        "_block",
        "_calls",
        "_characters",
        "_citations",
        "_details",
        "_has_arguments",
        "_has_ended",
        "_head",
        "_include_usage",
        "_is_legacy",
        "_labels",
        "_read",
        "_reader",
        "_text_head",
        "_text_start",
    )

    def __init__(self, request: ChatRequest, labels: Labels) -> None:
        self._reader = reader = MessagesReader(labels)
        self._read = reader.read
        self._labels = labels
        self._include_usage = request.include_usage or request.wants_cost
        self._is_legacy = is_legacy(request)
        told = {
            "id": labels.response_id,
            "object": "chat.completion.chunk",
            "created": labels.created,
            "model": labels.model,
        }
        #: All chunks are the same up to the delta of their one choice.
        self._head = b"data: " + _encode(told)[:-1] + b',"choices":[{"index":0,"delta":'
        self._text_head = self._head + b'{"content":'
        #: The block that is open.
        self._block = _NO_BLOCK
        self._calls = 0
        self._details = 0
        self._has_arguments = False
        #: Characters of content so far, and where the open block's text began: citations name the place that they prove.
        self._characters = 0
        self._text_start = 0
        self._citations: list[Raw] = []
        self._has_ended = False

    @property
    def started(self) -> bool:
        """Whether content has come out."""
        return self._reader.started

    @property
    def finished(self) -> bool:
        """Whether the upstream has said why the answer ended."""
        return self._reader.finished

    @property
    def flags(self) -> frozenset[str]:
        """What had to be put right in the report of usage."""
        return self._reader.flags

    def feed(self, payload: bytes) -> bytes:
        """Return the chunk for one payload, framed, empty if there is nothing for the client in it. Raises UpstreamFailure."""
        event = self._read(payload)
        if event is None:
            return b""
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta or EventDelta()
            if delta.type == "text_delta":
                text = delta.text
                if not text:
                    return b""
                self._characters += len(text)
                return b"%b%b}%b" % (self._text_head, _encode(text), _GOES_ON)
            return self._chunk(self._piece_of(delta))
        step = _STEPS.get(kind)
        return b"" if step is None else step(self, event)

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report, None if there was none."""
        return self._reader.final_usage()

    def estimated_usage(self) -> TokenUsage:
        """Return our own count."""
        return self._reader.estimated_usage()

    def end(self, usage: TokenUsage, cost: int | None = None) -> bytes:
        """Return the usage chunk, where the client asked for one, and the end mark."""
        return stream_end(usage if self._include_usage else None, self._labels, cost=cost)

    def life_sign(self) -> bytes:
        """Return a comment."""
        return KEEP_ALIVE

    def _chunk(self, delta: dict[str, Any] | None) -> bytes:
        return b"" if delta is None else self._head + _encode(delta) + _GOES_ON

    def _piece_of(self, delta: EventDelta) -> dict[str, Any] | None:
        """Return what a delta, other than of text, adds to the answer; None for nothing."""
        kind = delta.type
        if kind == "input_json_delta":
            piece = delta.partial_json
            if not piece:
                return None
            self._has_arguments = True
            return self._arguments(piece)
        if kind == "thinking_delta":
            text = delta.thinking
            return _thought(self._details - 1, text) if text else None
        if kind == "signature_delta":
            signature = delta.signature
            return {"reasoning_details": [text_detail(self._details - 1, signature=signature)]} if signature else None
        if kind == "citations_delta":
            self._citations.append(delta.citation)
            return None
        detail = f'its stream has a delta of the unknown type "{kind[:80]}"'
        raise UpstreamFailure(FailureKind.INVALID, detail, produced=self._reader.started)

    def _begin(self, event: Event) -> bytes:
        return self._chunk({"role": "assistant"})

    def _open(self, event: Event) -> bytes:
        block = event.content_block
        failure = block_failure(block, produced=self._reader.started)
        if block is None or failure is not None:
            raise failure or UpstreamFailure(FailureKind.INVALID, "its stream has a block that is none")
        self._block = block
        if block.type == "tool_use":
            return self._open_call(block)
        if block.type == "text":
            self._text_start = self._characters
            self._citations = citations_in(block)
            self._characters += len(block.text or "")
            return self._chunk({"content": block.text} if block.text else None)
        index = self._details
        self._details += 1
        if block.type == "redacted_thinking":
            return self._chunk({"reasoning_details": [encrypted_detail(index, block.data or "")]})
        if not block.thinking:
            signed = {"reasoning_details": [text_detail(index, text="", signature=block.signature)]}
            return self._chunk(signed if block.signature else None)
        delta = _thought(index, block.thinking)
        if block.signature:
            delta["reasoning_details"].append(text_detail(index, signature=block.signature))
        return self._chunk(delta)

    def _open_call(self, block: AnswerBlock) -> bytes:
        if self._is_legacy and self._calls:
            raise second_call_failure(produced=self._reader.started)
        self._calls += 1
        self._has_arguments = False
        function = {"name": block.name, "arguments": ""}
        if self._is_legacy:
            return self._chunk({"function_call": function})
        call = {"index": self._calls - 1, "id": block.id, "type": "function", "function": function}
        return self._chunk({"tool_calls": [call]})

    def _arguments(self, piece: str) -> dict[str, Any]:
        if self._is_legacy:
            return {"function_call": {"arguments": piece}}
        return {"tool_calls": [{"index": self._calls - 1, "function": {"arguments": piece}}]}

    def _close(self, event: Event) -> bytes:
        block, self._block = self._block, _NO_BLOCK
        if block.type == "tool_use" and not self._has_arguments:
            return self._chunk(self._arguments(arguments_in(block)))
        if block.type == "text" and self._citations:
            annotations = annotations_of(self._citations, self._text_start, self._characters)
            return self._chunk({"annotations": annotations} if annotations else None)
        return b""

    def _end(self, event: Event) -> bytes:
        if self._has_ended or not self._reader.finished or event.delta is None:
            return b""
        self._has_ended = True
        reason = finish_reason_of(event.delta.stop_reason)
        if self._is_legacy and reason == "tool_calls":
            reason = "function_call"
        return self._head + b'{},"finish_reason":"' + reason.encode() + b'"}]}\n\n'


_STEPS = {
    "message_start": ChatOverMessages._begin,
    "content_block_start": ChatOverMessages._open,
    "content_block_stop": ChatOverMessages._close,
    "message_delta": ChatOverMessages._end,
}


def _thought(index: int, text: str) -> dict[str, Any]:
    return {"reasoning_content": text, "reasoning_details": [text_detail(index, text=text)]}
