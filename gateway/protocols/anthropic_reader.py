"""Streams of Messages upstreams, read event by event: the grammar is checked, what comes out and its usage are counted.

The relay and every translator of such streams build on it. A client's library takes a stream apart by its grammar, so one that
breaks it is a failure of the upstream.
"""

import re
from copy import replace

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, Labels, estimated_output
from gateway.protocols.anthropic_content import is_given
from gateway.protocols.anthropic_errors import failure_from_messages_error
from gateway.protocols.anthropic_shapes import Event, EventDelta, event_in, output_in_block, output_in_delta
from gateway.protocols.anthropic_usage import ReportedMessagesUsage, merged_reports, messages_usage_from
from gateway.protocols.failures import FailureKind, UpstreamFailure

#: The types of block to which each type of delta can be added. Deltas that are not named here pass.
FITTING = {
    "text_delta": frozenset({"text"}),
    "citations_delta": frozenset({"text"}),
    "thinking_delta": frozenset({"thinking"}),
    "signature_delta": frozenset({"thinking"}),
    "input_json_delta": frozenset({"tool_use", "server_tool_use", "mcp_tool_use"}),
}
_KNOWN_BLOCKS = frozenset({"redacted_thinking"}).union(*FITTING.values())
#: The field that a delta of each type must have, be it empty.
_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
_FIELDS["input_json_delta"] = "partial_json"
#: Some servers of this protocol end their streams as the other protocol does.
_DONE = b"[DONE]"
#: What may stand in an ``event:`` line: more could forge events.
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class MessagesReader:
    """Reads one stream. Pings, and what comes after the end, are left out."""

    __slots__ = (
        "_block",
        "_has_begun",
        "_is_over",
        "_next",
        "_reported",
        "_reported_bytes",
        "_usage",
        "estimated_input",
        "finished",
        "flags",
        "output_bytes",
        "started",
    )

    def __init__(self, labels: Labels) -> None:
        self.estimated_input = labels.estimated_input
        #: Content has come: from here on, no other upstream can be tried.
        self.started = False
        #: The upstream has said why the answer ended.
        self.finished = False
        self.flags = NO_FLAGS
        self.output_bytes = 0
        self._has_begun = False
        self._is_over = False
        #: The type of the block that is open, None for none; and the index of the next.
        self._block: str | None = None
        self._next = 0
        #: All reports of usage so far, what they amount to, and the output that the last one knew of; -1: it is of the start.
        self._reported: ReportedMessagesUsage | None = None
        self._usage: TokenUsage | None = None
        self._reported_bytes = -1

    def read(self, payload: bytes) -> Event | None:
        """Return the event of one payload, None for nothing.

        Raises UpstreamFailure (with ``produced``) for an error event, for what is no event, and for a breach of the grammar.
        """
        try:
            event = event_in(payload)
        except UpstreamFailure as failure:
            if payload == _DONE:
                return None
            failure.produced = self.started
            raise
        kind = event.type
        if kind == "content_block_delta" and event.error is None:
            self._add(event, len(payload))
            return event
        if kind == "ping" or self._is_over:
            return None
        if kind == "error" or event.error is not None:
            error = msgspec.json.decode(payload) if event.error is None else event.error
            raise failure_from_messages_error(error, produced=self.started)
        step = _STEPS.get(kind)
        if step is not None:
            step(self, event)
        elif not _NAME.fullmatch(kind):
            raise self._invalid("an event without a type")
        elif not self._has_begun:
            # The grammar begins with message_start, and an event that we do not know cannot matter before it.
            return None
        return event

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report, None if there was none; what came out after it is added by our own count.

        What is reported at the start, of an answer of which then nothing came, is no report: nobody pays for a failure.
        """
        usage = self._usage
        known = max(self._reported_bytes, 0)
        if self._reported_bytes < 0 and not self.started and not self.finished:
            return None
        if usage is None or self.output_bytes == known:
            return usage
        self.flags |= {"usage_stale"}
        if self._reported_bytes < 0:
            # What is reported at the start counts no more than the first token or so.
            return replace(usage, output=max(usage.output, estimated_output(self.output_bytes)))
        return replace(usage, output=usage.output + estimated_output(self.output_bytes - known))

    def estimated_usage(self) -> TokenUsage:
        """Return our own count so far, for an upstream that reports none."""
        return TokenUsage(input=self.estimated_input, output=estimated_output(self.output_bytes))

    def _begin(self, event: Event) -> None:
        message = event.message
        if self._has_begun:
            raise self._invalid("two message_start")
        if message is None or message.content:
            raise self._invalid("a message_start without a message, or with content in it")
        self._has_begun = True
        if message.usage is not None:
            self._count(message.usage)

    def _open(self, event: Event) -> None:
        block = event.content_block
        if not self._has_begun or self.finished or self._block is not None:
            raise self._invalid("a content block before message_start, after the end, or inside of another")
        if block is None or not block.type or event.index != self._next:
            raise self._invalid("a content block without a type, or out of order")
        self._block = block.type
        self._next += 1
        size = output_in_block(block)
        if size:
            self.started = True
            self.output_bytes += size

    def _add(self, event: Event, size_of_event: int) -> None:
        delta = event.delta
        if self._block is None or event.index != self._next - 1:
            raise self._invalid("a delta of a content block that is not open")
        if delta is None or not delta.type:
            raise self._invalid("a delta without a type")
        fitting = FITTING.get(delta.type)
        if fitting is None:
            size = size_of_event
        elif self._block in fitting or self._block not in _KNOWN_BLOCKS:
            size = output_in_delta(delta)
            if not size and not _has_its_field(delta):
                raise self._invalid("a delta without content")
        else:
            raise self._invalid("a delta that does not fit its content block")
        if size or delta.signature:
            self.started = True
            self.output_bytes += size

    def _close(self, event: Event) -> None:
        if self._block is None or event.index != self._next - 1:
            raise self._invalid("an end of a content block that is not open")
        self._block = None

    def _end(self, event: Event) -> None:
        if not self._has_begun or self._block is not None:
            raise self._invalid("message_delta before message_start, or inside of a content block")
        if event.delta is not None and event.delta.stop_reason is not None:
            self.finished = True
        if event.usage is not None:
            self._count(merged_reports(self._reported, event.usage))
            self._reported_bytes = self.output_bytes

    def _stop(self, event: Event) -> None:
        if not self.finished:
            raise self._invalid(f"{event.type} before a stop_reason")
        self._is_over = True

    def _count(self, reported: ReportedMessagesUsage) -> None:
        self._reported = reported
        self._usage, self.flags = messages_usage_from(reported, output_bytes=self.output_bytes)

    def _invalid(self, detail: str) -> UpstreamFailure:
        return UpstreamFailure(FailureKind.INVALID, f"its stream has {detail}", produced=self.started)


_STEPS = {
    "message_start": MessagesReader._begin,
    "content_block_start": MessagesReader._open,
    "content_block_stop": MessagesReader._close,
    "message_delta": MessagesReader._end,
    "message_stop": MessagesReader._stop,
}


def _has_its_field(delta: EventDelta) -> bool:
    if delta.type == "citations_delta":
        return is_given(delta.citation)
    return getattr(delta, _FIELDS[delta.type]) is not None
