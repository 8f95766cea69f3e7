"""What people read and what programs read: the tables with medians, spread and goals, and the JSON file."""

import datetime as dt
import json
import statistics
from pathlib import Path
from typing import Any

from bench.goals import COLUMNS, GOALS, RUNG_COLUMNS, Column, Goal, Met
from bench.ladder import LATE_MS, RUNGS, TRANSIT_MS
from bench.metering import Figures
from bench.surroundings import Surroundings, describe_machine
from lumyx.lib import clock
from rig.processes import ROOT

RESULTS = ROOT / "bench" / "results"
#: From here on a core counts as full.
FULL = 0.95
WIDTH = 43


def values_of(rounds: list[Figures], key: str) -> list[float]:
    """Return a figure's values, one for each round that has it."""
    return [figures[key] for figures in rounds if key in figures]


def medians_of(rounds: list[Figures]) -> Figures:
    """Return the median of every figure."""
    keys = {key for figures in rounds for key in figures}
    return {key: statistics.median(values_of(rounds, key)) for key in sorted(keys)}


def _middle_and_spread(form: str, values: list[float]) -> str:
    spread = f"{form.format(min(values))} … {form.format(max(values))}"
    return f"{form.format(statistics.median(values)):>10}  {spread:<22}"


def _goal_line(goal: Goal, values: list[float], *, note: str) -> str:
    middle = statistics.median(values)
    goals = "".join(f"{goal.show(wanted):>11} {goal.is_reached(middle, wanted)}" for wanted in (goal.must, goal.aim))
    return f"{goal.title:<{WIDTH}}{_middle_and_spread(goal.form, values)}{goals}{note}"


def render_goals(rounds: list[Figures], *, fdatasync_ms: float | None) -> str:
    """Return the table of the goals: median, spread, must and aim, each with a mark, and the disk beside the latencies."""
    lines = [f"{'':<{WIDTH}}{'median':>10}  {'min … max':<22}{'must':>11}  {'aim':>11}"]
    disk = f"  (fdatasync {fdatasync_ms:.2f} ms)" if fdatasync_ms is not None else "  (fdatasync not known)"
    for goal in GOALS:
        values = values_of(rounds, goal.key)
        if values:
            lines.append(_goal_line(goal, values, note=disk if goal.key.startswith("latency.") else ""))
    return "\n".join(lines)


def render_columns(rounds: list[Figures]) -> str:
    """Return the table of the figures that explain the others."""
    lines = [f"{'':<{WIDTH}}{'median':>10}  {'min … max':<22}"]
    for column in COLUMNS:
        values = values_of(rounds, column.key)
        if values:
            lines.append(f"{column.title:<{WIDTH}}{_middle_and_spread(column.form, values)}".rstrip())
    return "\n".join(lines)


def render_ladder(rounds: list[Figures]) -> str:
    """Return the ladder: a line for each rung that was climbed, medians of the rounds; "" when none was."""
    climbed = [count for count in RUNGS if values_of(rounds, f"streams.{count}.holds")]
    if not climbed:
        return ""
    lines = [
        f"{'streams':>8}" + "".join(f"{column.title:>{_width(column)}}" for column in RUNG_COLUMNS) + "  held in rounds"
    ]
    for count in climbed:
        cells = "".join(
            f"{column.form.format(statistics.median(values_of(rounds, f'streams.{count}.{column.key}'))):>{_width(column)}}"
            for column in RUNG_COLUMNS
        )
        holds = values_of(rounds, f"streams.{count}.holds")
        mark = Met.YES if statistics.median(holds) > 0.5 else Met.NO
        lines.append(f"{count:>8,}{cells}  {mark} {sum(holds):.0f} of {len(rounds)}")
    return "\n".join(lines)


def _width(column: Column) -> int:
    return max(8, len(column.title) + 2)


def limits_of(rounds: list[Figures]) -> list[str]:
    """Return where something else than the gateway's core was the limit; empty when nothing was."""
    medians, found = medians_of(rounds), []
    for name in ("saturation", "burst"):
        ours, others = medians.get(f"{name}.gateway_share", 1.0), medians.get(f"{name}.others_share", 0.0)
        if ours >= FULL:
            continue
        if others >= FULL:
            why = f"the other core was full ({others:.0%}): what the gateway does in a CPU second is the better figure"
        else:
            why = (
                f"the other core was {others:.0%} full: the connections waited for commits and wake-ups, not for a core"
            )
        found.append(f"{name}: the gateway used {ours:.0%} of its core, and {why}")
    too_many = [count for count in RUNGS if not _mock_keeps_up(medians, count)]
    if too_many:
        found.append(f"streams: mock and load generator alone do not hold {too_many[0]:,} in time on this machine")
    return found


def _mock_keeps_up(medians: Figures, count: int) -> bool:
    return (
        medians.get(f"streams.{count}.direct_transit_p99_ms", 0.0) <= TRANSIT_MS
        and medians.get(f"streams.{count}.direct_late_ms", 0.0) <= LATE_MS
    )


def goals_record(rounds: list[Figures]) -> list[dict[str, Any]]:
    """Return each goal with its median, its spread, and whether it is reached."""
    found = []
    for goal in GOALS:
        values = values_of(rounds, goal.key)
        if values:
            middle = statistics.median(values)
            found.append(
                {
                    "figure": goal.key,
                    "title": goal.title,
                    "median": middle,
                    "least": min(values),
                    "most": max(values),
                    "must": goal.must,
                    "aim": goal.aim,
                    "must_is_reached": goal.is_reached(middle, goal.must) is Met.YES,
                    "aim_is_reached": goal.is_reached(middle, goal.aim) is Met.YES,
                }
            )
    return found


def write_results(rounds: list[Figures], surroundings: Surroundings, *, wrong: list[str], folder: Path) -> Path:
    """Write everything as JSON into ``folder`` and return the file."""
    now = clock.now()
    content = {
        "at": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "surroundings": surroundings.record(),
        "warnings": surroundings.warnings() + limits_of(rounds),
        "books": {"wrong": wrong},
        "goals": goals_record(rounds),
        "medians": medians_of(rounds),
        "rounds": rounds,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return path
