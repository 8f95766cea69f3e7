"""``make run``: the services, the database's migrations and demo, then web, worker and beat, until Ctrl-C.

Everything is a child in a session of its own and goes when we go, a kill -9 included (lumyx.children). The end has an order:
beat, worker, web, Valkey, PostgreSQL. What dies by itself is started again. ``.local/run.json`` tells other programs of this
checkout (``manage.py``, for one) what runs and where.
"""

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from lumyx.children import Program, end_leftover
from lumyx.devservices import ServiceError, Services
from lumyx.env import Env, EnvironmentVariableError
from lumyx.logtail import LogTail, rotate
from lumyx.supervisor_stripe import StandIn

BASE_DIR = Path(__file__).resolve().parent.parent
READY_TIMEOUT = 60.0
CELERY = (sys.executable, "-m", "celery", "-A", "lumyx.celery")


class StartError(Exception):
    """The start cannot go on; the message says what to do."""


def worker_command() -> list[str]:
    """Return the command that starts a worker for the background tasks."""
    pool = ["--pool", "threads", "--concurrency", "2"]
    return [*CELERY, "worker", *pool, "--loglevel", "INFO", "--without-mingle"]


def beat_command(schedule: Path) -> list[str]:
    """Return the command that starts the tasks' clock; ``schedule`` is where it keeps when each ran last."""
    return [*CELERY, "beat", "--schedule", str(schedule), "--pidfile", "", "--loglevel", "INFO"]


class Supervisor:
    """One run of one checkout."""

    def __init__(
        self, *, local: Path, port: int, host: str, concurrency: int, say: Callable[[str], None], fakes_stripe: bool
    ) -> None:
        self.local, self.port, self.host, self.concurrency, self.say = local, port, host, concurrency, say
        self.logs = local / "logs"
        self.run_file = local / "run.json"
        self.services: Services | None = None
        self.stripe = StandIn(local / "stripe.json") if fakes_stripe else None
        self.programs: list[Program] = []
        self.listener: socket.socket | None = None
        self.environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "lumyx.settings.dev", "PORT": str(port)}
        self._tails: dict[str, LogTail] = {}

    @property
    def url(self) -> str:
        """Where the site is."""
        return f"http://{'127.0.0.1' if self.host in {'0.0.0.0', '127.0.0.1'} else self.host}:{self.port}"  # noqa: S104  compared, not bound

    def run(self) -> None:
        """Start everything, then watch it until a signal ends us. Raises StartError, ServiceError."""
        began = time.monotonic()
        for folder in (self.local, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._only_one():
            try:
                self._end_leftovers()
                self.listener = self._listen()
                self.services = self._start_services()
                self._write_run_file()
                demo = json.loads(self._manage("demo", "--migrate", "--json").splitlines()[-1])
                self.programs = self._make_programs(self.listener.fileno())
                if self.stripe is not None:
                    self._start_stripe(self.stripe)
                self._start("web")
                self._wait_until_ready()
                self._show(demo, seconds=time.monotonic() - began)
                self._start("worker", "beat")  # they need not be awaited, and would slow the web process's start
                self._watch(self.services)
            finally:
                self._end()

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        with (self.local / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                port = self._read_run_file().get("port", "?")
                raise StartError(f"It already runs from this folder: http://127.0.0.1:{port}") from None
            yield

    def _read_run_file(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self.run_file.read_text())
            return found
        return {}

    def _write_run_file(self) -> None:
        """Say what runs where. Only we may read it: the URL of a database can hold a password."""
        roles: dict[str, list[int]] = {"supervisor": [os.getpid()], **(self.services.pids if self.services else {})}
        for program in self.programs:
            roles.setdefault(program.role, []).extend(program.pids)
        urls = {name: self.environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
        urls |= self.stripe.environment if self.stripe else {}
        fresh = self.run_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({**roles, **urls, "port": self.port}, indent=1))
        fresh.replace(self.run_file)

    def _end_leftovers(self) -> None:
        """After a kill -9 the kernel has told the children to end; wait for the slow ones (and do its work on macOS)."""
        for role, pids in self._read_run_file().items():
            if isinstance(pids, list) and role not in {"supervisor", "postgres", "valkey"}:
                for pid in pids:
                    end_leftover(pid, whose=sys.executable, grace=8.0)
        self.run_file.unlink(missing_ok=True)

    def _listen(self) -> socket.socket:
        """Open the socket that all web processes share, so that none of their deaths closes the door."""
        listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(2048)
        except OSError as error:
            listener.close()
            raise StartError(
                f"Port {self.port} cannot be used ({error.strerror}). Choose another: PORT={self.port + 1} make run"
            ) from error
        self.port = listener.getsockname()[1]
        self.environment["PORT"] = str(self.port)
        return listener

    def _start_services(self) -> Services:
        given = {name for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)}
        for name in ("postgres", "valkey"):
            rotate(self.logs / f"{name}.log")
        services = Services(
            self.local, logs=self.logs, postgres="DATABASE_URL" not in given, valkey="REDIS_URL" not in given
        )
        services.start()
        self.environment |= services.environment
        return services

    def _manage(self, *words: str) -> str:
        """Run manage.py to its end and return what it printed. Raises StartError with its messages."""
        with (self.logs / "manage.log").open("ab") as log:
            done = subprocess.run(  # noqa: S603  our own command, no shell
                [sys.executable, "manage.py", *words],
                cwd=BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            log.write(done.stderr)
        if done.returncode:
            raise StartError(f"manage.py {' '.join(words)} failed:\n{done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def _start_stripe(self, stripe: StandIn) -> None:
        """Start the stand-in and tell it what is sold. Raises StartError."""
        self.environment |= stripe.environment
        self._start("stripe")
        if not stripe.is_ready():
            raise StartError(f"The stand-in for Stripe did not start; its log is {self.logs / 'stripe.log'}")
        try:
            self._manage("help", "stripe")
        except StartError:
            return
        self._manage("stripe", "sync")

    def _make_programs(self, door: int) -> list[Program]:
        web = [sys.executable, "-m", "lumyx.serve", "--fd", str(door)]
        stripe = [self._program("stripe", self.stripe.command(self.url), stop_timeout=4)] if self.stripe else []
        return [
            *stripe,
            *(self._program("web", web, stop_timeout=10, pass_fds=(door,)) for _ in range(self.concurrency)),
            self._program("worker", worker_command(), stop_timeout=8),
            self._program("beat", beat_command(self.local / "beat"), stop_timeout=4),
        ]

    def _program(
        self, role: str, command: list[str], *, stop_timeout: float, pass_fds: tuple[int, ...] = ()
    ) -> Program:
        log = self.logs / f"{role}.log"
        return Program(role, command, log, folder=BASE_DIR, stop_timeout=stop_timeout, pass_fds=pass_fds)

    def _start(self, *roles: str) -> None:
        for program in self.programs:
            if program.role in roles:
                if program.role not in self._tails:
                    rotate(program.log)
                    self._tails[program.role] = LogTail(program.log)
                program.start(self.environment)
        self._write_run_file()

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            line = http.client.HTTPConnection(self.host, self.port, timeout=3)
            try:
                line.request("GET", "/readyz")
                return line.getresponse().status == 200
            finally:
                line.close()
        return False

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not self._is_ready():
            self._print_errors()
            dead = next((program for program in self.programs if program.role == "web" and program.has_died()), None)
            if dead is not None or time.monotonic() > deadline:
                raise StartError(f"The web process did not get ready; its log is {self.logs / 'web.log'}")
            time.sleep(0.05)

    def _show(self, demo: dict[str, Any], *, seconds: float) -> None:
        key, model = demo["api_key"], demo["model"]
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
        lines = [
            f"LumyxAI is ready after {seconds:.1f} s.",
            "",
            f"  Site      {self.url}",
            f"  Sign in   {demo['email']}  password {demo['password']}",
            f"  API key   {key}",
            *(f"  Note      {note}" for note in demo["notes"]),
            *([f"  Payments  test cards only, at {self.stripe.url}; no money moves"] if self.stripe else []),
            f"  Logs      {self.logs}",
            "",
            f"curl {self.url}/api/v1/chat/completions \\",
            f"  -H 'Authorization: Bearer {key}' \\",
            "  -H 'Content-Type: application/json' \\",
            f"  -d '{body}'",
            "",
            "Ctrl-C stops it; what is stored stays.",
        ]
        self.say("\n".join(lines))

    def _print_errors(self) -> None:
        for role, tail in self._tails.items():
            for line in tail.new_errors():
                self.say(f"[{role}] {line}")

    def _watch(self, services: Services) -> None:
        while True:
            self._print_errors()
            self._watch_services(services)
            for program in self.programs:
                if program.restart_at is not None:
                    if time.monotonic() >= program.restart_at:
                        program.start(self.environment)
                        self._write_run_file()
                elif program.has_died():
                    program.plan_restart()
                    self.say(f"[{program.role}] ended with {program.status}; it starts again in {program.pause:g} s.")
                    self._write_run_file()
            time.sleep(0.2)

    def _watch_services(self, services: Services) -> None:
        for service in services.dead():
            self.say(f"[{service.role}] ended; it starts again. Log: {service.log}")
            try:
                service.start()
            except ServiceError as error:
                self.say(f"[{service.role}] {error}")
            self._write_run_file()

    def _end(self) -> None:
        """Stop everything in order. A second Ctrl-C changes nothing: every step has its own time limit."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if self.programs:
            self.say("\nStopping…")
        web = [program for program in self.programs if program.role == "web"]
        for program in reversed(self.programs):
            if program not in web:
                program.end()
        for program in web:
            program.ask_to_end()  # all at once, so that their drains run side by side
        for program in web:
            program.end()
        if self.listener is not None:
            self.listener.close()
        if self.services is not None:
            self.services.stop()
        self.run_file.unlink(missing_ok=True)
        if self.programs:
            self.say("Stopped.")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run until a signal, and return the exit status."""
    env = Env()
    port = env.integer("PORT", 8000, low=0, high=65_535)
    concurrency = env.integer("WEB_CONCURRENCY", 1, low=1, high=64)
    host = env.text("LUMYX_HOST", "127.0.0.1")
    stripe = env.text("STRIPE", "")

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        env.finish()
        if stripe not in {"", "fake"} or (stripe and env.text("STRIPE_SECRET_KEY", "")):
            raise StartError("STRIPE can be fake, without a STRIPE_SECRET_KEY; or unset STRIPE to use your own key.")
        local = Path(env.text("LUMYX_LOCAL_DIR", str(BASE_DIR / ".local"))).resolve()
        run = Supervisor(local=local, port=port, host=host, concurrency=concurrency, say=say, fakes_stripe=bool(stripe))
        run.run()
    except KeyboardInterrupt:
        return 0
    except (StartError, ServiceError, EnvironmentVariableError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
