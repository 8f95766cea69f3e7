"""Many streams in step: one timer sends the chunks of all streams of a rate, so that a thousand cost little more than one.

The period between two chunks of a stream is cut into phases; each stream belongs to one of them, so that they do not all send
in the same moment. A chunk has the monotonic nanoseconds of its sending. A turn that comes late is sent late, none is left out.
"""

import asyncio
import time

PHASES = 25
#: Seconds: uvloop rounds a shorter wait to none at all, and would turn in circles.
RESOLUTION = 0.001


def http_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Phase:
    """The streams that send in the same moment, and when each of them ends, counted in turns."""

    def __init__(self) -> None:
        self.turn = 0
        self.streams: set[asyncio.Transport] = set()
        self.ends: dict[int, list[asyncio.Transport]] = {}

    def send(self, chunk: bytes, *, end: bytes) -> None:
        """Send a chunk on every stream, and the end on those whose last one it was."""
        self.turn += 1
        for stream in self.streams:
            stream.write(chunk)
        for stream in self.ends.pop(self.turn, ()):
            if stream in self.streams:
                self.streams.remove(stream)
                stream.write(end)


class Pacer:
    """Sends on all streams of one rate.

    Args:
        rate: chunks a second of each stream.
        event: a chunk's content, with ``%s`` where its time goes.
        end: what is sent after the last chunk of a stream.
    """

    def __init__(self, rate: int, *, event: bytes, end: bytes) -> None:
        self.interval = 1 / rate / PHASES
        self.event = event
        self.end = end
        self.phases = [Phase() for _ in range(PHASES)]
        self.next_phase = 0
        self.joined = 0
        self.due = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def add(self, stream: asyncio.Transport, chunks: int) -> None:
        """Send ``chunks`` chunks on a stream, the first within a period from now, then its end."""
        if chunks <= 0:
            stream.write(self.end)
            return
        loop = asyncio.get_running_loop()
        if loop is not self.loop:  # the first stream of all, or the first since the loop that we ran on was closed
            self.loop, self.timer = loop, None
            self.phases = [Phase() for _ in range(PHASES)]
        phase = self.phases[self.joined % PHASES]
        self.joined += 1
        phase.streams.add(stream)
        phase.ends.setdefault(phase.turn + chunks, []).append(stream)
        if self.timer is None:
            self.due = time.monotonic() + self.interval
            self.timer = loop.call_later(self.interval, self._tick)

    def drop(self, stream: asyncio.Transport) -> None:
        """Forget a stream whose connection has gone."""
        for phase in self.phases:
            phase.streams.discard(stream)

    def _tick(self) -> None:
        """Let every phase send that is due, and come back for the next."""
        # Not the loop's clock: uvloop's has whole milliseconds, and stands still while a turn is sent.
        while self.due <= (now := time.monotonic()):
            phase = self.phases[self.next_phase]
            if phase.streams:
                phase.send(http_chunk(self.event % (b"sent-%d" % time.monotonic_ns())), end=self.end)
            self.next_phase = (self.next_phase + 1) % PHASES
            self.due += self.interval
        if any(phase.streams for phase in self.phases):
            self.timer = asyncio.get_running_loop().call_later(max(RESOLUTION, self.due - now), self._tick)
        else:
            self.timer = None
            self.phases = [Phase() for _ in range(PHASES)]
