"""A scriptable OpenAI-protocol upstream on a real loopback socket, for tests of everything that calls one.

    async with FakeUpstream() as fake:
        fake.script(status(500), stream(["Hel", "lo"]))   # the first request gets a 500, the second a stream
        ...                                               # call fake.base_url
        assert fake.requests[0].json["model"] == "up"

A request beyond the script is answered properly: a whole answer, or a stream where ``stream`` is true. ``fake.connections``
counts the connections that were opened; ``FakeUpstream(tls=...)`` takes the first of ``tls_contexts()``.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import ssl
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


@dataclass(frozen=True)
class Seen:
    """A request as it came in. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)


#: A behaviour writes an answer; True keeps the connection, False closes it.
type Behaviour = Callable[[Seen, asyncio.StreamWriter], Awaitable[bool]]


class FakeUpstream:
    """The server; one behaviour a request, in the order of the script."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        #: Connections that the client has closed, or that were lost.
        self.closed = 0
        self._tls = tls
        self._script: deque[Behaviour] = deque()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        """What an upstream row has as its base URL."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def script(self, *behaviours: Behaviour) -> None:
        """Answer the next requests like this, one behaviour each."""
        self._script.extend(behaviours)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=64 * 1024 * 1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        try:
            while await self._serve(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.closed += 1
            self._handlers.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(method, path, headers, body)
        self.requests.append(seen)
        behaviour = self._script.popleft() if self._script else proper
        stays = await behaviour(seen, writer)
        await writer.drain()
        return stays


async def proper(seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Answer as asked: whole, or streamed with a usage chunk if ``include_usage`` is set; a GET gets a list of one model."""
    if seen.method == "GET":
        _write(writer, 200, b'{"object": "list", "data": [{"id": "their-model", "object": "model"}]}')
        return True
    return await (stream() if seen.json.get("stream") else whole())(seen, writer)


def whole(content: str = "Hello there.", *, usage: Any = USAGE, **extra: Any) -> Behaviour:
    """A whole answer; ``extra`` joins its top level, ``usage`` None leaves it out."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        message = {"role": "assistant", "content": content}
        answer = {
            "id": "up-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": seen.json["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            **({} if usage is None else {"usage": usage}),
            **extra,
        }
        _write(writer, 200, json.dumps(answer).encode())
        return True

    return behave


def chunks_of(words: Iterable[str], *, model: str = "up", usage: Any = USAGE) -> list[bytes]:
    """Return the payloads of a stream: a role, a chunk a word, the end, usage (None: no usage chunk)."""
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return json.dumps({**head, "choices": [choice]}, separators=(",", ":")).encode()

    payloads = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words)]
    payloads.append(chunk({}, "stop"))
    if usage is not None:
        payloads.append(json.dumps({**head, "choices": [], "usage": usage}, separators=(",", ":")).encode())
    return payloads


def stream(
    words: Sequence[str] = ("Hello", " there", "."),
    *,
    usage: Any = USAGE,
    done: bool = True,
    line_end: bytes = b"\n",
    pause: float = 0.0,
    cut_after: int | None = None,
    stall_after: int | None = None,
    error_after: int | None = None,
    ends_cleanly: bool = True,
) -> Behaviour:
    """A stream of a chunk a word. The numbers count chunks, the role's included.

    ``done`` False leaves out [DONE]; ``cut_after`` ends the connection in the middle of the chunk after; ``stall_after`` falls
    silent; ``error_after`` sends an error object in place of the rest; ``ends_cleanly`` False drops the connection without
    ending the HTTP body.
    """

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        _start_stream(writer)
        payloads = chunks_of(words, model=seen.json["model"], usage=usage)
        if error_after is not None:
            error = {"error": {"message": "The engine died at 10.0.0.7.", "type": "server_error", "code": "engine"}}
            payloads = [*payloads[:error_after], json.dumps(error).encode()]
        for position, payload in enumerate([*payloads, b"[DONE]"] if done else payloads):
            event = b"data: " + payload + line_end * 2
            if position == cut_after:
                _write_chunk(writer, event[: len(event) // 2])
                await writer.drain()
                writer.transport.abort()
                return False
            if position == stall_after:
                await asyncio.sleep(3600)
            if pause:
                await asyncio.sleep(pause)
            _write_chunk(writer, event)
            await writer.drain()
        if ends_cleanly:
            writer.write(b"0\r\n\r\n")
        return ends_cleanly

    return behave


def raw_stream(body: bytes, *, piece: int = 1 << 16) -> Behaviour:
    """A stream of exactly these bytes, ``piece`` bytes at a time."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        _start_stream(writer)
        for at in range(0, len(body), piece):
            _write_chunk(writer, body[at : at + piece])
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return True

    return behave


def status(code: int, error: Any = None, **headers: str) -> Behaviour:
    """An answer of that status; ``error`` is its error object, or text; underscores in header names become dashes."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        body = error.encode() if isinstance(error, str) else json.dumps({"error": error or {"message": "No."}}).encode()
        _write(writer, code, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return behave


def redirect(location: str) -> Behaviour:
    """A redirect to ``location``."""
    return status(307, "", location=location)


def garbage(body: bytes = b"<html>502 Bad Gateway</html>", content_type: str = "application/json") -> Behaviour:
    """Status 200 with a body that is no answer."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        _write(writer, 200, body, {"content-type": content_type})
        return True

    return behave


def huge(size: int) -> Behaviour:
    """Status 200 with a body of ``size`` bytes, sent without end of patience."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(size // 65_536):
            _write_chunk(writer, b"x" * 65_536)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return True

    return behave


def slow_headers(seconds: float) -> Behaviour:
    """Wait before the first byte, then answer properly."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        return await proper(seen, writer)

    return behave


async def stall(_seen: Seen, _writer: asyncio.StreamWriter) -> bool:
    """Never answer."""
    await asyncio.sleep(3600)
    return False


async def drop(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Close the connection without a byte, as a server does whose keep-alive time has just run out."""
    writer.transport.abort()
    return False


async def half_headers(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Close the connection in the middle of the headers."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await writer.drain()
    return False


def cut_whole() -> Behaviour:
    """Half of a whole answer, then the end of the connection."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"id":"up-1",')
        await writer.drain()
        return False

    return behave


_REASONS = {200: "OK", 307: "Temporary Redirect"}


def _write(writer: asyncio.StreamWriter, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    merged = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in merged.items())
    writer.write(f"HTTP/1.1 {code} {_REASONS.get(code, 'Status')}\r\n{lines}\r\n".encode() + body)


def _start_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")


def _write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a new certificate for 127.0.0.1, and a client's that trusts only its CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake upstream")])
    now = dt.datetime.now(tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(pem + private)
        server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())
