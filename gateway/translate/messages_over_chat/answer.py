"""A chat upstream's answer as content blocks: the one road that streams and whole answers take."""

from copy import replace

from billing.rating import TokenUsage
from gateway.protocols.answers import NO_FLAGS, Labels, estimated_output, utf8_size
from gateway.protocols.openai_errors import failure_from_error
from gateway.protocols.openai_usage import usage_from
from gateway.translate.messages_over_chat.blocks import Blocks, Writer
from gateway.translate.messages_over_chat.calls import Calls
from gateway.translate.messages_over_chat.chunks import Choice, Chunk, Delta, texts_in, thinking_in
from gateway.translate.messages_over_chat.ending import Ending


class Answer:
    """What has come of an answer so far. Of several choices only the first is read: Messages knows no others."""

    __slots__ = ("_calls", "_reported_bytes", "_text_bytes", "blocks", "ending", "flags", "labels", "usage")

    def __init__(self, writer: Writer, labels: Labels, stop_sequences: tuple[str, ...]) -> None:
        self.labels = labels
        self.blocks = Blocks(writer)
        self.ending = Ending(stop_sequences)
        self.flags = NO_FLAGS
        self.usage: TokenUsage | None = None
        self._calls = Calls(self.blocks, labels.response_id)
        self._text_bytes = 0
        #: Output that the last report of usage knew of.
        self._reported_bytes = 0

    @property
    def output_bytes(self) -> int:
        """UTF-8 bytes of all that came out."""
        return self._text_bytes + self._calls.output_bytes

    def add(self, chunk: Chunk) -> None:
        """Read a chunk, or a whole answer. Raises UpstreamFailure for an error in it."""
        if chunk.error is not None:
            raise failure_from_error(chunk.error, produced=False)
        for choice in chunk.choices or ():
            if choice.index is None or choice.index == 0:
                self._add_choice(choice)
        if chunk.usage is not None:
            usage, flags = usage_from(chunk.usage, output_bytes=self.output_bytes)
            if usage is None:
                self.flags |= flags
            else:
                # Each report holds the whole, so the last one's flags stand.
                self.usage, self.flags = usage, flags
                self._reported_bytes = self.output_bytes

    def count(self, text: str) -> None:
        """Count text that came out beside the road."""
        self._text_bytes += utf8_size(text)

    def estimated_usage(self) -> TokenUsage:
        """Return our own count so far, for an upstream that reports none."""
        return TokenUsage(input=self.labels.estimated_input, output=estimated_output(self.output_bytes))

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report, None if there was none; what came out after it is added by our own count."""
        later = self.output_bytes - self._reported_bytes
        if self.usage is None or not later:
            return self.usage
        self.flags |= {"usage_stale"}
        return replace(self.usage, output=self.usage.output + estimated_output(later))

    def told_ending(self) -> dict[str, str | None]:
        """Return ``stop_reason`` and ``stop_sequence``."""
        return self.ending.told(has_calls=self.blocks.has_calls, is_refusal=self.blocks.is_refusal)

    def _add_choice(self, choice: Choice) -> None:
        if choice.error is not None:
            raise failure_from_error(choice.error, produced=False)
        before = self.output_bytes
        if choice.delta is not None:
            self._add_delta(choice.delta)
        elif choice.message is not None:
            for position, part in enumerate(choice.message.tool_calls or ()):
                part.index = position  # in a message each is a call of its own
            self._add_delta(choice.message)
        if choice.text and self.output_bytes == before:  # Together says every text twice
            self.count(choice.text)
            self.blocks.add_text("text", choice.text)
        if choice.finish_reason:  # some servers say "" until the end
            self.ending.note(choice)
            self.blocks.check_calls(may_be_cut=self.ending.is_cut)

    def _add_delta(self, delta: Delta) -> None:
        if thinking := thinking_in(delta):
            self.count(thinking)
            self.blocks.add_text("thinking", thinking)
        if delta.reasoning_details:
            self.blocks.add_details(delta.reasoning_details)
        for kind, text in texts_in(delta):
            self.count(text)
            self.blocks.add_text(kind, text)
        for part in delta.tool_calls or ():
            self._calls.add(part)
        if delta.function_call is not None:
            self._calls.add_function(delta.function_call)
