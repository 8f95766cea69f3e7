"""The load generator: raw asyncio connections kept alive, a new body for each request, and every answer checked."""

import asyncio
import contextlib
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rig.clients import CHAT, MESSAGES, Client, LoadError, Marks, Outcome, StreamClient

__all__ = [
    "CHAT",
    "MESSAGES",
    "LoadError",
    "Marks",
    "Outcome",
    "Target",
    "hold_streams",
    "make_requests",
    "pace",
    "saturate",
]

#: The prompt is 1 KB: the nonce and this.
PROMPT = "Explain in one paragraph what a gateway for language models does. " * 15
#: Seconds that streams get beyond their length.
OVERTIME = 30.0
#: The mock's own name of a model, at the end of what it is called at the gateway.
_STREAM_MODEL = re.compile(r"(?:.*/)?mock-stream-(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: an HTTP server on the loopback, the path, the key and the model; and what answers are known by."""

    port: int
    path: str
    model: str
    key: str = ""
    stream: bool = False
    marks: Marks = CHAT

    @property
    def chunks(self) -> int:
        """Chunks of content of each of the model's streams."""
        found = _STREAM_MODEL.fullmatch(self.model)
        return int(found[1]) if found else 1

    @property
    def rate(self) -> int:
        """Chunks a second of the model's streams; 0: all at once."""
        found = _STREAM_MODEL.fullmatch(self.model)
        return int(found[2]) if found else 0


def make_requests(target: Target, *, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield (nonce, HTTP request) without end, a new body each time. The body is right in both protocols."""
    auth = f"authorization: Bearer {target.key}\r\n" if target.key else ""
    head = f"POST {target.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{auth}content-type: application/json\r\n".encode()
    before = b'{"model":"%s","max_tokens":512,"messages":[{"role":"user","content":"nonce-' % target.model.encode()
    after = b" " + PROMPT.encode() + b'"}]' + (b',"stream":true' if target.stream else b"") + b"}"
    length = len(before) + 12 + len(after)
    head += b"content-length: %d\r\n\r\n" % length + before
    for number in itertools.count(start):
        nonce = b"%012d" % number
        yield nonce, head + nonce + after


async def connect(target: Target, count: int, outcome: Outcome, on_free: Callable[[Client], None]) -> list[Client]:
    """Open ``count`` connections. Raises LoadError when the server does not accept."""

    def make_client() -> Client:
        if target.stream:
            is_paced = target.rate > 0
            return StreamClient(outcome, on_free, chunks=target.chunks, is_paced=is_paced, marks=target.marks)
        return Client(outcome, on_free, marks=target.marks)

    loop = asyncio.get_running_loop()
    try:
        pairs = [await loop.create_connection(make_client, "127.0.0.1", target.port) for _ in range(count)]
    except OSError as error:
        raise LoadError(f"nothing accepts connections on port {target.port}: {error}") from error
    return [client for _, client in pairs]


async def saturate(target: Target, *, connections: int, seconds: float, start: int = 0) -> Outcome:
    """Send on every connection as soon as it is free, for ``seconds``; wait for the last answers."""
    outcome, requests = Outcome(), make_requests(target, start=start)
    finished = asyncio.Event()
    busy = connections
    deadline = time.perf_counter() + seconds

    def on_free(client: Client) -> None:
        nonlocal busy
        now = time.perf_counter()
        if now >= deadline or client.closed:
            busy -= 1
            if not busy:
                finished.set()
            return
        client.send(*next(requests), started=now)

    clients = await connect(target, connections, outcome, on_free)
    began = time.perf_counter()
    deadline = began + seconds
    for client in clients:
        client.send(*next(requests), started=time.perf_counter())
    await wait_for_answers(finished, seconds + 60)
    outcome.seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return outcome


class Alarm:
    """Wakes at a moment, to some ten microseconds on Linux; a loop's own timers know whole milliseconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        if sys.platform == "linux":
            self._descriptor = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            self._loop.add_reader(self._descriptor, self._ring)

    def _ring(self) -> None:
        os.read(self._descriptor, 8)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_until(self, due: float) -> None:
        """Return at ``due``, a reading of time.perf_counter (on Linux the monotonic clock); at once if that is past."""
        now = time.perf_counter()
        if due <= now:
            return
        if sys.platform == "linux":
            self._waiter = self._loop.create_future()
            os.timerfd_settime_ns(self._descriptor, flags=os.TFD_TIMER_ABSTIME, initial=int(due * 1e9))
            await self._waiter
        else:
            await asyncio.sleep(due - now)

    def close(self) -> None:
        """Give the timer back."""
        if sys.platform == "linux":
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)


async def pace(target: Target, *, rate: float, seconds: float, connections: int = 8, start: int = 0) -> Outcome:
    """Send ``rate`` requests a second, each when it is due whatever became of the others (no coordinated omission)."""
    outcome, requests = Outcome(), make_requests(target, start=start)
    free: asyncio.Queue[Client] = asyncio.Queue()
    clients = await connect(target, connections, outcome, free.put_nowait)
    for client in clients:
        client.send(*next(requests), started=time.perf_counter(), is_recording=False)  # warms the connection
    began = time.perf_counter() + 0.2
    with contextlib.closing(Alarm()) as alarm:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await alarm.wait_until(due)
            client = await free.get()
            if client.closed:
                raise LoadError(f"a connection was closed: {outcome.first_failure or 'no reason was given'}")
            client.send(*next(requests), started=due)
    for _ in clients:
        await free.get()
    outcome.seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return outcome


async def hold_streams(
    target: Target, *, count: int, ramp: float, start: int = 0, look: Callable[[], None] | None = None
) -> Outcome:
    """Open ``count`` paced streams at once, one request each, spread over ``ramp`` seconds; wait for their ends.

    Streams that are not over half a minute after they should be count as failed. ``look`` is called once all are open, and
    again shortly before the first is over.
    """
    outcome, requests = Outcome(), make_requests(target, start=start)
    finished = asyncio.Event()
    open_streams = count

    def on_free(client: Client) -> None:
        nonlocal open_streams
        open_streams -= 1
        if not open_streams:
            finished.set()

    clients = await connect(target, count, outcome, on_free)
    length = (target.chunks - 1) / target.rate
    began = time.perf_counter()
    if look is not None:
        for moment in (ramp + 0.1, max(ramp + 0.2, length - 0.1)):
            asyncio.get_running_loop().call_later(moment, look)
    for number, client in enumerate(clients):
        due = began + number * ramp / count
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        client.send(*next(requests), started=time.perf_counter())
    with contextlib.suppress(LoadError):
        await wait_for_answers(finished, ramp + length + OVERTIME)
    for client in clients:
        if client.nonce is not None:
            client.nonce = None
            outcome.fail("a stream had not ended long after its last chunk was due")
    outcome.seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return outcome


async def wait_for_answers(finished: asyncio.Event, seconds: float) -> None:
    """Wait for the last answers. Raises LoadError when they do not come within ``seconds``."""
    try:
        await asyncio.wait_for(finished.wait(), seconds)
    except TimeoutError as error:
        raise LoadError(f"answers were still missing after {seconds:g} s") from error
