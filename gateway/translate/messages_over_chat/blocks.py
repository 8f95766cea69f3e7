"""The content blocks of an answer, one after another: a chat upstream may mix what Messages must keep apart.

Blocks come in the order in which they began. The first one that is not complete is given out as it grows, and what belongs to
the ones behind it waits. Text and thinking are complete when something else begins; a call is when its arguments are a whole
object. So parallel calls whose pieces come by turns are put one behind the other, at the price of waiting.
"""

from collections import deque
from typing import Any, Protocol

import msgspec

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.messages_over_chat.chunks import TextKind

#: Times that a call's arguments are tried for completeness; each costs a parse.
MAX_TRIES = 64
#: Where arguments stand that were cut, so that nobody takes them for whole ones.
INVALID = "INVALID_JSON"
#: Arguments of a call that has none.
_NOTHING = frozenset({"", "null"})

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TextBlock:
    """A block of text, or of thinking with the details that sign it."""

    __slots__ = ("details", "head", "held", "index", "is_open", "kind")

    def __init__(self, kind: TextKind) -> None:
        self.kind = kind
        self.index = -1
        self.is_open = False
        #: What waits for the block to be opened.
        self.held: list[str] = []
        self.details: list[dict[str, Any]] = []
        #: For the writer: what each of its deltas begins with.
        self.head = b""

    @property
    def is_ready(self) -> bool:
        """Whether it may be opened."""
        return True

    def is_complete(self) -> bool:
        """Whether something else may follow."""
        return True


class CallBlock:
    """A call of a tool."""

    __slots__ = (
        "_is_blank",
        "_pieces",
        "_spare_id",
        "_tries",
        "given_id",
        "head",
        "held",
        "index",
        "is_done",
        "is_object",
        "is_open",
        "name",
    )

    def __init__(self, spare_id: str) -> None:
        self._spare_id = spare_id
        self.given_id = ""
        self.name = ""
        self.index = -1
        self.is_open = False
        self.is_done = False
        #: The arguments begin as an object does: only such ones are given out before they are known to their end.
        self.is_object = False
        self.held: list[str] = []
        self.head = b""
        self._pieces: list[str] = []
        self._is_blank = True
        self._tries = 0

    @property
    def id(self) -> str:
        """The upstream's own id for the call, or ours if it gave none."""
        return self.given_id or self._spare_id

    @property
    def arguments(self) -> str:
        """The arguments so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def is_ready(self) -> bool:
        """Whether it may be opened: its name may come in pieces, until arguments come."""
        return bool(self.name) and bool(self._pieces)

    def is_complete(self) -> bool:
        """Whether the arguments are a whole object."""
        if not self.is_object or self._tries >= MAX_TRIES or not self._pieces[-1].rstrip().endswith("}"):
            return False
        self._tries += 1
        return is_object(self.arguments)

    def grow(self, piece: str) -> None:
        """Add a piece of the arguments."""
        if self._is_blank and (begun := piece.lstrip()):
            self._is_blank = False
            self.is_object = begun.startswith("{")
        self._pieces.append(piece)

    def is_broken(self) -> bool:
        """Whether there are arguments, and they are no object."""
        return self.arguments.strip() not in _NOTHING and not is_object(self.arguments)

    def input(self) -> msgspec.Raw:
        """Return the whole input; arguments that were cut stand in it as they came, under a name that says so."""
        text = self.arguments
        if self.is_broken():
            return msgspec.Raw(msgspec.json.encode({INVALID: text}))
        return msgspec.Raw(text.encode() if self.is_object else b"{}")


type AnyBlock = TextBlock | CallBlock


class Writer(Protocol):
    """Where blocks go: events of a stream, or the content of a whole message."""

    def open(self, block: AnyBlock) -> None:
        """Begin the block."""
        ...

    def add(self, block: AnyBlock, piece: str) -> None:
        """Give out a piece of it."""
        ...

    def close(self, block: AnyBlock) -> None:
        """End it."""
        ...


class Blocks:
    """The blocks of one answer on their way to a writer."""

    __slots__ = ("_count", "_notes", "_queue", "_writer", "has_calls", "is_refusal")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: deque[AnyBlock] = deque()
        self._count = 0
        self._notes: set[str] = set()
        self.has_calls = False
        self.is_refusal = False

    @property
    def open_text(self) -> TextBlock | None:
        """The block of text that is open with nothing behind it, if that is how things are."""
        if len(self._queue) == 1:
            block = self._queue[0]
            if isinstance(block, TextBlock) and block.is_open and block.kind == "text":
                return block
        return None

    def check_calls(self, *, may_be_cut: bool) -> None:
        """Check the calls of an answer that has ended. Raises UpstreamFailure for one that no client could follow.

        The arguments may be broken only where the answer ``may_be_cut``, in its middle, by the limit on its length.
        """
        for block in self._queue:
            if isinstance(block, CallBlock):
                if not block.name:
                    raise UpstreamFailure(FailureKind.INVALID, "a call of its answer has no name")
                if not may_be_cut and block.is_broken():
                    raise UpstreamFailure(FailureKind.INVALID, "the arguments of a call are no JSON object")

    def add_text(self, kind: TextKind, piece: str) -> None:
        """Add to the last block, if it is of this kind, or begin one. A note is made once."""
        if not piece or piece in self._notes:
            return
        if kind == "note":
            self._notes.add(piece)
        elif kind == "refusal":
            self.is_refusal = True
        self._add(self._text_block(kind), piece)

    def add_details(self, details: list[dict[str, Any]]) -> None:
        """Add to what the block of thinking is signed with."""
        self._text_block("thinking").details += details
        self._advance()

    def begin_call(self, block: CallBlock) -> None:
        """Put a call behind all that began before it."""
        self.has_calls = True
        self._queue.append(block)

    def add_arguments(self, block: CallBlock, piece: str) -> None:
        """Add to a call's arguments. Raises UpstreamFailure for a call that has ended."""
        if block.is_done:
            if not piece.isspace():
                raise UpstreamFailure(FailureKind.INVALID, "arguments of a call go on after their end")
            return
        block.grow(piece)
        if block.is_object and block.is_open and not block.held:
            self._writer.add(block, piece)
        else:
            block.held.append(piece)
        self._advance()

    def close(self) -> None:
        """End all blocks: nothing will follow."""
        while self._queue:
            self._open(self._queue[0])
            self._close_first()

    def _text_block(self, kind: TextKind) -> TextBlock:
        last = self._queue[-1] if self._queue else None
        if isinstance(last, TextBlock) and last.kind == kind:
            return last
        block = TextBlock(kind)
        self._queue.append(block)
        return block

    def _add(self, block: TextBlock, piece: str) -> None:
        if block.is_open:
            self._writer.add(block, piece)
        else:
            block.held.append(piece)
            self._advance()

    def _advance(self) -> None:
        """Open what may be opened, close what has ended."""
        while True:
            first = self._queue[0]
            if not first.is_open and not first.is_ready:
                return
            self._open(first)
            if len(self._queue) == 1 or not first.is_complete():
                return
            self._close_first()

    def _open(self, block: AnyBlock) -> None:
        if not block.is_open:
            block.is_open = True
            block.index = self._count
            self._count += 1
            self._writer.open(block)
        if block.held and (isinstance(block, TextBlock) or block.is_object):
            self._writer.add(block, "".join(block.held))
            block.held.clear()

    def _close_first(self) -> None:
        block = self._queue.popleft()
        if isinstance(block, CallBlock):
            block.is_done = True
        self._writer.close(block)


def is_object(text: str) -> bool:
    """Whether the text is a JSON object."""
    try:
        _decode_object(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
