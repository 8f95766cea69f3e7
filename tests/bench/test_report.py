"""What the benchmark says about its figures: medians, spread, goals with their marks, the ladder, warnings, and the JSON file."""

import json
from pathlib import Path

import pytest

from bench import markdown, report
from bench.goals import GOALS, Goal, Met
from bench.ladder import climb, figures_of
from bench.metering import Figures
from bench.surroundings import Round, Surroundings
from tests.bench.test_ladder import by_p99, rung

RATE, CPU = "saturation.requests_per_second", "saturation.gateway_cpu_ms"
ON = {"fsync": "on", "synchronous_commit": "on"}


def quiet(*, fdatasync_ms: float | None = 0.1, strangers: float = 0.01) -> Surroundings:
    """Make the surroundings of a run of one round."""
    return Surroundings([Round(0.1, fdatasync_ms, {"latency": strangers}, strangers)], True, ON)


def line_of(table: str, title: str) -> list[str]:
    """Return the words after the title of the one line that begins with it."""
    (line,) = [line for line in table.splitlines() if line.startswith(title)]
    return line.removeprefix(title).split()


def test_the_goals_are_those_of_the_document() -> None:
    assert {goal.key: (goal.must, goal.aim) for goal in GOALS} == {
        "saturation.requests_per_second": (2800, 6500),
        "saturation.gateway_cpu_ms": (0.35, 0.15),
        "saturation.stores_cpu_ms": (0.15, 0.05),
        "latency.added_p50_ms": (1.5, 0.7),
        "latency.added_p99_ms": (6, 3),
        "streams.held": (400, 1000),
        "streams.cpu_us_per_chunk": (40, 15),
        "first_token.added_p50_ms": (1.5, 0.7),
        "burst.chunks_per_second": (150_000, 300_000),
        "translation.whole_ratio": (1.6, 1.2),
        "translation.chunk_ratio": (1.6, 1.2),
        "translation.burst_ratio": (1.6, 1.2),
        "memory.idle_mb": (150, 100),
        "streams.memory_kb": (50, 35),
        "hot_wallet.requests_per_second": (5_000, 10_000),
    }


def test_the_table_shows_medians_their_spread_and_whether_the_goals_are_reached() -> None:
    table = report.render_goals([{RATE: 3000.0, CPU: 0.3}, {RATE: 1000.0, CPU: 0.1}, {RATE: 4000.0}], fdatasync_ms=0.1)
    assert line_of(table, "requests/s per core, JSON") == [
        *("3,000", "1,000", "…", "4,000"),
        *("≥", "2,800", Met.YES, "≥", "6,500", Met.NO),
    ]
    assert line_of(table, "gateway CPU per request, ms")[-6:] == ["≤", "0.35", Met.YES, "≤", "0.15", Met.NO]
    assert "latency" not in table


def test_the_disk_is_shown_beside_the_latencies() -> None:
    rounds: list[Figures] = [{"latency.added_p50_ms": 1.5, RATE: 1.0}]
    table = report.render_goals(rounds, fdatasync_ms=0.07)
    assert table.count("(fdatasync 0.07 ms)") == 1
    assert line_of(table, "added latency p50, quiet, ms")[4:7] == ["≤", "1.5", Met.YES]
    assert "(fdatasync not known)" in report.render_goals(rounds, fdatasync_ms=None)


def test_the_ladder_has_a_line_for_each_rung_and_how_often_it_held() -> None:
    rounds = [figures_of(climb(by_p99(s100=times))) for times in (1.0, 30.0, 1.0)]
    lines = report.render_ladder(rounds).splitlines()
    assert [line.split()[0] for line in lines] == ["streams", "25", "50", "100", "200", "400", "600", "800", "1,000"]
    assert lines[3].split()[-4:] == [Met.YES, "2", "of", "3"]
    assert lines[8].split()[-4:] == [Met.YES, "2", "of", "3"]
    assert report.render_ladder([{RATE: 1.0}]) == ""


def test_other_figures_are_shown_without_goals() -> None:
    table = report.render_columns([{"saturation.others_share": 0.5}, {"saturation.others_share": 0.7}])
    assert line_of(table, "the other core's share") == ["60%", "50%", "…", "70%"]


def test_where_the_gateway_was_not_the_limit_the_table_says_so() -> None:
    full: Figures = {"saturation.gateway_share": 0.97, "saturation.others_share": 0.6}
    assert report.limits_of([full]) == []
    (note,) = report.limits_of([{"saturation.gateway_share": 0.8, "saturation.others_share": 0.99}])
    assert "80% of its core, and the other core was full (99%)" in note
    (note,) = report.limits_of([{"burst.gateway_share": 0.72, "burst.others_share": 0.41}])
    assert "not for a core" in note
    assert report.limits_of([figures_of(climb(by_p99()))]) == []
    (note,) = report.limits_of([figures_of([rung(25), rung(1000, direct_p99=5.1)])])
    assert "1,000" in note


def test_a_disturbed_machine_is_warned_about() -> None:
    assert quiet().warnings() == []
    assert quiet(fdatasync_ms=None).warnings() == [
        "pg_test_fsync gave no figure: the disk's part in the latency is unknown"
    ]
    rounds = [Round(0.0, 0.3, {}, 0.05), Round(9.0, 2.0, {}, 0.5)]
    loud = Surroundings(rounds, cores_are_apart=False, durability=ON | {"fsync": "off"}).warnings()
    assert len(loud) == 4
    assert "50% of a core in round 2" in loud[0]
    assert "1.15 ms" in loud[2]


def test_every_round_says_what_else_the_machine_did() -> None:
    line = Round(1.5, 0.07, {"saturation": 0.2, "latency": 0.04}, 0.12).line(3)
    assert line == (
        "round 3: other work 12% of a core (saturation 20%, latency 4%); fdatasync 0.070 ms; load average before it 1.50"
    )


def test_the_results_are_written_with_what_they_depend_on(tmp_path: Path) -> None:
    rounds: list[Figures] = [{RATE: 1.0}, {RATE: 3000.0}, {RATE: 4000.0}]
    path = report.write_results(rounds, quiet(strangers=0.5), wrong=["one hold"], folder=tmp_path)
    content = json.loads(path.read_text())
    assert content["medians"] == {RATE: 3000.0}
    assert content["rounds"] == rounds
    assert content["books"] == {"wrong": ["one hold"]}
    assert content["machine"]["packages"]["django"]
    assert content["surroundings"]["rounds"][0]["strangers"] == {"latency": 0.5}
    assert len(content["warnings"]) == 1
    (goal,) = content["goals"]
    assert (goal["least"], goal["most"]) == (1.0, 4000.0)
    assert goal["must_is_reached"] is True
    assert goal["aim_is_reached"] is False


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.key)
def test_a_goal_that_is_just_reached_is_reached(goal: Goal) -> None:
    worse = 0.99 if goal.more_is_better else 1.01
    assert goal.is_reached(goal.must, goal.must) is Met.YES
    assert goal.is_reached(goal.must * worse, goal.must) is Met.NO
    assert goal.is_reached(goal.must, goal.aim) is Met.NO


def test_a_result_file_becomes_the_tables_of_the_document(tmp_path: Path) -> None:
    rounds = [figures_of(climb(by_p99(s100=times))) | {RATE: 3000.0} for times in (1.0, 30.0, 1.0)]
    text = markdown.render(json.loads(report.write_results(rounds, quiet(), wrong=[], folder=tmp_path).read_text()))
    lines = text.splitlines()
    assert "1 rounds, fdatasync 0.100 ms, other work at most 1% of a core" in lines[0]
    assert "| requests/s per core, JSON | 3,000 | 3,000 … 3,000 | ≥ 2,800 ✓ | ≥ 6,500 ✗ |" in lines
    assert "| streams held at once | 1,000 | 50 … 1,000 | ≥ 400 ✓ | ≥ 1,000 ✓ |" in lines
    assert any(line.startswith("| 100 |") and line.endswith("| 2 of 3 |") for line in lines)
