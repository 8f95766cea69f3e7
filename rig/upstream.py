"""A mock upstream that is never the bottleneck: a raw asyncio protocol speaking just enough HTTP/1.1 and chat completions.

The model's name chooses the answer, so that one process serves every scenario:

- ``mock-json``: a whole answer of 1 KB, at once
- ``mock-json-M``: the same after M milliseconds
- ``mock-stream-N-R``: a stream of N chunks, R a second (0: all at once)

A body that holds ``nonce-`` and twelve digits gets them back, so that the load generator can tell whether an answer is
the one to its own question. Run it with ``python -m rig.upstream FD``, the descriptor of a listening socket: it serves until
it is ended.
"""

import asyncio
import gc
import re
import socket
import sys
from functools import cache
from typing import cast

import uvloop

from rig.pacing import Pacer, http_chunk

MODEL = re.compile(rb'"model"\s*:\s*"mock-(json|stream)(?:-(\d+))?(?:-(\d+))?"')
NONCE = re.compile(rb"nonce-(\d{12})")
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
_WHOLE_ANSWER = _WHOLE_HEAD % len(_WHOLE % NO_NONCE) + _WHOLE
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
    return _WHOLE_ANSWER % nonce


def content_event(text: bytes) -> bytes:
    """Return a server-sent event with a delta of content; ``text`` needs no escaping."""
    return _EVENT % (b'"content":"%s"' % text, b"null")


def stream_start(nonce: bytes) -> bytes:
    """Return the head of a stream and its first chunk, which has the nonce."""
    return _STREAM_HEAD + http_chunk(content_event(b"nonce-" + nonce))


@cache
def stream_end() -> bytes:
    """Return the events after the last content: the finish, the usage, the end mark, and the end of the body."""
    finish = _EVENT % (b"", b'"stop"')
    return http_chunk(finish) + http_chunk(_USAGE_EVENT) + http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@cache
def burst_of(chunks: int) -> bytes:
    """Return ``chunks`` chunks of content and the end of their stream."""
    return http_chunk(content_event(b"token ")) * chunks + stream_end()


@cache
def pacer_of(rate: int) -> Pacer:
    """Return the one pacer of all streams of ``rate`` chunks a second."""
    return Pacer(rate, event=content_event(b"%s"), end=stream_end())


def request_end(received: bytes | bytearray) -> tuple[int, int]:
    """Return where the body of the first request begins and ends; the end lies past ``received`` while it is not whole.

    (0, -1): the head is not whole yet. Raises ValueError for a head without a length.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return 0, -1
    head = received[:head_end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("no content-length")
    value, _, _ = head[at + 17 :].partition(b"\r\n")
    return head_end + 4, head_end + 4 + int(value)


class UpstreamProtocol(asyncio.Protocol):
    """One connection. Requests come one after the other, as every client of HTTP/1.1 without pipelining sends them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = bytearray()
        self.pacer: Pacer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are not its subclasses

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop a paced stream whose reader has gone."""
        if self.pacer is not None:
            self.pacer.drop(self.transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        received: bytes | bytearray = data
        if self.received:
            self.received += data
            received = self.received
        done = 0
        try:
            while True:
                begin, end = request_end(received[done:] if done else received)
                if not 0 <= end <= len(received) - done:
                    break
                self.answer(bytes(received[done + begin : done + end]))
                done += end
        except ValueError:
            self.transport.write(_LENGTH_REQUIRED)
            self.transport.close()
            return
        if done < len(received) or self.received:
            self.received = bytearray(received[done:])

    def answer(self, body: bytes) -> None:
        """Send what the body's model asks for."""
        model, nonce = MODEL.search(body), NONCE.search(body)
        mark = nonce[1] if nonce else NO_NONCE
        if model is None or model[1] == b"json" or not STREAMS.search(body):
            delay = model[2] if model is not None and model[1] == b"json" else None
            if delay is None:
                self.transport.write(whole_answer(mark))
            else:
                asyncio.get_running_loop().call_later(int(delay) / 1e3, self.transport.write, whole_answer(mark))
            return
        chunks, rate = int(model[2] or 1), int(model[3] or 0)
        if not rate:
            self.transport.write(stream_start(mark) + burst_of(chunks - 1))
            return
        self.transport.write(stream_start(mark))
        self.pacer = pacer_of(rate)
        self.pacer.add(self.transport, chunks - 1)


async def serve(listener: socket.socket) -> None:
    """Serve on a listening socket until the process is ended."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, sock=listener, backlog=1024)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))
