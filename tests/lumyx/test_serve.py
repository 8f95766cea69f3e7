"""One web process: it serves on a socket that it is given, and a SIGTERM loses no request."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lumyx.serve import open_socket

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def served(*, drain: float) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run lumyx.serve with the stand-in on a socket of ours; gives the process and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "lumyx.serve", "--fd", str(listener.fileno()), "--app", "tests.lumyx.standin"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.lumyx.standin", "STANDIN_DRAIN": str(drain)},
        pass_fds=[listener.fileno()],
        stderr=subprocess.DEVNULL,
    )
    listener.close()
    try:
        assert status_of(port) == 200
        yield process, port
    finally:
        process.kill()
        process.wait()


def status_of(port: int, path: str = "/readyz") -> int:
    """Return the status of a request on a connection of its own; 0 if nobody listens."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        line.request("GET", path)
        return line.getresponse().status
    except ConnectionError:
        return 0
    finally:
        line.close()


def test_while_it_drains_readiness_says_503_and_requests_are_still_served() -> None:
    with served(drain=1.5) as (process, port):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert status_of(port) == 503
        assert status_of(port, "/other") == 200
        assert process.wait(30) == 0
        assert status_of(port) == 0


def test_a_request_under_way_is_answered_whole_after_sigterm() -> None:
    with served(drain=0) as (process, port):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.request("GET", "/slow")
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        answer = line.getresponse()
        assert (answer.status, answer.read()) == (200, b"done")
        line.close()
        process.wait(30)


def test_a_second_signal_skips_the_drain() -> None:
    with served(drain=60) as (process, _):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert time.monotonic() - began < 5


def test_answers_do_not_name_the_server_but_have_a_date() -> None:
    with served(drain=0) as (_, port):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.request("GET", "/")
        headers = line.getresponse().headers
        line.close()
    assert "server" not in headers
    assert "date" in headers


def test_several_processes_may_bind_one_port() -> None:
    with open_socket("127.0.0.1:0") as first, open_socket(f"127.0.0.1:{first.getsockname()[1]}") as second:
        assert second.getsockname() == first.getsockname()


@pytest.mark.parametrize("bind", ["127.0.0.1:port", "127.0.0.1:99999", "no.such.host.invalid:80"])
def test_an_address_that_cannot_be_used_is_said_without_a_traceback(bind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lumyx.serve", "--bind", bind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "not possible to listen" in done.stderr
