"""The parts of Messages answers that we read: events of a stream, and whole messages."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.answers import utf8_size
from gateway.protocols.anthropic_content import ABSENT, is_given
from gateway.protocols.anthropic_usage import ReportedMessagesUsage
from gateway.protocols.failures import FailureKind, UpstreamFailure


class AnswerBlock(msgspec.Struct, gc=False):
    """A content block of an answer, or the start of one: which fields are set depends on ``type``."""

    type: str = ""
    text: str | None = None
    #: Tool uses. In the start of a block, the input is ``{}`` and comes in deltas.
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT
    #: Thinking and redacted thinking.
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    citations: Raw = ABSENT
    #: Results of tools that the upstream itself ran.
    content: Raw = ABSENT


class WholeMessage(msgspec.Struct, gc=False):
    """A whole message, and what stands in ``message_start``."""

    type: str = "message"
    content: list[AnswerBlock] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: ReportedMessagesUsage | None = None
    error: Any = None


class EventDelta(msgspec.Struct, gc=False):
    """The delta of ``content_block_delta`` (``type`` says which), or of ``message_delta`` (the stop fields)."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Raw = ABSENT
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Event(msgspec.Struct, gc=False):
    """An event of a stream, of any type: which fields are set depends on it."""

    type: str = ""
    index: int = -1
    delta: EventDelta | None = None
    content_block: AnswerBlock | None = None
    message: WholeMessage | None = None
    usage: ReportedMessagesUsage | None = None
    error: Any = None


_decode_event = msgspec.json.Decoder(Event).decode
_decode_message = msgspec.json.Decoder(WholeMessage).decode
_decode_loose = msgspec.json.Decoder(dict[str, Raw]).decode
_INNER: dict[str, type[msgspec.Struct]] = {"message": WholeMessage, "content_block": AnswerBlock, "delta": EventDelta}
#: What a decode raises for bytes that are no JSON of the right shape, no UTF-8, or nested without end.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def event_in(payload: bytes) -> Event:
    """Return the event of one payload. Raises UpstreamFailure for what is no JSON object; odd values inside are left out."""
    return _read(payload, _decode_event, Event, "an event of its stream")


def message_in(body: bytes) -> WholeMessage:
    """Return a whole message. Raises UpstreamFailure for what is no JSON object; odd values inside are left out."""
    return _read(body, _decode_message, WholeMessage, "its answer")


def output_in_block(block: AnswerBlock) -> int:
    """Return the UTF-8 bytes that a block, or the start of one, holds: what reaches a client is billed."""
    size = utf8_size(block.text) + utf8_size(block.thinking) + utf8_size(block.data) + utf8_size(block.name)
    for value in (block.input, block.citations, block.content):
        # Two bytes are an empty list, object or string.
        if is_given(value) and len(value) > 2:
            size += len(value)
    return size


def output_in_delta(delta: EventDelta) -> int:
    """Return the UTF-8 bytes that a delta adds to its block. A signature is no output."""
    return utf8_size(delta.text) + utf8_size(delta.thinking) + utf8_size(delta.partial_json) + len(delta.citation)


def _read[T: msgspec.Struct](payload: bytes, decode: Callable[[bytes], T], shape: type[T], name: str) -> T:
    try:
        if not payload.isascii():
            # Raw values are not checked by the decode, and half a character would break every client.
            payload.decode()
        try:
            return decode(payload)
        except msgspec.ValidationError:
            return _loosened(payload, shape)
    except _UNREADABLE:
        raise UpstreamFailure(FailureKind.INVALID, f"{name} is not a JSON object") from None


def _loosened[T: msgspec.Struct](payload: bytes, shape: type[T]) -> T:
    """Return an object of odd types, each field that fits kept and the others left out."""
    given = _decode_loose(payload)
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(shape):
        if (value := given.get(field.name)) is None:
            continue
        try:
            kept[field.name] = msgspec.json.decode(value, type=field.type)
        except msgspec.ValidationError:
            if field.name == "content":
                kept["content"] = _blocks_in(value)
            elif field.name in _INNER:
                kept[field.name] = _loosened(bytes(value), _INNER[field.name]) if _is_object(value) else None
            elif field.name == "usage":
                kept["usage"] = ReportedMessagesUsage(input_tokens="", output_tokens="")
            elif shape is AnswerBlock and field.name != "type":
                kept["content"] = value  # it counts by its size
    return shape(**kept)


def _is_object(value: Raw) -> bool:
    return bytes(value)[:1] == b"{"


def _blocks_in(value: Raw) -> list[AnswerBlock] | None:
    """Return the blocks of a list in which some are odd: what one holds counts by its size."""
    try:
        return [
            _loosened(bytes(block), AnswerBlock) if _is_object(block) else AnswerBlock(content=block)
            for block in msgspec.json.decode(value, type=list[Raw])
        ]
    except msgspec.ValidationError:
        return None
