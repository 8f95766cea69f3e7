"""A client that proofs torment the gateway with: raw bytes on asyncio, which can leave at any point and says what it got till then.

It raises nothing for what happens to a connection: an answer that was refused, lost, late or left says so in ``ending``.

    connection = await connect(port)
    answer = await connection.ask(chat_request(model, key=key, prompt="Hello", stream=True), leave=Leave(seconds=0.2))

``leave`` decides before; ``connection.cut()`` leaves from outside, in the middle of ``ask``; to cancel the task that asks is to
leave too.
"""

import asyncio
import contextlib
import enum
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import httptools

CHAT_PATH = "/api/v1/chat/completions"
DONE = b"data: [DONE]"
#: Seconds that a connection or an answer may take before it counts as silent.
PATIENCE = 60.0
#: Seconds that the event loop may take to hand a part of a request to the kernel.
_WRITING = 0.002
#: Closing then resets the connection: what was not read or sent is thrown away.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ending(enum.Enum):
    """How an exchange ended, as the client saw it."""

    WHOLE = "whole"  # the HTTP answer came to its end
    LEFT = "left"  # we left
    LOST = "lost"  # the server closed or reset the connection, or sent what is no HTTP
    REFUSED = "refused"  # there was no connection to ask on
    SILENT = "silent"  # nothing more came within the patience


@dataclass(frozen=True, slots=True)
class Leave:
    """When to leave: at whichever comes first. ``sent`` sends so many bytes of the request only, then leaves.

    ``seconds`` after the request was sent; ``received``: bytes of the answer, its head included; ``with_reset``: RST, not FIN.
    """

    seconds: float | None = None
    received: int | None = None
    sent: int | None = None
    with_reset: bool = False


@dataclass(slots=True)
class Answer:
    """What came back. ``status`` 0: not even a head. Header names are lower case; ``raw`` is every byte that came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    raw: bytearray = field(default_factory=bytearray)
    ending: Ending = Ending.REFUSED
    #: Seconds from the request to the end.
    seconds: float = 0.0

    @property
    def request_id(self) -> str:
        """The gateway's name for the request, 32 hexadecimal digits: the usage event's id. Empty without a head."""
        return self.headers.get("x-request-id", "")

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of server-sent events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def is_finished(self) -> bool:
        """Whether the client saw a completion to its end: the whole body, or ``[DONE]`` (the bytes after it add nothing)."""
        return self.status == 200 and (DONE in self.body if self.is_stream else self.ending is Ending.WHOLE)

    @property
    def error_code(self) -> str:
        """The code in the error body; empty where there is none."""
        try:
            code = json.loads(self.body)["error"]["code"]
        except (ValueError, LookupError, TypeError):
            return ""
        return str(code)


def encode_request(
    method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """Return an HTTP/1.1 request."""
    lines = {"host": "127.0.0.1", **(headers or {})}
    if body is not None:
        lines["content-length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


def chat_request(
    model: str, *, key: str, prompt: str = "Hello", stream: bool = False, max_tokens: int | None = 512, **fields: object
) -> bytes:
    """Return the request for a chat completion; ``fields`` join the body's top level."""
    content = {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}
    if max_tokens is not None:
        content["max_tokens"] = max_tokens
    if stream:
        content["stream"] = True
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return encode_request("POST", CHAT_PATH, headers=headers, body=json.dumps(content).encode())


class Connection(asyncio.Protocol):
    """One connection, kept alive between requests; one request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.is_open = False
        #: What came while nothing was asked: another request's bytes, unless the server was just closing.
        self.stray = bytearray()
        #: What came for the latest request; also when the task that asked was cancelled.
        self.latest = Answer()
        self._answer: Answer | None = None
        self._ended: asyncio.Future[Ending] | None = None
        self._leave = Leave()
        self._parser = httptools.HttpResponseParser(self)

    # --- asyncio's side ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are not its subclasses
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was being asked."""
        self.is_open = False
        self._end(Ending.LOST)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes, parse them, and leave when enough have come."""
        answer = self._answer
        if answer is None:
            self.stray += data
            return
        answer.raw += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(Ending.LOST)
            self.close()
        if self._leave.received is not None and len(answer.raw) >= self._leave.received:
            self.cut()

    # --- the parser's side ------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if self._answer is not None:
            self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Keep the status."""
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body; one that follows the end of the answer belongs to nobody here."""
        (self._answer.body if self._answer is not None else self.stray).extend(body)

    def on_message_complete(self) -> None:
        """End the answer."""
        self._end(Ending.WHOLE)

    # --- the proof's side -------------------------------------------------------------------------------------------

    async def ask(self, request: bytes, *, leave: Leave | None = None, patience: float = PATIENCE) -> Answer:
        """Send a request and return what came, however it ended. ``patience``: seconds for all of it."""
        loop = asyncio.get_running_loop()
        answer, began = Answer(), loop.time()
        self.latest = answer
        if not self.is_open:
            return answer
        self._answer, self._leave, self._ended = answer, leave or Leave(), loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        ended, timer = self._ended, None
        self.transport.write(request if self._leave.sent is None else request[: self._leave.sent])
        if self._leave.sent is not None:
            timer = loop.call_later(_WRITING, self.cut)
        elif self._leave.seconds is not None:
            timer = loop.call_later(self._leave.seconds, self.cut)
        try:
            await asyncio.wait([ended], timeout=patience)
        finally:
            if timer is not None:
                timer.cancel()
            self._answer = self._ended = None
            if not ended.done():  # silent, or whoever asks was cancelled
                self.is_open = False
                self.transport.abort()
        answer.ending = ended.result() if ended.done() else Ending.SILENT
        answer.seconds = loop.time() - began
        return answer

    def cut(self) -> None:
        """Leave at once, whatever is under way."""
        if not self.is_open:
            return
        if self._leave.with_reset:
            line: socket.socket = self.transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.is_open = False
        self.transport.abort()
        self._end(Ending.LEFT)

    def close(self) -> None:
        """Close it as a client does that is done."""
        self.is_open = False
        self.transport.close()

    def _end(self, ending: Ending) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(ending)
            self._answer = None


async def connect(port: int, *, patience: float = PATIENCE) -> Connection:
    """Open a connection to the loopback; one that was refused is not ``is_open``, and says so for all that is asked."""
    connection = Connection()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience):
            await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", port)
    return connection


async def ask_once(port: int, request: bytes, *, leave: Leave | None = None, patience: float = PATIENCE) -> Answer:
    """Ask on a connection of its own."""
    connection = await connect(port, patience=patience)
    try:
        return await connection.ask(request, leave=leave, patience=patience)
    finally:
        if connection.is_open:
            connection.close()
