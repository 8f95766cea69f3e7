"""What runs in an installation, and how it is stopped, killed and brought back."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lumyx.children import spawn, stop
from lumyx.devservices import Postgres, Valkey
from lumyx.supervisor import beat_command, worker_command
from rig import accounting

ROOT = Path(__file__).resolve().parent.parent


class WebProcess:
    """One web process on the shared socket. It can be killed, asked to end, and started again."""

    def __init__(self, number: int, *, listener: socket.socket, environment: Mapping[str, str], folder: Path) -> None:
        self.number = number
        self.log = folder / f"web-{number}.log"
        self._listener = listener
        self._environment = environment
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return spawn(
            [sys.executable, "-m", "lumyx.serve", "--fd", str(self._listener.fileno())],
            log=self.log,
            environment=self._environment,
            pass_fds=[self._listener.fileno()],
            cwd=ROOT,
        )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    def kill(self) -> None:
        """End it as a crash would (kill -9)."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to drain and end; does not wait."""
        self.process.terminate()

    def start_again(self) -> None:
        """Start a successor in its place, as the supervisor does."""
        self.process.wait()
        self.process = self._spawn()

    def stop(self) -> None:
        """End it as an operator would."""
        stop(self.process, timeout=30)


@contextlib.contextmanager
def background_work(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a worker and beat for the time of the block, as ``make run`` does: what the site promises to do in time is done."""
    programs: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in (("worker", worker_command()), ("beat", beat_command(folder / "beat"))):
            programs.append(spawn(command, log=folder / f"{name}.log", environment=environment, cwd=ROOT))
        yield
    finally:
        for program in reversed(programs):
            stop(program, timeout=10)


def pause(service: Postgres | Valkey) -> None:
    """Stop every process of a service where it stands (SIGSTOP): connections stay open and silent."""
    _signal_tree(service, signal.SIGSTOP)


def resume(service: Postgres | Valkey) -> None:
    """Let a paused service go on."""
    _signal_tree(service, signal.SIGCONT)


def kill(service: Postgres | Valkey) -> None:
    """End every process of a service at once (SIGKILL), as a power cut would. ``service.start()`` brings it back."""
    assert service.process is not None
    _signal_tree(service, signal.SIGKILL)
    service.process.wait()


def _signal_tree(service: Postgres | Valkey, number: signal.Signals) -> None:
    assert service.process is not None
    for pid in accounting.tree_of([service.process.pid]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
