"""``make run`` as a newcomer meets it: one command, a key that works, a clean end, and the data still there."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lumyx.devservices import socket_folder

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


class Run:
    """A supervisor in a folder of its own."""

    def __init__(self, local: Path, *, port: str = "0") -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name
            not in {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "LUMYX_TEST_SERVICES", "OPENAI_API_KEY"}
        }
        self.local = local
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lumyx.supervisor"],
            cwd=ROOT,
            env={**kept, "LUMYX_LOCAL_DIR": str(local), "PORT": port},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""

    def read_until(self, text: str) -> str:
        """Read what it prints until a line with ``text``, or its end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if text in line:
                break
        return self.printed

    def wait_until_ready(self) -> "Run":
        """Wait for the banner."""
        assert "Ctrl-C stops it" in self.read_until("Ctrl-C stops it"), self.printed
        return self

    def end(self, number: signal.Signals) -> int:
        """Send a signal, then as ``wait``."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Read to the end and return the exit status."""
        self.printed += self.process.communicate(timeout=40)[0]
        return self.process.returncode

    @property
    def run_file(self) -> dict[str, Any]:
        """What run.json says."""
        found: dict[str, Any] = json.loads((self.local / "run.json").read_text())
        return found

    @property
    def key(self) -> str:
        """The API key that was printed."""
        return str(re.findall(r"lx-[0-9A-Za-z]{49}", self.printed)[0])

    def pids(self) -> list[int]:
        """Every process that was started for this folder, by its environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"LUMYX_LOCAL_DIR={self.local}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def is_gone(self, *, within: float) -> bool:
        """Wait until none of its processes runs."""
        deadline = time.monotonic() + within
        while self.pids():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def comes_back(self, *, within: float) -> bool:
        """Wait until the API serves again."""
        deadline = time.monotonic() + within
        while self.ask("GET", "/api/v1/models")[0] != 200:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call the API with the printed key."""
        line = http.client.HTTPConnection("127.0.0.1", self.run_file["port"], timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            line.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            line.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """A folder for an installation; whatever still runs there at the end is killed."""
    folder = tmp_path / "installation"
    yield folder
    leftover = Run.__new__(Run)
    leftover.local = folder
    for pid in leftover.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(socket_folder(folder), ignore_errors=True)


def test_one_command_gives_a_working_key_and_ctrl_c_leaves_nothing_but_the_data(local: Path) -> None:
    run = Run(local).wait_until_ready()
    roles = run.run_file
    assert {"supervisor", "postgres", "valkey", "web"} <= set(roles)
    assert (local / "run.json").stat().st_mode & 0o777 == 0o600
    assert (local / "demo.json").stat().st_mode & 0o777 == 0o600

    hello = {"model": "sandbox/paid", "messages": [{"role": "user", "content": "Hello"}]}
    status, answer = run.ask("POST", "/api/v1/chat/completions", hello)
    assert status == 200
    assert answer["choices"][0]["message"]["content"]

    # A second start from the same folder says where the first one is.
    second = Run(local)
    assert second.wait() == 1
    assert f"already runs from this folder: http://127.0.0.1:{roles['port']}" in second.printed

    # A web process that dies is started again, on the same socket.
    (web,) = roles["web"]
    os.kill(web, signal.SIGKILL)
    run.read_until("it starts again")
    assert run.comes_back(within=30)
    assert run.run_file["web"] != [web]

    assert run.end(signal.SIGINT) == 0
    assert run.printed.rstrip().endswith("Stopped.")
    assert run.is_gone(within=0)
    assert not (local / "run.json").exists()

    # The second start has the same key, and remembers the first call.
    again = Run(local).wait_until_ready()
    assert again.key == run.key
    assert [entry["id"] for entry in again.ask("GET", "/api/v1/models")[1]["data"]]
    # kill -9: the kernel tells the children, and the next start recovers.
    again.end(signal.SIGKILL)
    assert again.is_gone(within=15)
    third = Run(local).wait_until_ready()
    assert third.key == run.key
    assert third.ask("POST", "/api/v1/chat/completions", hello)[0] == 200
    assert third.end(signal.SIGTERM) == 0
    assert third.is_gone(within=0)


def test_a_port_that_is_taken_is_said_at_once_with_a_way_out(local: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = Run(local, port=str(port))
        assert run.wait() == 1
        assert f"Port {port} cannot be used" in run.printed
        assert f"PORT={port + 1} make run" in run.printed
        assert run.is_gone(within=0)


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("PORT", "70000"), ("WEB_CONCURRENCY", "0")])
def test_a_bad_variable_is_refused_with_its_name(local: Path, name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lumyx.supervisor"],
        cwd=ROOT,
        env={**os.environ, "LUMYX_LOCAL_DIR": str(local), name: value},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not local.exists()
