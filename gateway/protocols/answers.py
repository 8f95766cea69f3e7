"""What every answer is to the pipeline, whatever the protocols: something to relay, and what billing must know of it."""

from typing import Protocol

import msgspec

from billing.rating import TokenUsage

#: Bytes of UTF-8 that we count as one token where an upstream reports none.
BYTES_PER_TOKEN = 4
NO_FLAGS: frozenset[str] = frozenset()


class Labels(msgspec.Struct, frozen=True):
    """What stands in an answer in place of the upstream's own: our id, the model as the client asked for it."""

    response_id: str
    model: str
    #: Unix seconds, for answers whose upstream says no time.
    created: int
    #: Our own count of the input, for upstreams that report none.
    estimated_input: int = 0


class WholeAnswer(msgspec.Struct, frozen=True):
    """A whole answer, ready to send, and what billing needs of it."""

    body: bytes
    #: As reported, made disjoint; None: not reported.
    usage: TokenUsage | None
    flags: frozenset[str]
    #: Whether anything came out.
    has_output: bool
    #: UTF-8 bytes of all that came out.
    output_bytes: int
    estimated_input: int = 0

    def estimated_usage(self) -> TokenUsage:
        """Return our own count, for an upstream that reports none."""
        return TokenUsage(input=self.estimated_input, output=estimated_output(self.output_bytes))


class AnswerStream(Protocol):
    """Turns the payloads of one upstream's stream into bytes for the client, framed as events, and counts what comes out.

    What ``feed`` returns once ``finished`` is true is held back until the answer is settled; so is what ``end`` returns.
    """

    @property
    def started(self) -> bool:
        """Whether content has come out: from here on, no other upstream can be tried."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the upstream has said how the answer ended: a client may take what follows for the end."""
        ...

    @property
    def flags(self) -> frozenset[str]:
        """What had to be put right in the upstream's report of usage."""
        ...

    def feed(self, payload: bytes) -> bytes:
        """Return what goes to the client for one payload, empty for nothing. Raises UpstreamFailure (with ``produced``)."""
        ...

    def final_usage(self) -> TokenUsage | None:
        """Return the upstream's report in disjoint classes, put right where it is nonsense; None if there was none."""
        ...

    def estimated_usage(self) -> TokenUsage:
        """Return our own count so far, for an upstream that reports none."""
        ...

    def end(self, usage: TokenUsage, cost: int | None = None) -> bytes:
        """Return the end of the stream for a settled answer; ``usage`` is what was billed, and what the client is told.

        ``cost`` is the charge (nano-USD) where the client asked for it, else None.
        """
        ...

    def life_sign(self) -> bytes:
        """Return what shows a waiting client that the line is alive, and means nothing."""
        ...


def estimated_output(text_bytes: int) -> int:
    """Return our own estimate of output tokens for ``text_bytes`` bytes of UTF-8: one for each four."""
    return -(-text_bytes // BYTES_PER_TOKEN)


def utf8_size(text: str | None) -> int:
    """Return the bytes of a text in UTF-8."""
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode())
