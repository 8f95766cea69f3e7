"""A chat upstream's stream as a Messages stream. Its end is kept back entirely, until the answer is settled."""

import msgspec

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_answer import PING
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.failures import UpstreamFailure
from gateway.protocols.openai_usage import usage_from
from gateway.protocols.sse import KEEP_ALIVE
from gateway.translate.messages_over_chat.answer import Answer
from gateway.translate.messages_over_chat.chunks import Chunk, read_chunk
from gateway.translate.messages_over_chat.events import TAIL, EventWriter

_NOTHING = TokenUsage()
_encode = msgspec.json.encode


class MessagesOverChat:
    """Turns the chunks of one stream into events."""

    __slots__ = ("_answer", "_has_begun", "_head", "_labels", "_writer")

    def __init__(self, request: MessagesRequest, labels: Labels) -> None:
        self._labels = labels
        self._writer = EventWriter()
        self._answer = Answer(self._writer, labels, request.stop_sequences)
        self._has_begun = False
        #: What a delta of text begins with, while a block of text is all there is; empty otherwise.
        self._head = b""

    @property
    def started(self) -> bool:
        """Whether content has come out: from here on, no other upstream can be tried."""
        return self._answer.output_bytes > 0

    @property
    def finished(self) -> bool:
        """Whether the upstream has said how the answer ended."""
        return self._answer.ending.is_known

    @property
    def flags(self) -> frozenset[str]:
        """What had to be put right in the upstream's report of usage."""
        return self._answer.flags

    def feed(self, payload: bytes) -> bytes:
        """Return the events for one chunk, empty for nothing. Raises UpstreamFailure (with ``produced``)."""
        try:
            chunk = read_chunk(payload)
            if self._head and (text := _plain_text(chunk)):
                self._answer.count(text)
                return self._head + _encode(text) + TAIL
            return self._add(chunk)
        except UpstreamFailure as failure:
            failure.produced = self.started
            raise

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report in disjoint classes, put right where it is nonsense; None if there was none."""
        return self._answer.final_usage()

    def estimated_usage(self) -> TokenUsage:
        """Return our own count so far, for an upstream that reports none."""
        return self._answer.estimated_usage()

    def end(self, usage: TokenUsage, cost: int | None = None) -> bytes:
        """Return the end of a settled answer: the last block's, why it ended, and ``usage``, which is what was billed."""
        if not self._has_begun:
            self._begin(_NOTHING)
        self._answer.blocks.close()
        self._writer.end(self._answer.told_ending(), usage, cost)
        return self._writer.taken()

    def life_sign(self) -> bytes:
        """Return what shows a waiting client that the line is alive; before content it has not seen the message's start."""
        return PING if self.started else KEEP_ALIVE

    def _add(self, chunk: Chunk) -> bytes:
        if chunk.choices and not self._has_begun:
            usage = None if chunk.usage is None else usage_from(chunk.usage)[0]
            self._begin(usage or _NOTHING)
        self._answer.add(chunk)
        block = self._answer.blocks.open_text
        self._head = b"" if block is None else block.head
        return self._writer.taken()

    def _begin(self, usage: TokenUsage) -> None:
        self._has_begun = True
        self._writer.start(self._labels, usage)


def _plain_text(chunk: Chunk) -> str:
    """Return the text of a chunk that holds nothing else that we read; empty for all others."""
    choices = chunk.choices
    if not choices or len(choices) > 1 or chunk.usage is not None or chunk.error is not None:
        return ""
    choice = choices[0]
    delta = choice.delta
    if delta is None or choice.finish_reason or choice.index != 0 or choice.error or choice.text:
        return ""
    if (
        type(delta.content) is not str
        or delta.reasoning_content
        or delta.reasoning
        or delta.reasoning_details
        or delta.tool_calls
        or delta.refusal
        or delta.function_call
        or delta.images
        or delta.audio
    ):
        return ""
    return delta.content
