"""Children end with their parent, whatever happens to it, and are stopped within a time limit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lumyx import children
from lumyx.children import Privileges, Program, command_of, end_leftover, lowest_privileges, spawn, stop

PYTHON = [sys.executable, "-S", "-c"]
SLEEP = [*PYTHON, "import time; time.sleep(60)"]
DEAF = [
    *PYTHON,
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


def wait_for(condition: object, *, seconds: float = 10) -> bool:
    """Wait until ``condition()`` holds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_child_has_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it() -> None:
    child = spawn(SLEEP)
    try:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    finally:
        stop(child, timeout=5)


def test_its_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    spawn([*PYTHON, "import sys; print('out'); sys.stdout.flush(); sys.exit('err')"], log=log).wait(10)
    assert log.read_text() == "out\nerr\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has death signals")
def test_a_kill_of_the_parent_takes_its_children_along() -> None:
    code = f"from lumyx.children import spawn; print(spawn({SLEEP!r}).pid, flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert "time.sleep" in command_of(child)
        parent.kill()
    assert wait_for(lambda: not command_of(child))


def test_stopping_asks_first_and_says_whether_that_was_enough() -> None:
    assert stop(spawn(SLEEP), timeout=10) is True


def test_a_child_that_does_not_listen_is_killed_at_the_time_limit(tmp_path: Path) -> None:
    log = tmp_path / "deaf.log"
    child = spawn(DEAF, log=log)
    assert wait_for(lambda: "deaf" in log.read_text())
    began = time.monotonic()
    assert stop(child, timeout=0.3) is False
    assert child.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 5


def test_a_leftover_is_killed_after_its_grace() -> None:
    leftover = subprocess.Popen(SLEEP)
    assert wait_for(lambda: "time.sleep" in command_of(leftover.pid))  # until then it still has our command
    end_leftover(leftover.pid, whose="time.sleep", grace=0.2)
    assert leftover.wait(5) == -signal.SIGKILL


def test_a_stranger_with_the_same_number_is_left_alone() -> None:
    stranger = subprocess.Popen(SLEEP)
    try:
        end_leftover(stranger.pid, whose="something else", grace=0)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to lose")
@pytest.mark.parametrize("privileges", [Privileges.NAMESPACE, Privileges.NOBODY])
def test_root_becomes_nobody_for_programs_that_refuse_root(privileges: Privileges, tmp_path: Path) -> None:
    if privileges is Privileges.NAMESPACE and lowest_privileges() is Privileges.NOBODY:
        pytest.skip("there are no user namespaces here")
    log = tmp_path / "id.log"
    log.touch()
    child = spawn(["/usr/bin/env", "id", "-u"], log=log, privileges=privileges)
    assert child.wait(10) == 0
    assert log.read_text().strip() == "65534"


def test_a_program_that_keeps_dying_is_started_later_and_later(tmp_path: Path) -> None:
    program = Program("p", [*PYTHON, "raise SystemExit(7)"], tmp_path / "log", folder=tmp_path, stop_timeout=1)
    pauses = []
    for _ in range(7):
        program.start(os.environ)
        assert wait_for(program.has_died)
        assert program.status == "exit 7"
        program.plan_restart()
        pauses.append(program.pause)
    assert pauses == [1, 2, 4, 8, 10, 10, 10]
    program.started_at -= 60  # a long life earns a quick restart
    program.plan_restart()
    assert program.pause == 0.5


def test_an_ordinary_user_runs_things_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)  # daemon, bin: some name on every system
    assert lowest_privileges() is Privileges.OWN


def test_a_user_without_a_name_gets_one_inside_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers may run as any number; PostgreSQL wants to know its name."""
    chosen: list[Privileges] = []

    class Ended:
        def wait(self, _timeout: float) -> int:
            return 0

    def note(_command: object, *, privileges: Privileges) -> Ended:
        chosen.append(privileges)
        return Ended()

    monkeypatch.setattr(children, "spawn", note)
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    assert lowest_privileges() is Privileges.NAMESPACE
    assert chosen == [Privileges.NAMESPACE]
