"""The ways in which the strict upstream fails, by the word that asks for each."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.fakes.refusal import MARK


@dataclass(frozen=True)
class Answer:
    """The sound answer that a fault spoils."""

    protocol: str
    stream: bool
    whole: bytes
    events: list[bytes]

    @property
    def half(self) -> int:
        """Events after which content has come, and more would follow."""
        return max(3, len(self.events) // 2)


class Wire(Protocol):
    """What a fault does with the connection."""

    def send_bytes(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = ...,
        length: int | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> None:
        """Send a whole answer."""

    def begin_stream(self, content_type: str = ...) -> None:
        """Send the head of a stream."""

    def write_chunk(self, data: bytes) -> None:
        """Send a piece of a stream."""

    def end_stream(self) -> None:
        """End a stream well."""

    def stall(self) -> None:
        """Fall silent."""

    def drop(self) -> None:
        """Reset the connection."""


type Fault = Callable[[Wire, Answer], None]


def _error_of(protocol: str, kind: str = "overloaded_error") -> bytes:
    message = f"The engine at {MARK}.internal died"
    if protocol == "openai_chat":
        return json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": kind}}).encode()
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


def _half(wire: Wire, answer: Answer) -> None:
    wire.begin_stream()
    for event in answer.events[: answer.half]:
        wire.write_chunk(event)


def _dies(wire: Wire, answer: Answer) -> None:
    if answer.stream:
        _half(wire, answer)
        wire.write_chunk(answer.events[answer.half][:15])
    else:
        wire.send_bytes(200, answer.whole[: len(answer.whole) // 2], length=len(answer.whole))
    wire.drop()


def _stalls(wire: Wire, answer: Answer) -> None:
    if answer.stream:
        _half(wire, answer)
    wire.stall()


def _garbage(wire: Wire, answer: Answer) -> None:
    if answer.stream:
        _half(wire, answer)
        wire.write_chunk(b'data: {"id": "x", "choices": [{"delta"\n\n')
        for event in answer.events[answer.half :]:
            wire.write_chunk(event)
        wire.end_stream()
    else:
        wire.send_bytes(200, b"upstream connect error or disconnect/reset before headers " + MARK.encode())


def _error_event(wire: Wire, answer: Answer) -> None:
    body = _error_of(answer.protocol)
    if not answer.stream:
        wire.send_bytes(529 if answer.protocol == "anthropic_messages" else 503, body)
        return
    _half(wire, answer)
    wire.write_chunk(
        (b"event: error\ndata: " if answer.protocol == "anthropic_messages" else b"data: ") + body + b"\n\n"
    )
    wire.end_stream()


def _error_with_200(wire: Wire, answer: Answer) -> None:
    wire.send_bytes(200, _error_of(answer.protocol, "api_error"))


def _html(wire: Wire, answer: Answer) -> None:
    page = f"<!DOCTYPE html><html><body><h1>{MARK} is down for maintenance</h1></body></html>".encode()
    wire.send_bytes(200, page, content_type="text/html; charset=utf-8")


def _truncated(wire: Wire, answer: Answer) -> None:
    if answer.stream:
        _half(wire, answer)
        wire.write_chunk(answer.events[answer.half][:-12])
        wire.end_stream()
    else:
        wire.send_bytes(200, answer.whole[:-20])


def _ends_early(wire: Wire, answer: Answer) -> None:
    if answer.stream:
        _half(wire, answer)
        wire.end_stream()
    else:
        wire.send_bytes(200, b"{}")


def _without_end(wire: Wire, answer: Answer) -> None:
    """Leave out only what says that it is the end: [DONE], message_stop. A whole answer says nothing at all."""
    if answer.stream:
        wire.begin_stream()
        for event in answer.events[:-1]:
            wire.write_chunk(event)
        wire.end_stream()
    else:
        wire.send_bytes(200, b"")


def _bad_utf8(wire: Wire, answer: Answer) -> None:
    """Break a character in the last text that comes before the middle."""
    if not answer.stream:
        wire.send_bytes(200, answer.whole.replace(b"Hello", b"\xff\xfeHello"))
        return
    _half(wire, answer)
    last = answer.events[answer.half - 1]
    wire.write_chunk(last.replace(b'"content":"', b'"content":"\xff').replace(b'"text": "', b'"text": "\xff'))
    wire.end_stream()


def _status(status: int, retry_after: int | None = None) -> Fault:
    def fault(wire: Wire, answer: Answer) -> None:
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        wire.send_bytes(
            status, _error_of(answer.protocol, "rate_limit_error" if status == 429 else "api_error"), headers=headers
        )

    return fault


FAULTS: dict[str, Fault] = {
    "dies": _dies,
    "stalls": _stalls,
    "garbage": _garbage,
    "error-event": _error_event,
    "error-200": _error_with_200,
    "html": _html,
    "truncated": _truncated,
    "ends-early": _ends_early,
    "without-end": _without_end,
    "bad-utf8": _bad_utf8,
    "status-500": _status(500),
    "status-429": _status(429, retry_after=1),
    "status-401": _status(401),
    "status-404": _status(404),
}
