"""Where the benchmark's figures come from: the kernel's accounting, py-spy, and PostgreSQL's test of the disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import profiling
from bench.disk import fdatasync_ms
from bench.metering import Reading, added, usage_between
from rig import accounting
from rig.accounting import MachineTime
from rig.installation import Cores

BURN = """import sys, time
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
sys.stdout.write("burned\\n")
sys.stdout.flush()
sys.stdin.read()"""


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child has used 0.3 seconds of processor time."""
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_the_processor_time_of_children_counts_as_their_parents(burner: subprocess.Popen[bytes]) -> None:
    tree = accounting.tree_of([burner.pid])
    assert len(tree) == 2
    assert 0.25 <= accounting.cpu_seconds([burner.pid]) < 5
    assert accounting.own_cpu_seconds([burner.pid]) < 0.25
    assert accounting.resident_megabytes([burner.pid]) > accounting.own_resident_megabytes([burner.pid]) > 5
    (child,) = tree - {burner.pid}
    assert accounting.parent_of(child) == burner.pid


def test_a_process_that_has_gone_used_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert accounting.cpu_seconds([process.pid]) == 0
    assert accounting.parent_of(process.pid) == 0


def test_cores_are_read_one_by_one() -> None:
    cores = os.sched_getaffinity(0)
    each = [accounting.busy_seconds([core]) for core in cores]
    together = accounting.busy_seconds(cores)
    assert all(one > 0 for one in each)
    assert together == pytest.approx(sum(each), abs=1.0)
    assert accounting.busy_seconds([]) == 0


def reading(at: float, *, gateway: float, others_busy: float, busy: float, ours: float, stolen: float = 0) -> Reading:
    """Make a reading; what is not named is zero."""
    return Reading(
        at,
        gateway,
        postgres=0,
        valkey=0,
        mock=0,
        others_busy=others_busy,
        machine=MachineTime(busy, stolen),
        load_before=ours,
        load_after=ours + 1,
    )


def test_work_that_a_load_leaves_counts_but_not_for_the_shares_while_it_ran() -> None:
    usage = usage_between(
        reading(100, gateway=10, others_busy=50, busy=200, ours=20),
        reading(110, gateway=18, others_busy=64, busy=220, ours=25),
        reading(112, gateway=19, others_busy=65, busy=226, ours=26, stolen=0.5),
        cores=Cores(gateway={2}, others={0, 1}),
    )
    assert usage.seconds == 12
    assert usage.gateway == 9
    assert usage.gateway_share == 0.8
    assert usage.others_share == 0.7
    assert usage.load == 4  # without what the readings themselves took
    assert usage.strangers == 26 - 9 - 6 + 0.5


def test_what_is_added_is_the_difference_to_direct() -> None:
    figures = {"x.direct_p50_ms": 1.0, "x.gateway_p50_ms": 1.5, "x.direct_p99_ms": 2.0, "x.gateway_p99_ms": 5.0}
    assert added(figures, "x") == {"x.added_p50_ms": 0.5, "x.added_p99_ms": 3.0}


def test_a_profile_is_summed_by_package_and_function() -> None:
    folded = "main (lumyx/serve.py:10);run (asyncio/runners.py:5) 3\nmain (lumyx/serve.py:10);admit (gateway/store/writer.py:7) 1\n"
    text = profiling.summarize(folded)
    packages, functions, callers = text.split("\n\n")
    assert "75.0%  asyncio" in packages
    assert "25.0%  gateway/store" in packages
    assert "75.0%  run (asyncio/runners.py)" in functions
    assert "100.0%  main (lumyx/serve.py)" in callers
    assert profiling.summarize("") == "py-spy took no samples."


def test_the_disks_figure_is_read_from_postgresqls_own_test(tmp_path: Path) -> None:
    program = tmp_path / "pg_test_fsync"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'Compare file sync methods using one 8kB write:'\n"
        "echo '        open_datasync                      1200.123 ops/sec     833 usecs/op'\n"
        "echo '        fdatasync                          2500.500 ops/sec     400 usecs/op'\n"
    )
    program.chmod(0o755)
    assert fdatasync_ms(program, folder=tmp_path) == 0.4
    assert fdatasync_ms(tmp_path / "missing", folder=tmp_path) is None
