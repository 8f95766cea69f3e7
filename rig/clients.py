"""The load generator's connections: one request at a time, the answer read with a few searches, and every answer checked.

They know just enough HTTP/1.1 for our own gateway and mock: a whole answer has a content-length, a stream is chunked and each of
its pieces ends with a line end. Anything else counts as a wrong answer.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from rig.answers import COMPLETION_TOKENS, PROMPT_TOKENS

_OK = b"HTTP/1.1 200 "
_STAMP = re.compile(rb'sent-(\d+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)\r\n", re.IGNORECASE)
_LINE_END, _LAST_CHUNK = b"\r\n", b"\r\n0\r\n\r\n"


class Marks(NamedTuple):
    """Where a protocol is spoken, and what its right answers are known by."""

    #: Below ``/v1``.
    path: str
    #: Of a whole answer: its usage.
    usage: bytes
    #: Of a stream: one for each chunk of content.
    content: bytes
    #: Of a stream: its last event.
    done: bytes


CHAT = Marks(
    path="/chat/completions",
    usage=b'"total_tokens":%d' % (PROMPT_TOKENS + COMPLETION_TOKENS),
    content=b'"content":"',
    done=b"data: [DONE]",
)
MESSAGES = Marks(
    path="/messages",
    usage=b'"output_tokens":%d' % COMPLETION_TOKENS,
    content=b'"type":"text_delta"',
    done=b"event: message_stop",
)


class LoadError(Exception):
    """The system under test refused a connection or stopped answering."""


@dataclass(slots=True)
class Outcome:
    """What a run saw. Times in seconds; an answer that was wrong in any way counts as failed."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    #: From the request to the first event, streams only.
    first_events: list[float] = field(default_factory=list)
    #: From a chunk's sending at the upstream to its arrival here, paced streams only: every chunk's.
    transits: list[float] = field(default_factory=list)
    #: From the first to the last chunk of a paced stream.
    spans: list[float] = field(default_factory=list)
    #: Right answers that are not among the latencies.
    warm_ups: int = 0
    failed: int = 0
    first_failure: str = ""

    @property
    def answered(self) -> int:
        """Right answers."""
        return len(self.latencies)

    def fail(self, reason: str) -> None:
        """Count a wrong answer and keep the first one's words."""
        self.failed += 1
        self.first_failure = self.first_failure or reason


def dechunk(body: bytes) -> bytes:
    """Return the content of a chunked body. Raises ValueError when it is none."""
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = body.index(_LINE_END, at)
        size = int(body[at:line_end], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[line_end + 2 : line_end + 2 + size])
        at = line_end + 4 + size


class Client(asyncio.Protocol):
    """A connection for whole answers. ``on_free`` is called when an answer is whole, and when the connection has gone."""

    transport: asyncio.Transport

    def __init__(self, outcome: Outcome, on_free: Callable[["Client"], None], *, marks: Marks = CHAT) -> None:
        self.outcome = outcome
        self.on_free = on_free
        self.marks = marks
        self.nonce: bytes | None = None
        self.started = 0.0
        self.closed = False
        self.is_recording = True
        self.received = b""
        self.due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are not its subclasses

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request that was in flight as failed."""
        self.closed = True
        if self.nonce is not None:
            self.nonce = None
            self.outcome.fail(f"connection lost before the answer was whole ({exc or 'closed by the server'})")
            self.on_free(self)

    def send(self, nonce: bytes, request: bytes, *, started: float, is_recording: bool = True) -> None:
        """Send a request. ``started`` is when it was due, which is what its latency counts from."""
        self.nonce, self.started, self.is_recording = nonce, started, is_recording
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer, then check it."""
        if self.received:
            data = self.received + data
        if not self.due:
            head_end = data.find(b"\r\n\r\n")
            if head_end < 0:
                self.received = data
                return
            length = _LENGTH.search(data, 0, head_end + 2)
            if length is None:
                self.finish(data, f"neither whole nor a stream: {data[:300]!r}")
                self.transport.close()
                return
            self.due = head_end + 4 + int(length[1])
        if len(data) < self.due:
            self.received = data
            return
        self.received, self.due = b"", 0
        nonce = self.nonce or b""
        if data.startswith(_OK) and b"nonce-" + nonce in data and self.marks.usage in data:
            self.finish(data)
        else:
            self.finish(data, f"not the answer to {nonce.decode()}: {data[:500].decode(errors='replace')}")

    def finish(self, answer: bytes, fault: str = "") -> None:
        """Count the answer and become free."""
        self.nonce = None
        if fault:
            self.outcome.fail(fault)
        elif self.is_recording:
            self.outcome.latencies.append(time.perf_counter() - self.started)
        else:
            self.outcome.warm_ups += 1
        self.on_free(self)


class StreamClient(Client):
    """A connection for streams of ``chunks`` chunks of content, which may have the times of their sending."""

    def __init__(
        self,
        outcome: Outcome,
        on_free: Callable[[Client], None],
        *,
        chunks: int,
        is_paced: bool,
        marks: Marks = CHAT,
    ) -> None:
        super().__init__(outcome, on_free, marks=marks)
        self.chunks = chunks
        self.is_paced = is_paced
        self._reset()

    def _reset(self) -> None:
        self.is_open = self.has_nonce = self.is_done = False
        self.seen = 0
        self.began = self.last = 0.0
        self.pieces: list[bytes] = []
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        """Read the head, then take what comes; an answer that is no stream is read whole, and is wrong."""
        if not self.is_open:
            data = self.received + data
            head_end = data.find(b"\r\n\r\n")
            if head_end >= 0 and (not data.startswith(_OK) or _LENGTH.search(data, 0, head_end + 2)):
                self.received = b""
                super().data_received(data)
                return
            self.received = b"" if head_end >= 0 else data
            if head_end < 0:
                return
            self.is_open = True
            data = data[head_end + 2 :]  # with a line end before the first chunk, as before every other
        if self.received:
            data = self.received + data
            self.received = b""
        if not data.endswith(_LINE_END):
            # A mark may be cut in two: the rest is read with what comes next.
            cut = data.rfind(_LINE_END) + 2
            if cut < 2:
                cut = 0
            self.received = data[cut:]
            data = data[:cut]
        if data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Count a piece that ends with a line end, and finish when it is the last."""
        outcome = self.outcome
        if not self.has_nonce:
            self._look_for_the_first(data)
        if self.is_paced:
            stamps = _STAMP.findall(data)
            if stamps:
                now, self.last = time.monotonic_ns(), time.perf_counter()
                self.seen += len(stamps)
                if self.is_recording:
                    for stamp in stamps:
                        outcome.transits.append((now - int(stamp)) / 1e9)
        else:
            self.pieces.append(data)
        if not self.is_done and self.marks.done in data:
            self.is_done = True
        if self.is_done:
            self.tail = (self.tail + data[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
            if self.tail == _LAST_CHUNK:
                self._end()

    def _look_for_the_first(self, data: bytes) -> None:
        if not self.began and b"data: " in data:
            self.began = time.perf_counter()
            if self.is_recording:
                self.outcome.first_events.append(self.began - self.started)
        self.has_nonce = b"nonce-" + (self.nonce or b"") in data

    def _end(self) -> None:
        """Check what was counted, and become free."""
        seen = self.seen + 1 if self.is_paced else self._count_pieces()
        fault = ""
        if not self.has_nonce:
            fault = f"the answer to {(self.nonce or b'').decode()} has another nonce, or none"
        elif seen != self.chunks:
            fault = f"{seen} chunks of {self.chunks}"
        elif self.is_paced and self.is_recording:
            self.outcome.spans.append(max(0.0, self.last - self.began))
        self._reset()
        self.finish(b"", fault)

    def _count_pieces(self) -> int:
        body, mark = b"".join(self.pieces), self.marks.content
        found = body.count(mark)
        # Where chunks of HTTP are not whole events a mark may be cut by their frame.
        return found if found == self.chunks else dechunk(body.removeprefix(_LINE_END)).count(mark)
