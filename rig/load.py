"""The load generator: raw asyncio connections kept alive, a new body for each request, and every answer checked."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import httptools

from rig.upstream import COMPLETION_TOKENS, PROMPT_TOKENS

#: The prompt is 1 KB: the nonce and this.
PROMPT = "Explain in one paragraph what a gateway for language models does. " * 15
_USAGE_MARK = b'"total_tokens":%d' % (PROMPT_TOKENS + COMPLETION_TOKENS)


class LoadError(Exception):
    """The system under test refused a connection or stopped answering."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: an HTTP server on the loopback, the path, the key and the model."""

    port: int
    path: str
    model: str
    key: str = ""
    stream: bool = False


@dataclass(slots=True)
class Outcome:
    """What a run saw. Latencies in seconds; an answer that was wrong in any way counts as failed."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    #: Seconds from the request to the first byte of the body, streams only.
    first_bytes: list[float] = field(default_factory=list)
    #: Seconds from a chunk's sending at the upstream to its arrival here, paced streams only.
    transits: list[float] = field(default_factory=list)
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


def make_requests(target: Target, *, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield (nonce, HTTP request) without end, a new body each time."""
    auth = f"authorization: Bearer {target.key}\r\n" if target.key else ""
    head = f"POST {target.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{auth}content-type: application/json\r\n".encode()
    before = b'{"model":"%s","max_tokens":512,"messages":[{"role":"user","content":"nonce-' % target.model.encode()
    after = b" " + PROMPT.encode() + b'"}]' + (b',"stream":true' if target.stream else b"") + b"}"
    length = len(before) + 12 + len(after)
    head += b"content-length: %d\r\n\r\n" % length
    for number in itertools.count(start):
        nonce = b"%012d" % number
        yield nonce, head + before + nonce + after


class Client(asyncio.Protocol):
    """One connection that sends one request at a time and says when its answer is whole."""

    transport: asyncio.Transport

    def __init__(self, outcome: Outcome, on_free: Callable[["Client"], None]) -> None:
        self.outcome = outcome
        self.on_free = on_free
        self.nonce: bytes | None = None
        self.started = 0.0
        self.body: list[bytes] = []
        self.closed = False
        self.is_recording = True
        self.parser = httptools.HttpResponseParser(self)

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
        self.nonce, self.started, self.is_recording, self.body = nonce, started, is_recording, []
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect the body; note the first byte and the transit of stamped chunks."""
        now = time.perf_counter()
        if not self.body and self.is_recording:
            self.outcome.first_bytes.append(now - self.started)
        self.body.append(body)
        stamp = body.rfind(b"sent-")
        if stamp >= 0 and self.is_recording:
            sent = int(body[stamp + 5 : body.index(b'"', stamp)])
            self.outcome.transits.append((time.monotonic_ns() - sent) / 1e9)

    def on_message_complete(self) -> None:
        """Check the answer, count it, and become free."""
        nonce, body, status = self.nonce or b"", b"".join(self.body), self.parser.get_status_code()
        self.nonce = None
        if status != 200 or b"nonce-" + nonce not in body or not (_USAGE_MARK in body or b"data: [DONE]" in body):
            self.outcome.fail(f"status {status}: {body[:300].decode(errors='replace')}")
        elif self.is_recording:
            self.outcome.latencies.append(time.perf_counter() - self.started)
        else:
            self.outcome.warm_ups += 1
        self.parser = httptools.HttpResponseParser(self)
        self.on_free(self)


async def connect(target: Target, count: int, outcome: Outcome, on_free: Callable[[Client], None]) -> list[Client]:
    """Open ``count`` connections. Raises LoadError when the server does not accept."""
    loop = asyncio.get_running_loop()
    try:
        pairs = [
            await loop.create_connection(lambda: Client(outcome, on_free), "127.0.0.1", target.port)
            for _ in range(count)
        ]
    except OSError as error:
        raise LoadError(f"nothing accepts connections on port {target.port}: {error}") from error
    return [client for _, client in pairs]


async def saturate(target: Target, *, connections: int, seconds: float, start: int = 0, ramp: float = 0.0) -> Outcome:
    """Send on every connection as soon as it is free, for ``seconds``; wait for the last answers.

    ``ramp``: seconds over which the connections begin; without it they begin together.
    """
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
        if ramp:
            await asyncio.sleep(ramp / connections)
    await wait_for_answers(finished, seconds + 60)
    outcome.seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return outcome


async def pace(target: Target, *, rate: float, seconds: float, connections: int = 8, start: int = 0) -> Outcome:
    """Send ``rate`` requests a second, each when it is due whatever became of the others (no coordinated omission)."""
    outcome, requests = Outcome(), make_requests(target, start=start)
    free: asyncio.Queue[Client] = asyncio.Queue()
    clients = await connect(target, connections, outcome, free.put_nowait)
    for client in clients:
        client.send(*next(requests), started=time.perf_counter(), is_recording=False)  # warms the connection
    began = time.perf_counter() + 0.2
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        client = await free.get()
        if client.closed:
            raise LoadError(f"a connection was closed: {outcome.first_failure or 'no reason was given'}")
        client.send(*next(requests), started=max(due, began))
    for _ in clients:
        await free.get()
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
