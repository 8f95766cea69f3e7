"""A real installation for flow tests: a migrated database of its own, the demo catalog, and gateways as real uvicorn processes."""

import contextlib
import itertools
import json
import os
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.conf import settings
from psycopg.rows import dict_row

from lumyx.children import spawn, stop
from rig.backstage import Backstage
from tests.flows.relay import Address, unix_socket_or_address

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO_CATALOG = ROOT / "gateway/demo/catalog.toml"
START_SECONDS = 60.0


class InstallationError(Exception):
    """A process of an installation did not start or ended; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace with a key."""

    slug: str
    owner: str
    key: str


class Gateway:
    """One web process that serves an installation."""

    def __init__(self, environment: Mapping[str, str], *, log: Path) -> None:
        """Start it. It knows its own address, which it leads people back to from elsewhere."""
        self.log = log
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            self.port: int = listener.getsockname()[1]
            self.origin = f"http://127.0.0.1:{self.port}"
            self.process = spawn(
                [sys.executable, "-m", "lumyx.serve", "--fd", str(listener.fileno())],
                log=log,
                environment={"LUMYX_SITE_URL": self.origin, **environment},
                pass_fds=[listener.fileno()],
                cwd=ROOT,
            )
        self.base_url = f"{self.origin}/api/v1"

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it serves. Raises InstallationError when it ends first or does not get ready."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.origin}/readyz", timeout=5).close()
                return
            time.sleep(0.05)
        raise InstallationError(f"The gateway is not ready:\n{self.read_log()[-3000:]}")

    def read_log(self) -> str:
        """Return everything that it wrote."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        stop(self.process, timeout=20)


class Installation:
    """A database of its own on the tests' PostgreSQL, the tests' Valkey, and commands to run in them."""

    def __init__(self, folder: Path, *, number: int) -> None:
        self.folder = folder
        self._names = itertools.count(1)
        server = settings.DATABASES["default"]
        self._server = {name: server[name] for name in ("USER", "PASSWORD", "HOST", "PORT")}
        self.database = f"flows_{os.getpid()}_{number}"
        self.database_address = unix_socket_or_address(
            server["HOST"], server["PORT"] or "5432", socket_name=f".s.PGSQL.{server['PORT'] or 5432}"
        )
        # Its own Redis database: ids of workspaces begin at 1 here as in the other tests' database.
        redis = urlsplit(settings.REDIS_URL)
        self._redis_number = 9 + number % 7
        self.redis_address: Address = (
            redis.path if redis.scheme == "unix" else (redis.hostname or "", redis.port or 6379)
        )
        self._execute_on_server(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
        self._execute_on_server(f'CREATE DATABASE "{self.database}"')
        #: What its processes and commands get besides: set it before the first of them starts.
        self.extra: dict[str, str] = {}
        self._backstage = Backstage(self.environment())

    def use(self, **variables: str) -> None:
        """Give all its processes and commands from now on more environment variables."""
        self.extra |= variables
        self._backstage.close()
        self._backstage = Backstage(self.environment())

    def _url(self, *, host: str, port: str, name: str) -> str:
        user, password = self._server["USER"], self._server["PASSWORD"]
        return f"postgresql://{user}{':' + password if password else ''}@/{name}?host={host}&port={port or 5432}"

    def database_url(self, *, port: int | None = None) -> str:
        """Return the address of its database, or that of a relay before it."""
        if port is not None:
            return self._url(host="127.0.0.1", port=str(port), name=self.database)
        return self._url(host=self._server["HOST"], port=self._server["PORT"], name=self.database)

    def redis_url(self, *, port: int | None = None) -> str:
        """Return the address of its Valkey, or that of a relay before it."""
        parts = urlsplit(settings.REDIS_URL)
        if port is not None:
            return f"redis://127.0.0.1:{port}/{self._redis_number}"
        if parts.scheme == "unix":
            return f"{settings.REDIS_URL.split('?')[0]}?db={self._redis_number}"
        return urlunsplit(parts._replace(path=f"/{self._redis_number}"))

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of its processes."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.flows.settings",
            "DATABASE_URL": self.database_url(),
            "REDIS_URL": self.redis_url(),
            **self.extra,
            **changes,
        }

    def _execute_on_server(self, statement: str) -> None:
        url = self._url(host=self._server["HOST"], port=self._server["PORT"], name="postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Run an operators' command with --json and return its answer. Raises InstallationError when it fails."""
        status, answer = self.try_manage(*arguments)
        if status:
            raise InstallationError(f"{' '.join(arguments)} ended with {status}: {answer}")
        return answer

    def try_manage(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run an operators' command with --json and return its exit status and answer."""
        done = self._backstage.run(*arguments, "--json")
        lines = done.output.strip().splitlines()
        if not lines:
            raise InstallationError(f"{' '.join(arguments)} printed nothing: {done}")
        return done.status, json.loads(lines[-1])

    def set_up(self) -> None:
        """Migrate and apply the demo catalog."""
        done = self._backstage.run("migrate", "--verbosity", "0")
        if done.status:
            raise InstallationError(f"migrate failed: {done}")
        self.manage("catalog", "apply", str(DEMO_CATALOG))

    def query(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a statement in its database."""
        with psycopg.connect(self.database_url(), row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(statement.encode(), values or None).fetchall()

    def new_tenant(
        self, *, owner: str | None = None, credits_usd: str | None = "5", tier: str | None = None, rpm: int | None = 0
    ) -> Tenant:
        """Make a workspace with a key; without ``rpm`` the tier's limit a minute holds."""
        slug_wish = f"flow-{next(self._names)}"
        owner = owner or f"{slug_wish}@example.com"
        options = ["--credits", credits_usd] if credits_usd else []
        options += ["--tier", tier] if tier else []
        slug: str = self.manage("workspace", "create", "--name", slug_wish, "--owner", owner, *options)["slug"]
        if rpm is not None:
            self.manage("workspace", "limits", slug, "--rpm", str(rpm))
        return Tenant(slug, owner, self.new_key(slug))

    def new_key(self, slug: str, *options: str) -> str:
        """Make a key and return its secret."""
        secret: str = self.manage("apikey", "create", "--workspace", slug, "--name", "flow", *options)["secret"]
        return secret

    def start_gateway(self, *, name: str = "gateway", **changes: str) -> Gateway:
        """Start a gateway and wait until it is ready; whoever starts it stops it."""
        gateway = Gateway(self.environment(**changes), log=self.folder / f"{name}.log")
        try:
            gateway.wait_until_ready()
        except BaseException:
            gateway.stop()
            raise
        return gateway

    def close(self) -> None:
        """End its processes and drop its database."""
        self._backstage.close()
        self._execute_on_server(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')


@contextlib.contextmanager
def installed(*, number: int) -> Iterator[Installation]:
    """Make an installation for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="lumyx-flows-") as folder:
        installation = Installation(Path(folder), number=number)
        try:
            installation.set_up()
            yield installation
        finally:
            installation.close()
