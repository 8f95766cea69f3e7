"""The server's side of a connection: whoever keeps it waiting is cut, and what is no HTTP gets the one error shape."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that the stand-in waits for a head, and for a client that takes nothing.
DEADLINE = 1.0
GET = b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server with little patience; the port it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "lumyx.serve", "--fd", str(listener.fileno()), "--app", "tests.lumyx.standin"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.lumyx.standin",
                "STANDIN_DEADLINE": str(DEADLINE),
                "STANDIN_DRAIN": "0",
            },
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
    try:
        with connect(number) as line:
            assert ask(line) == 200
        yield number
    finally:
        process.kill()
        process.wait()


def connect(port: int) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def ask(line: socket.socket, request: bytes = GET) -> int:
    """Send a request and return the status of its answer, whose body has four bytes."""
    line.sendall(request)
    received = b""
    while not received.endswith(b"\r\n\r\ndone"):
        part = line.recv(4096)
        assert part, received
        received += part
    return int(received.split()[1])


def read_to_end(line: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    received = b""
    while part := line.recv(65536):
        received += part
    return received


def refusal(received: bytes) -> tuple[int, str]:
    """Return the status and the code of an error in the API's shape."""
    head, _, body = received.partition(b"\r\n\r\n")
    content = json.loads(body)
    assert set(content) == {"type", "error", "request_id"}
    assert b"x-request-id: " + content["request_id"].encode() in head
    assert b"connection: close" in head
    return int(head.split()[1]), content["error"]["code"]


def test_a_connection_on_which_nothing_is_said_is_closed(port: int) -> None:
    began = time.monotonic()
    with connect(port) as line:
        assert read_to_end(line) == b""
    assert DEADLINE / 2 < time.monotonic() - began < DEADLINE + 2


@pytest.mark.parametrize("earlier", [0, 2], ids=["the first request", "the third"])
def test_a_dripped_head_is_cut_and_told(port: int, earlier: int) -> None:
    with connect(port) as line:
        for _ in range(earlier):
            assert ask(line) == 200
        began = time.monotonic()
        line.sendall(GET[:-4] + b"\r\nx-slow: ")
        line.settimeout(0.2)
        received = b""
        while not received and time.monotonic() - began < 10:
            line.sendall(b"a")
            try:
                received = line.recv(4096)
            except TimeoutError:
                continue
        assert DEADLINE / 2 < time.monotonic() - began < DEADLINE + 2
        assert refusal(received) == (408, "request_timeout")


def test_dripped_line_ends_are_no_way_to_stay(port: int) -> None:
    with connect(port) as line:
        assert ask(line) == 200
        began = time.monotonic()
        while is_established(port, line.getsockname()[1]):
            assert time.monotonic() - began < DEADLINE + 2
            with contextlib.suppress(ConnectionError):  # it is closed in between
                line.sendall(b"\r\n")
            time.sleep(0.1)
        assert time.monotonic() - began > DEADLINE / 2


def test_a_connection_may_rest_between_requests_and_an_answer_may_take_its_time(port: int) -> None:
    with connect(port) as line:
        assert ask(line) == 200
        time.sleep(DEADLINE * 1.5)
        assert ask(line) == 200
        slow = GET.replace(b"/other", b"/slow")  # takes a second; in its middle a new head begins, and ends later
        line.sendall(slow + GET[:20])
        assert ask(line, b"") == 200
        assert ask(line, GET[20:]) == 200


def test_a_head_in_two_pieces_is_a_head(port: int) -> None:
    with connect(port) as line:
        for cut in (1, 10, len(GET) - 1):
            line.sendall(GET[:cut])
            time.sleep(0.05)
            assert ask(line, GET[cut:]) == 200
        time.sleep(DEADLINE * 1.5)
        assert ask(line) == 200


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n", b"GET \xff\xff HTTP/1.1\r\n\r\n"],
    ids=["nonsense", "a NUL in a header", "bytes in the path"],
)
def test_what_is_no_http_is_refused_in_the_error_shape(port: int, request_: bytes) -> None:
    with connect(port) as line:
        line.sendall(request_)
        assert refusal(read_to_end(line)) == (400, "invalid_parameter")


@pytest.mark.parametrize("size", [1000, 4_000_000], ids=["a little", "much"])
def test_a_client_that_reads_nothing_is_cut(port: int, size: int) -> None:
    """Also when all of it is in the kernel's hands and the server has no more to do."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 512)
    line.connect(("127.0.0.1", port))
    line.settimeout(30)
    with line:
        began = time.monotonic()
        line.sendall(b"GET /much?%d HTTP/1.1\r\nhost: a\r\n\r\n" % (size + 4096))
        while is_established(port, line.getsockname()[1]):
            assert time.monotonic() - began < 10
            time.sleep(0.1)
        assert time.monotonic() - began > DEADLINE / 2


def is_established(port: int, client_port: int) -> bool:
    """Tell whether the server's end of a connection is open, by the kernel's table."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[2].endswith(f":{client_port:04X}") for row in rows)


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_body_after_a_wish_to_upgrade_is_a_body_and_no_request(port: int, pieces: int) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(
        hidden
    )
    request = head + hidden
    cuts = {1: [], 2: [len(head)], 3: [len(head) - 2, len(head) + 10]}[pieces]
    with connect(port) as line:
        for start, end in zip([0, *cuts], [*cuts, len(request)], strict=True):
            line.sendall(request[start:end])
            time.sleep(0.1)
        answer = read_to_end(line)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.partition(b"\r\n\r\n")[2] == hidden


def whole_body(received: bytes) -> bytes:
    """Return the body of an answer in chunks, whose framing must be right."""
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
        if not length:
            assert rest == b""
            return body


def test_pieces_written_on_the_line_are_a_body_like_any_other(port: int) -> None:
    with connect(port) as line:
        line.sendall(b"GET /pieces?3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert whole_body(read_to_end(line)) == b"0000" * 250 + b"0001" * 250 + b"0002" * 250 + b"3"


def test_the_line_of_a_client_that_does_not_read_is_not_free_and_nothing_is_lost(port: int) -> None:
    count = 9000
    with connect(port) as line:
        line.sendall(b"GET /pieces?%d HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % count)
        time.sleep(DEADLINE / 3)
        body = whole_body(read_to_end(line))
    assert body[: count * 1000] == b"".join(b"%04d" % number * 250 for number in range(count))
    assert 0 < int(body[count * 1000 :]) < count
