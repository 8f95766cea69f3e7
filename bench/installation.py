"""A whole installation for one benchmark: PostgreSQL, Valkey, a migrated database, a catalog, credit, one gateway worker.

The worker has a core for itself; the mock upstream, the load generator, PostgreSQL and Valkey share the other ones. Everything
lives in a temporary folder and ends with the block, whatever happens.
"""

import base64
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import accounting
from bench.load import Target
from lumyx.children import spawn, stop
from lumyx.devservices import Postgres, Valkey
from lumyx.lib import clock

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = "bench"
CREDITS_USD = "1000000"
CATALOG = """
[[upstreams]]
name = "bench"
provider = "openai-compatible"
protocol = "openai_chat"
base_url = "http://127.0.0.1:{port}/v1"
credential = "sk-bench"
allow_private_network = true

[[models]]
id = "{model}"
display_name = "Benchmark"
kind = "chat"
context_window = 128000
max_output_tokens = 16384
tags = ["streaming"]
[models.price]
input = "0.50"
output = "1.50"
[[models.routes]]
upstream = "bench"
model = "{model}"
"""


class InstallationError(Exception):
    """A part did not start or refused its set-up; the message has the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    gateway: set[int]
    others: set[int]

    @property
    def are_apart(self) -> bool:
        """Whether the gateway has a core for itself."""
        return not self.gateway & self.others


def choose_cores() -> Cores:
    """Give the gateway the last core that we may use and everything else the other ones; all share if there is one only."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(gateway={allowed[-1]}, others=set(allowed[:-1]) or set(allowed))


@dataclass(frozen=True, slots=True)
class Installation:
    """What runs, by pid, and how to reach it."""

    gateway: int
    upstream: int
    postgres: int
    valkey: int
    port: int
    upstream_port: int
    key: str
    environment: Mapping[str, str]

    def through_gateway(self, model: str, *, stream: bool = False) -> Target:
        """Return the target for requests through the gateway."""
        return Target(self.port, "/api/v1/chat/completions", model, key=self.key, stream=stream)

    def direct(self, model: str, *, stream: bool = False) -> Target:
        """Return the target for requests straight to the mock upstream."""
        return Target(self.upstream_port, "/v1/chat/completions", model, key=self.key, stream=stream)

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Run an operators' command with --json and return its answer. Raises InstallationError when it fails."""
        output = _run_manage([*arguments, "--json"], environment=self.environment)
        answer: dict[str, Any] = json.loads(output.strip().rsplit("\n", 1)[-1])
        return answer


def _run_manage(arguments: list[str], *, environment: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603  our own interpreter, arguments from this package
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallationError(f"manage.py {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def _environment(*, database_url: str, redis_url: str, port: int) -> dict[str, str]:
    """Return the environment of a production installation with secrets of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "lumyx.settings.prod",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "LUMYX_ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "LUMYX_API_KEY_PEPPER": base64.b64encode(secrets.token_bytes(32)).decode(),
        "ALLOWED_HOSTS": "127.0.0.1",
        "LUMYX_SITE_URL": f"http://127.0.0.1:{port}",
        "LUMYX_EMAIL_VERIFICATION": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DRAIN_SECONDS": "0",
    }


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, *, log: Path, seconds: float = 60.0) -> None:
    deadline = clock.monotonic() + seconds
    while process.poll() is None and clock.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
            return
        time.sleep(0.1)
    raise InstallationError(f"The gateway did not become ready:\n{log.read_text(errors='replace')[-3000:]}")


@contextlib.contextmanager
def _services(folder: Path, cores: Cores) -> Iterator[tuple[Postgres, Valkey]]:
    postgres = Postgres(folder / "services", log=folder / "postgres.log")
    valkey = Valkey(folder / "services", log=folder / "valkey.log")
    with contextlib.ExitStack() as stack:
        for service in (postgres, valkey):
            stack.callback(service.stop)
            service.start()
            assert service.process is not None  # noqa: S101  start() has just set it
            accounting.pin([service.process.pid], cores.others)
        yield postgres, valkey


@contextlib.contextmanager
def _upstream(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        descriptor = listener.fileno()
        process = spawn(
            [sys.executable, "-m", "bench.upstream", str(descriptor)],
            log=folder / "upstream.log",
            pass_fds=[descriptor],
            cwd=ROOT,
        )
        port: int = listener.getsockname()[1]
    try:
        yield process, port
    finally:
        stop(process, timeout=5)


@contextlib.contextmanager
def _gateway(
    folder: Path, cores: Cores, *, environment: Mapping[str, str], listener: socket.socket
) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / "gateway.log"
    process = spawn(
        [sys.executable, "-m", "lumyx.serve", "--fd", str(listener.fileno())],
        log=log,
        environment=environment,
        pass_fds=[listener.fileno()],
        cwd=ROOT,
    )
    try:
        accounting.pin([process.pid], cores.gateway)
        _wait_until_ready(process, listener.getsockname()[1], log=log)
        yield process
    finally:
        stop(process, timeout=30)


def _set_up(environment: Mapping[str, str], folder: Path, *, upstream_port: int, models: list[str]) -> str:
    """Migrate, apply the catalog, make a workspace with credit and without limits; return its key."""
    _run_manage(["migrate", "--verbosity", "0"], environment=environment)
    for number, model in enumerate(models):
        catalog = folder / f"catalog-{number}.toml"
        catalog.write_text(CATALOG.format(port=upstream_port, model=model))
        _run_manage(["catalog", "apply", str(catalog)], environment=environment)
    _run_manage(
        ["workspace", "create", "--name", WORKSPACE, "--owner", "bench@example.com", "--credits", CREDITS_USD],
        environment=environment,
    )
    _run_manage(["workspace", "limits", WORKSPACE, "--rpm", "0"], environment=environment)
    output = _run_manage(
        ["apikey", "create", "--workspace", WORKSPACE, "--name", "bench", "--json"], environment=environment
    )
    secret: str = json.loads(output.strip().rsplit("\n", 1)[-1])["secret"]
    return secret


@contextlib.contextmanager
def installed(folder: Path, cores: Cores, *, models: list[str]) -> Iterator[Installation]:
    """Run a whole installation for the time of the block. Raises InstallationError when a part does not start."""
    os.sched_setaffinity(0, cores.others)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        _services(folder, cores) as (postgres, valkey),
        _upstream(folder) as (upstream, upstream_port),
    ):
        port: int = listener.getsockname()[1]
        environment = _environment(database_url=postgres.url, redis_url=valkey.url, port=port)
        key = _set_up(environment, folder, upstream_port=upstream_port, models=models)
        with _gateway(folder, cores, environment=environment, listener=listener) as gateway:
            assert postgres.process is not None  # noqa: S101  it runs
            assert valkey.process is not None  # noqa: S101  it runs
            yield Installation(
                gateway=gateway.pid,
                upstream=upstream.pid,
                postgres=postgres.process.pid,
                valkey=valkey.process.pid,
                port=port,
                upstream_port=upstream_port,
                key=key,
                environment=environment,
            )
