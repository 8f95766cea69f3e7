"""Child processes that cannot outlive us, and how root starts a program that refuses root.

A child gets a session of its own (Ctrl-C at the terminal reaches only its parent, which then stops the children in order)
and, on Linux, a death signal from the kernel, so that a kill -9 of the parent leaves nothing behind.
"""

import contextlib
import ctypes
import enum
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
#: The user and group that root becomes inside the namespace; "nobody" almost everywhere.
UNPRIVILEGED_ID = 65534

#: Seconds between two starts of a program that keeps dying: doubled from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.5, 10.0
#: A program that lived this long has earned a first pause again.
STEADY_AFTER = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


class Privileges(enum.Enum):
    """As whom a program that refuses root, or a user without a name, runs."""

    OWN = "own"  # we are an ordinary user: nothing to do
    NAMESPACE = "namespace"  # still us outside, nobody inside a user namespace of its own: no file changes its owner
    NOBODY = "nobody"  # no namespaces here (many containers): really nobody, so its files must be where nobody can go


def nobody() -> tuple[int, int]:
    """Return the user and group id of nobody."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return UNPRIVILEGED_ID, UNPRIVILEGED_ID
    return entry.pw_uid, entry.pw_gid


def _enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    os.unshare(os.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{UNPRIVILEGED_ID} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{UNPRIVILEGED_ID} {group} 1")


def _become_nobody() -> None:
    user, group = nobody()
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


def _before_exec(privileges: Privileges, death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        if privileges is Privileges.NAMESPACE:
            _enter_namespace()
        elif privileges is Privileges.NOBODY:
            _become_nobody()
        if sys.platform == "linux":
            # After the change of user, which would clear it.
            _libc.prctl(PR_SET_PDEATHSIG, death_signal.value)
            if os.getppid() != parent:
                os._exit(1)  # the parent died before the line above

    return prepare


def lowest_privileges() -> Privileges:
    """Return how to run what refuses root, and users without a name (containers have some), on this machine."""
    is_root = os.geteuid() == 0
    if not is_root and _has_a_name(os.geteuid()):
        return Privileges.OWN
    try:
        spawn([sys.executable, "-S", "-c", ""], privileges=Privileges.NAMESPACE).wait(10)
    except (subprocess.SubprocessError, OSError):
        return Privileges.NOBODY if is_root else Privileges.OWN
    return Privileges.NAMESPACE


def _has_a_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    privileges: Privileges = Privileges.OWN,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; its output is added to ``log``.

    Args:
        command: the program and its arguments.
        log: file that gets standard output and error; without it they are dropped.
        environment: replaces ours.
        death_signal: what the kernel sends it when we die (Linux).
        privileges: as whom it runs.
        pass_fds: file descriptors that it inherits.
        cwd: folder it starts in.

    Raises:
        OSError, subprocess.SubprocessError: it could not be started like that.
    """
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        return subprocess.Popen(  # noqa: S603  our own commands, no shell
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            # Safe: the callers have no threads, and there is no other way to set a death signal.
            preexec_fn=_before_exec(privileges, death_signal),
            pass_fds=pass_fds,
            cwd=cwd,
        )


def stop(process: subprocess.Popen[bytes], *, stop_signal: signal.Signals = signal.SIGTERM, timeout: float) -> bool:
    """Ask a child to end and wait up to ``timeout`` seconds; then kill its session. Tell whether it ended by itself."""
    if process.poll() is not None:
        return True
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def command_of(pid: int) -> str:
    """Return the command line of a running process, "" if there is none (a zombie has none either)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        if Path("/proc/self").exists():
            return ""
    found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607  a number, and ps wherever it lives
    return found.stdout.strip()


def end_leftover(pid: int, *, whose: str, grace: float) -> None:
    """Wait ``grace`` seconds for a process of an earlier run to end, then kill it.

    A process whose command does not contain ``whose`` only has the same number: it is left alone.
    """
    deadline = time.monotonic() + grace
    while whose in command_of(pid):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


@dataclass
class Program:
    """A child of a role that is started again when it dies."""

    role: str
    command: list[str]
    log: Path
    folder: Path
    stop_timeout: float
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    restart_at: float | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it."""
        self.process = spawn(
            self.command, log=self.log, environment=environment, pass_fds=self.pass_fds, cwd=self.folder
        )
        self.started_at, self.restart_at = time.monotonic(), None

    @property
    def pids(self) -> list[int]:
        """Its process number, if it runs."""
        return [self.process.pid] if self.process is not None and self.process.poll() is None else []

    @property
    def status(self) -> str:
        """How it ended: "exit 1", "signal 9"; "nothing" while it runs."""
        code = self.process.poll() if self.process is not None else None
        return "nothing" if code is None else f"exit {code}" if code >= 0 else f"signal {-code}"

    def has_died(self) -> bool:
        """Tell whether it ended without being asked."""
        return self.process is not None and self.process.poll() is not None

    def plan_restart(self) -> None:
        """Set when to start it again: at once after a long life, later and later after short ones."""
        lived = time.monotonic() - self.started_at
        self.pause = FIRST_PAUSE if lived > STEADY_AFTER else min(self.pause * 2, LAST_PAUSE)
        self.restart_at = time.monotonic() + self.pause

    def ask_to_end(self) -> None:
        """Ask it to stop, without waiting."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def end(self) -> None:
        """Stop it."""
        if self.process is not None:
            stop(self.process, timeout=self.stop_timeout)
