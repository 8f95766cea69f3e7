"""The parts of Messages answers that we read: events of a stream, and whole messages."""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.anthropic_content import ABSENT
from gateway.protocols.anthropic_usage import ReportedMessagesUsage


class AnswerBlock(msgspec.Struct, gc=False):
    """A content block of an answer, or the start of one: which fields are set depends on ``type``."""

    type: str
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

    type: str
    index: int = -1
    delta: EventDelta | None = None
    content_block: AnswerBlock | None = None
    message: WholeMessage | None = None
    usage: ReportedMessagesUsage | None = None
    error: Any = None
