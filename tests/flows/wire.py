"""HTTP by hand, for requests that no client library sends, and the check that every error has the documented shape."""

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any

from gateway.errors import error_type

CHAT = "/api/v1/chat/completions"
#: The smallest request that is answered, and charged.
HELLO: dict[str, Any] = {"model": "sandbox/paid", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came over the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def encode_request(
    *,
    path: str = CHAT,
    method: str = "POST",
    key: str | None = None,
    headers: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
    length: bool = True,
) -> bytes:
    """Return the bytes of a request; without ``length`` it names no Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if not headers or not any(name.lower() == "content-type" for name, _ in headers):
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in headers or []]
    if length and body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def receive_answer(line: socket.socket) -> Answer:
    """Read a connection to its end and return the answer. Raises AssertionError when there is none."""
    received = b""
    while True:
        try:
            part = line.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        received += part
    head, separator, body = received.partition(b"\r\n\r\n")
    assert separator, f"no answer: {received[:200]!r}"
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (entry.partition(":") for entry in rest)}
    if headers.get("transfer-encoding") == "chunked":
        body = join_chunks(body)
    return Answer(int(first.split()[1]), headers, body)


def join_chunks(body: bytes) -> bytes:
    """Return the content of a chunked body, as far as it came."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        content, body = content + body[:count], body[count + 2 :]
        if not count:
            break
    return content


def connect(port: int, *, timeout: float = 30.0) -> socket.socket:
    """Open a connection to a gateway."""
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def exchange(port: int, request: bytes, *, timeout: float = 30.0) -> Answer:
    """Send a whole request and return its answer."""
    with connect(port, timeout=timeout) as line:
        # Refused before all of it was read: the answer is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(request)
        return receive_answer(line)


def post(port: int, body: Any, *, key: str | None, headers: list[tuple[str, str]] | None = None) -> Answer:
    """Post a chat completion; ``body`` is sent as it is when it is bytes, else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return exchange(port, encode_request(key=key, body=raw, headers=headers))


def assert_is_error(answer: Answer, status: int, code: str, *, secret: str | None = None) -> str:
    """Check status, code, type, both request ids and that no secret is echoed; return the message."""
    text = answer.body.decode()
    assert answer.status == status, text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert set(body["error"]) == {"message", "type", "code"}
    assert body["error"]["code"] == code
    assert body["error"]["type"] == error_type(status)
    message: str = body["error"]["message"]
    assert message
    assert body["request_id"]
    assert answer.headers["x-request-id"] == answer.headers["request-id"] == body["request_id"]
    if secret:
        assert secret not in text + str(answer.headers)
    return message
