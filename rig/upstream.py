"""A mock upstream that is never the bottleneck: a raw asyncio protocol speaking just enough HTTP/1.1 and chat completions.

The model's name chooses the answer, so that one process serves every scenario:

- ``mock-json``: a whole answer of 1 KB, at once
- ``mock-json-M``: the same after M milliseconds
- ``mock-stream-N-R``: a stream of N chunks, R a second (0: all at once)

A body that holds ``nonce-`` and twelve digits gets them back, so that the load generator can tell whether an answer is
the one to its own question. Run it with ``python -m rig.upstream``: it prints its port and serves until its end of input.
"""

import asyncio
import re
import socket
import sys
import time
from typing import cast

import uvloop

MODEL = re.compile(rb'"model"\s*:\s*"mock-(json|stream)(?:-(\d+))?(?:-(\d+))?"')
NONCE = re.compile(rb"nonce-(\d{12})")
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
STREAMS = re.compile(rb'"stream"\s*:\s*true')

PROMPT_TOKENS, COMPLETION_TOKENS = 250, 150
USAGE = (
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'
    % (PROMPT_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS + COMPLETION_TOKENS)
)  # fmt: skip
NO_NONCE = b"0" * 12
#: What fills the whole answer up to 1 KB.
FILLER = b"the quick brown fox jumps over the lazy dog " * 17

_WHOLE = (
    b'{"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":"mock-json","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"nonce-%s ' + FILLER + b'"},"finish_reason":"stop"}],' + USAGE + b"}"
)
_WHOLE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = (
    b'data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":'
    b'[{"index":0,"delta":{%s},"finish_reason":%s}]}\n\n'
)
_USAGE_EVENT = (
    b'data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":[],'
    + USAGE
    + b"}\n\n"
)
_LENGTH_REQUIRED = b"HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def whole_answer(nonce: bytes) -> bytes:
    """Return the HTTP answer of ``mock-json`` for a nonce of twelve digits."""
    body = _WHOLE % nonce
    return _WHOLE_HEAD % len(body) + body


def http_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def content_event(text: bytes) -> bytes:
    """Return a server-sent event with a delta of content; ``text`` needs no escaping."""
    return _EVENT % (b'"content":"%s"' % text, b"null")


def stream_end() -> bytes:
    """Return the events after the last content: the finish, the usage, the end mark, and the end of the body."""
    finish = _EVENT % (b"", b'"stop"')
    return http_chunk(finish) + http_chunk(_USAGE_EVENT) + http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class UpstreamProtocol(asyncio.Protocol):
    """One connection. Requests come one after the other, as every client of HTTP/1.1 without pipelining sends them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = bytearray()
        self.pacer: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are not its subclasses

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop a paced stream whose reader has gone."""
        if self.pacer is not None:
            self.pacer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.received += data
        while True:
            head_end = self.received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            length = LENGTH.search(self.received, 0, head_end)
            if length is None:
                self.transport.write(_LENGTH_REQUIRED)
                self.transport.close()
                return
            end = head_end + 4 + int(length[1])
            if len(self.received) < end:
                return
            body = bytes(self.received[head_end + 4 : end])
            del self.received[:end]
            self.answer(body)

    def answer(self, body: bytes) -> None:
        """Send what the body's model asks for."""
        model, nonce = MODEL.search(body), NONCE.search(body)
        mark = nonce[1] if nonce else NO_NONCE
        if model is None or model[1] == b"json" or not STREAMS.search(body):
            delay = int(model[2] or 0) if model is not None and model[1] == b"json" else 0
            asyncio.get_running_loop().call_later(delay / 1e3, self.transport.write, whole_answer(mark))
            return
        chunks, rate = int(model[2] or 1), int(model[3] or 0)
        first = _STREAM_HEAD + http_chunk(content_event(b"nonce-" + mark))
        if not rate:
            self.transport.write(first + http_chunk(content_event(b"token ")) * (chunks - 1) + stream_end())
            return
        self.transport.write(first)
        self.pacer = asyncio.get_running_loop().create_task(self.pace(chunks - 1, rate))

    async def pace(self, chunks: int, rate: int) -> None:
        """Send ``chunks`` events, ``rate`` a second, each with the monotonic nanoseconds of its sending; then the end."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(1, chunks + 1):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            self.transport.write(http_chunk(content_event(b"sent-%d" % time.monotonic_ns())))
        self.transport.write(stream_end())


async def serve(listener: socket.socket) -> None:
    """Serve on a listening socket until the process is ended."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, sock=listener, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))
