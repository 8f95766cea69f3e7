"""The benchmark's accounting and its report: where figures come from, and what is said about them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import profiling, report
from bench.disk import fdatasync_ms
from rig import accounting

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
    assert accounting.resident_megabytes([burner.pid]) > 5
    (child,) = tree - {burner.pid}
    assert accounting.parent_of(child) == burner.pid


def test_a_process_that_has_gone_used_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert accounting.cpu_seconds([process.pid]) == 0
    assert accounting.parent_of(process.pid) == 0


def test_the_table_shows_medians_their_spread_and_the_goals() -> None:
    key = "saturation.requests_per_second"
    table = report.render_table([{key: 3000.0}, {key: 1000.0}, {key: 2000.0}])
    (line,) = [line for line in table.splitlines() if line.startswith("requests/s per core")]
    assert line.split()[-6:] == ["2,000", "1,000", "…", "3,000", "2,800", "6,500"]
    assert "latency" not in table


def test_a_disturbed_machine_is_warned_about() -> None:
    quiet = report.Surroundings(0.1, 0.01, cores_are_apart=True, load_average=(0.0, 0.0, 0.0))
    assert quiet.warnings() == []
    loud = report.Surroundings(2.0, 0.5, cores_are_apart=False, load_average=(9.0, 9.0, 9.0))
    assert len(loud.warnings()) == 3
    assert any("50%" in warning for warning in loud.warnings())


def test_the_results_are_written_with_what_they_depend_on(tmp_path: Path) -> None:
    surroundings = report.Surroundings(None, 0.5, cores_are_apart=True, load_average=(1.0, 1.0, 1.0))
    path = report.write_results([{"a": 1.0}, {"a": 3.0}], surroundings, wrong=["one hold"], folder=tmp_path)
    content = json.loads(path.read_text())
    assert content["medians"] == {"a": 2.0}
    assert content["books"] == {"wrong": ["one hold"]}
    assert content["machine"]["packages"]["django"]
    assert len(content["surroundings"]["warnings"]) == 2


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
