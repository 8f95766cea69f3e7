"""A strict upstream on a real loopback socket, in a thread: both protocols, scripted answers, and a memory of what it refused.

    with StrictUpstream() as strict:
        ...                       # call strict.chat_url (with /v1) or strict.messages_url (without)
        assert strict.refusals == []

It speaks chat completions, embeddings, Messages and token counting, and refuses what the real providers refuse, with their status
and body (``strict_chat``, ``strict_messages``). A word in the last user text chooses the answer (``scenarios``), a fault
(``faults``), or a recording: ``[play:chat/azure-stream]``.
"""

import base64
import contextlib
import hmac
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests import recordings
from tests.fakes import faults
from tests.fakes.refusal import MARK, RefusedError, unknown_in
from tests.fakes.scenarios import Ask, ask_of, turn_for
from tests.fakes.strict_chat import check_chat
from tests.fakes.strict_messages import check_messages, thinks
from tests.fakes.turns import chat_chunks, chat_whole, message_events, message_whole

CREDENTIAL = f"sk-{MARK}-secret-0001"
CHAT, MESSAGES = "openai_chat", "anthropic_messages"
COUNTED = 37
VECTOR = (0.25, -0.5, 1.0)


@dataclass(frozen=True)
class Request:
    """A request as it came in. Header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Memory:
    """What the server has seen."""

    requests: list[Request] = field(default_factory=list)
    refusals: list[RefusedError] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    """The server; a client that leaves in the middle of its answer is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless it is the client that has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class StrictUpstream:
    """The server; ``pause`` is what lies between two events of a ``[slow]`` stream, in seconds."""

    def __init__(self, *, pause: float = 0.02) -> None:
        self.memory = Memory()
        self.stopping = threading.Event()
        memory, stopping = self.memory, self.stopping

        class Handler(_Handler):
            seen = memory
            slowness = pause
            over = stopping

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        #: Stands in all that is its own: a client that sees it has seen a leak.
        self.mark = MARK
        self.port = int(self._server.server_address[1])
        self.chat_url = f"http://127.0.0.1:{self.port}/v1"
        self.messages_url = f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """All requests, oldest first."""
        return self.memory.requests

    @property
    def refusals(self) -> list[RefusedError]:
        """All that was refused, oldest first."""
        return self.memory.refusals

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = MARK
    disable_nagle_algorithm = True
    seen: Memory
    slowness: float
    over: threading.Event

    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer the list of models."""
        self._serve({})

    def do_POST(self) -> None:
        """Answer a call."""
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        self._serve(body)

    # --- routing --------------------------------------------------------------------------------------------------------

    def _serve(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        self.seen.requests.append(Request(self.command, path, headers, body if isinstance(body, dict) else {}))
        is_messages = path.startswith("/v1/messages") or (path == "/v1/models" and "x-api-key" in headers)
        try:
            (_check_messages_headers if is_messages else _check_chat_headers)(headers)
            if not isinstance(body, dict):
                raise RefusedError(400, "We could not parse the JSON body of your request.")
            match path:
                case "/v1/chat/completions":
                    check_chat(body)
                    self._answer(ask_of(CHAT, body))
                case "/v1/messages":
                    check_messages(body)
                    self._answer(ask_of(MESSAGES, body))
                case "/v1/messages/count_tokens":
                    check_messages(body, counting=True)
                    self.send_json(200, {"input_tokens": COUNTED})
                case "/v1/embeddings":
                    self.send_json(200, _embeddings(body))
                case "/v1/models":
                    self.send_json(200, _models())
                case _:
                    raise RefusedError(404, f"Invalid URL ({self.command} {path})", kind="not_found_error")
        except RefusedError as refusal:
            self.seen.refusals.append(refusal)
            self.send_json(refusal.status, refusal.messages_body() if is_messages else refusal.chat_body())

    def _answer(self, ask: Ask) -> None:
        stream = bool(ask.body.get("stream"))
        if ask.word.startswith("play:"):
            self.play(recordings.load(ask.word.removeprefix("play:")))
            return
        events = list(_events_of(ask)) if stream else []
        whole = b"" if stream else json.dumps(_whole_of(ask), ensure_ascii=False).encode()
        if fault := faults.FAULTS.get(ask.word):
            fault(self, faults.Answer(ask.protocol, stream, whole, events))
        elif stream:
            self.begin_stream()
            for event in events:
                if ask.word == "slow":
                    self.over.wait(self.slowness)
                self.write_chunk(event)
            self.end_stream()
        else:
            self.send_bytes(200, whole)

    def play(self, recording: recordings.Recording) -> None:
        """Send a recording as it stands, and end it as it ended."""
        if not recording.is_stream or recording.status != 200:
            self.send_bytes(recording.status, recording.body, content_type=recording.content_type)
            return
        self.begin_stream(recording.content_type)
        for event in recording.body.split(b"\n\n"):
            self.write_chunk(event + b"\n\n" if event else b"")
        if recording.ending == "stall":
            self.stall()
        elif recording.ending == "cut":
            self.drop()
        else:
            self.end_stream()

    # --- writing --------------------------------------------------------------------------------------------------------

    def send_json(self, status: int, body: Any) -> None:
        """Send a whole JSON answer."""
        self.send_bytes(status, json.dumps(body).encode())

    def send_bytes(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        length: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send a whole answer; ``length`` lies about its size."""
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.send_header("x-request-id", f"req_{MARK}")
        self.send_header("openai-organization", MARK)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self, content_type: str = "text/event-stream; charset=utf-8") -> None:
        """Send the head of a stream."""
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-request-id", f"req_{MARK}")
        self.end_headers()

    def write_chunk(self, data: bytes) -> None:
        """Send a piece of a stream."""
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        """End a stream well."""
        self.wfile.write(b"0\r\n\r\n")

    def stall(self) -> None:
        """Fall silent until the caller has gone, or the server stops."""
        self.connection.settimeout(0.2)
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                try:
                    if not self.connection.recv(1):
                        break
                except OSError as error:
                    if not isinstance(error, TimeoutError):
                        break
                    raise
        self.close_connection = True

    def drop(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _check_chat_headers(headers: dict[str, str]) -> None:
    given = headers.get("authorization", "")
    if not given:
        raise RefusedError(401, "You didn't provide an API key.", code=None)
    if "x-api-key" in headers or not hmac.compare_digest(given, f"Bearer {CREDENTIAL}"):
        raise RefusedError(401, f"Incorrect API key provided: {given[-8:]}.", code="invalid_api_key")


def _check_messages_headers(headers: dict[str, str]) -> None:
    if "x-api-key" not in headers:
        raise RefusedError(401, "x-api-key header is required", kind="authentication_error")
    if "authorization" in headers or headers["x-api-key"] != CREDENTIAL:
        raise RefusedError(401, "invalid x-api-key", kind="authentication_error")
    if "anthropic-version" not in headers:
        raise RefusedError(400, "anthropic-version: header is required")


def _events_of(ask: Ask) -> Iterator[bytes]:
    body, model = ask.body, str(ask.body["model"])
    if ask.protocol == MESSAGES:
        for event in message_events(turn_for(ask).thinking(thinks(body)), model):
            data = json.dumps(event, ensure_ascii=False)
            yield f"event: {event['type']}\ndata: {data}\n\n".encode()
        return
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    for payload in chat_chunks(turn_for(ask).thinking(_reasons(body)), model, usage=usage, router="router" in model):
        yield b"data: " + payload + b"\n\n"
    yield b"data: [DONE]\n\n"


def _whole_of(ask: Ask) -> dict[str, Any]:
    model = str(ask.body["model"])
    if ask.protocol == MESSAGES:
        return message_whole(turn_for(ask).thinking(thinks(ask.body)), model)
    return chat_whole(turn_for(ask).thinking(_reasons(ask.body)), model, router="router" in model)


def _reasons(body: dict[str, Any]) -> bool:
    return body.get("reasoning_effort") not in (None, "none") or bool(body.get("reasoning"))


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Return vectors; a model whose name holds "floats" or "base64" knows only that encoding, whatever it was asked for."""
    if found := unknown_in(body, frozenset({"model", "input", "encoding_format", "dimensions", "user"})):
        raise RefusedError(400, f"Unknown parameter: '{found}'.", param=found, code="unknown_parameter")
    given = body.get("input")
    if not given or not isinstance(given, str | list) or (isinstance(given, list) and "" in given):
        raise RefusedError(400, "'$.input' is invalid.", param="input")
    is_one = isinstance(given, str) or isinstance(given[0], int)
    count = 1 if is_one else len(given)
    vector = VECTOR[: body.get("dimensions") or len(VECTOR)]
    model = str(body["model"])
    form = "float" if "floats" in model else "base64" if "base64" in model else body.get("encoding_format", "float")
    data = []
    for index in range(count):
        values = [value * (index + 1) for value in vector]
        packed = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        data.append({"object": "embedding", "index": index, "embedding": packed if form == "base64" else values})
    usage = {"prompt_tokens": 5 * count, "total_tokens": 5 * count}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _models() -> dict[str, Any]:
    data = [{"id": f"{MARK}-1", "object": "model", "type": "model", "display_name": MARK, "owned_by": MARK}]
    return {"object": "list", "data": data, "has_more": False}
