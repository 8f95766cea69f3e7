"""A mock upstream that is never the bottleneck: a raw asyncio protocol speaking just enough HTTP/1.1 and two protocols of models.

``POST /v1/messages`` is answered as Anthropic's Messages (rig.messages_answers), everything else as a chat completion
(rig.chat_answers). The model's name chooses the answer, so that one process serves every scenario:

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
from typing import cast

import uvloop

from rig.answers import NO_NONCE, Answers, burst_of, pacer_of
from rig.chat_answers import CHAT
from rig.messages_answers import MESSAGES
from rig.pacing import Pacer

MODEL = re.compile(rb'"model"\s*:\s*"mock-(json|stream)(?:-(\d+))?(?:-(\d+))?"')
NONCE = re.compile(rb"nonce-(\d{12})")
STREAMS = re.compile(rb'"stream"\s*:\s*true')
#: How a request begins that wants a message.
MESSAGES_REQUEST = b"POST /v1/messages "

_LENGTH_REQUIRED = b"HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


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
                answers = MESSAGES if received.startswith(MESSAGES_REQUEST, done) else CHAT
                self.answer(bytes(received[done + begin : done + end]), answers)
                done += end
        except ValueError:
            self.transport.write(_LENGTH_REQUIRED)
            self.transport.close()
            return
        if done < len(received) or self.received:
            self.received = bytearray(received[done:])

    def answer(self, body: bytes, answers: Answers) -> None:
        """Send what the body's model asks for, in the words of the request's protocol."""
        model, nonce = MODEL.search(body), NONCE.search(body)
        mark = nonce[1] if nonce else NO_NONCE
        if model is None or model[1] == b"json" or not STREAMS.search(body):
            delay = model[2] if model is not None and model[1] == b"json" else None
            if delay is None:
                self.transport.write(answers.whole % mark)
            else:
                asyncio.get_running_loop().call_later(int(delay) / 1e3, self.transport.write, answers.whole % mark)
            return
        chunks, rate = int(model[2] or 1), int(model[3] or 0)
        if not rate:
            self.transport.write(answers.start % mark + burst_of(answers, chunks - 1))
            return
        self.transport.write(answers.start % mark)
        self.pacer = pacer_of(answers, rate)
        self.pacer.add(self.transport, chunks - 1)


async def serve(listener: socket.socket) -> None:
    """Serve on a listening socket until the process is ended."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, sock=listener, backlog=1024)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))
