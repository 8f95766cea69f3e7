"""A whole installation for one run: PostgreSQL, Valkey, a migrated database, a catalog, web processes, a mock upstream.

The web processes share one listening socket, as those of ``make run`` and of a production installation do. Everything lives in a
temporary folder and ends with the block, whatever happens.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from lumyx.children import spawn, stop
from lumyx.devservices import Postgres, Valkey
from lumyx.lib import clock
from rig import accounting
from rig.backstage import Backstage
from rig.catalog import catalog_of
from rig.load import CHAT, Marks, Target
from rig.processes import ROOT, WebProcess


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


def all_cores() -> Cores:
    """Let everybody run everywhere: for proofs, which measure nothing."""
    allowed = os.sched_getaffinity(0)
    return Cores(gateway=allowed, others=allowed)


def choose_cores() -> Cores:
    """Give the gateway the last core that we may use and everything else the other ones; all share if there is one only."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(gateway={allowed[-1]}, others=set(allowed[:-1]) or set(allowed))


@dataclass(frozen=True, slots=True)
class Plan:
    """What an installation consists of.

    ``models``: names of the mock upstream's models (rig.upstream says what they do); ``free_models``: likewise, at no price;
    ``messages_models``: likewise, asked as Anthropic's Messages, and called ``messages/NAME``.
    ``settings``: environment variables of the web processes beside the usual ones.
    """

    models: Sequence[str]
    free_models: Sequence[str] = ()
    messages_models: Sequence[str] = ()
    workers: int = 1
    cores: Cores | None = None
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace and a key of it."""

    slug: str
    key: str


@dataclass(slots=True)
class Installation:
    """What runs, and how to reach it."""

    folder: Path
    web: list[WebProcess]
    upstream: subprocess.Popen[bytes]
    postgres: Postgres
    valkey: Valkey
    port: int
    upstream_port: int
    environment: Mapping[str, str]
    backstage: Backstage

    @property
    def gateway_pids(self) -> list[int]:
        """The web processes' numbers."""
        return [one.pid for one in self.web]

    @property
    def postgres_pid(self) -> int:
        """The number of PostgreSQL's first process."""
        assert self.postgres.process is not None
        return self.postgres.process.pid

    @property
    def valkey_pid(self) -> int:
        """The number of Valkey's process."""
        assert self.valkey.process is not None
        return self.valkey.process.pid

    def through_gateway(self, model: str, *, key: str, stream: bool = False, marks: Marks = CHAT) -> Target:
        """Return the target for requests through the gateway, in the protocol of ``marks``."""
        return Target(self.port, f"/api/v1{marks.path}", model, key=key, stream=stream, marks=marks)

    def direct(self, model: str, *, stream: bool = False) -> Target:
        """Return the target for requests straight to the mock upstream."""
        return Target(self.upstream_port, f"/v1{CHAT.path}", model, stream=stream)

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Run an operators' command with --json and return its answer. Raises InstallationError when it fails."""
        return _answer_in(_run_manage(self.backstage, *arguments, "--json"))

    def audit(self, command: str) -> list[dict[str, Any]]:
        """Return what ``manage.py COMMAND audit`` finds broken, each with its facts; nothing when all is well."""
        done = self.backstage.run(command, "audit", "--json")
        if done.status not in {0, 1}:
            raise InstallationError(f"manage.py {command} audit failed:\n{done.errors[-3000:]}")
        broken: list[dict[str, Any]] = _answer_in(done.output)["broken"]
        if bool(broken) != bool(done.status):
            raise InstallationError(f"manage.py {command} audit ended with {done.status} and says {broken}")
        return broken

    def new_tenant(
        self,
        name: str,
        *,
        owner: str | None = None,
        credits_usd: str | None = None,
        rpm: int = 0,
        daily: int | None = None,
    ) -> Tenant:
        """Make a workspace with a key. ``owner``: an address, one of its own by default.

        ``rpm`` 0: no limit a minute; ``daily`` None: the tier's daily quota.
        """
        credit = ["--credits", credits_usd] if credits_usd else []
        owner = owner or f"{name}@example.com"
        slug = self.manage("workspace", "create", "--name", name, "--owner", owner, *credit)["slug"]
        limits = ["--rpm", str(rpm), *(["--daily", str(daily)] if daily is not None else [])]
        self.manage("workspace", "limits", slug, *limits)
        return Tenant(slug, self.manage("apikey", "create", "--workspace", slug, "--name", "rig")["secret"])

    def query(self, statement: str, *values: object) -> list[DictRow]:
        """Return the rows of a statement, on a new connection of its own."""
        with psycopg.connect(self.postgres.url, row_factory=dict_row, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Return when a web process says that it can serve. Raises InstallationError."""
        deadline = clock.monotonic() + seconds
        while clock.monotonic() < deadline and any(one.process.poll() is None for one in self.web):
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
                return
            time.sleep(0.1)
        raise InstallationError(f"The gateway is not ready:\n{self.web[0].log.read_text(errors='replace')[-3000:]}")


def _answer_in(output: str) -> dict[str, Any]:
    """Return the answer that a command with --json prints as its last line."""
    answer: dict[str, Any] = json.loads(output.strip().rsplit("\n", 1)[-1])
    return answer


def _run_manage(backstage: Backstage, *arguments: str) -> str:
    done = backstage.run(*arguments)
    if done.status:
        raise InstallationError(f"manage.py {' '.join(arguments)} failed:\n{(done.output + done.errors)[-3000:]}")
    return done.output


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


@contextlib.contextmanager
def _services(folder: Path, cores: Cores) -> Iterator[tuple[Postgres, Valkey]]:
    postgres = Postgres(folder / "services", log=folder / "postgres.log")
    valkey = Valkey(folder / "services", log=folder / "valkey.log")
    with contextlib.ExitStack() as stack:
        for service in (postgres, valkey):
            stack.callback(service.stop)
            service.start()
            assert service.process is not None
            accounting.pin([service.process.pid], cores.others)
        yield postgres, valkey


@contextlib.contextmanager
def _upstream(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        descriptor = listener.fileno()
        process = spawn(
            [sys.executable, "-m", "rig.upstream", str(descriptor)],
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
def _web(
    folder: Path, plan: Plan, cores: Cores, *, environment: Mapping[str, str], listener: socket.socket
) -> Iterator[list[WebProcess]]:
    processes: list[WebProcess] = []
    try:
        for number in range(plan.workers):
            processes.append(WebProcess(number, listener=listener, environment=environment, folder=folder))
            accounting.pin([processes[-1].pid], cores.gateway)
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.stop()


@contextlib.contextmanager
def _backstage(folder: Path, plan: Plan, *, environment: Mapping[str, str], upstream_port: int) -> Iterator[Backstage]:
    """Migrate, apply the catalog, and keep the process that did for further commands."""
    catalog, free, messages = folder / "catalog.toml", plan.free_models, plan.messages_models
    catalog.write_text(catalog_of(port=upstream_port, models=plan.models, free_models=free, messages_models=messages))
    with contextlib.closing(Backstage(environment)) as backstage:
        _run_manage(backstage, "migrate", "--verbosity", "0")
        _run_manage(backstage, "catalog", "apply", str(catalog))
        yield backstage


@contextlib.contextmanager
def installed(folder: Path, plan: Plan) -> Iterator[Installation]:
    """Run a whole installation for the time of the block. Raises InstallationError when a part does not start."""
    cores = plan.cores or all_cores()
    os.sched_setaffinity(0, cores.others)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2048) as listener,
        _services(folder, cores) as (postgres, valkey),
        _upstream(folder) as (upstream, upstream_port),
    ):
        port: int = listener.getsockname()[1]
        environment = _environment(database_url=postgres.url, redis_url=valkey.url, port=port)
        environment |= plan.settings or {}
        with (
            _backstage(folder, plan, environment=environment, upstream_port=upstream_port) as backstage,
            _web(folder, plan, cores, environment=environment, listener=listener) as web,
        ):
            installation = Installation(
                folder,
                web,
                upstream,
                postgres,
                valkey,
                port=port,
                upstream_port=upstream_port,
                environment=environment,
                backstage=backstage,
            )
            installation.wait_until_ready()
            yield installation
