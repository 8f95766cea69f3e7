"""A run's figures as docs/performance.md shows them: ``python -m bench.markdown bench/results/….json`` prints Markdown."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.goals import COLUMNS, GOALS, RUNG_COLUMNS, Goal
from bench.ladder import RUNGS
from bench.report import values_of


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(form: str, values: list[float]) -> str:
    return f"{form.format(min(values))} … {form.format(max(values))}"


def _marked(goal: Goal, wanted: float, middle: float) -> str:
    return f"{goal.show(wanted)} {goal.is_reached(middle, wanted)}"


def _goals(content: dict[str, Any]) -> list[str]:
    rows = [_row("", "median", "min … max", "must", "aim"), _row(*["---"] * 5)]
    for goal in GOALS:
        values = values_of(content["rounds"], goal.key)
        if values:
            middle = content["medians"][goal.key]
            goals = (_marked(goal, wanted, middle) for wanted in (goal.must, goal.aim))
            rows.append(_row(goal.title, goal.form.format(middle), _spread(goal.form, values), *goals))
    return rows


def _columns(content: dict[str, Any]) -> list[str]:
    rows = [_row("", "median", "min … max"), _row(*["---"] * 3)]
    for column in COLUMNS:
        values = values_of(content["rounds"], column.key)
        if values:
            middle = column.form.format(content["medians"][column.key])
            rows.append(_row(column.title, middle, _spread(column.form, values)))
    return rows


def _ladder(content: dict[str, Any]) -> list[str]:
    heads = ["streams", *(column.title for column in RUNG_COLUMNS), "held in rounds"]
    rows = [_row(*heads), _row(*["---"] * len(heads))]
    for count in RUNGS:
        holds = values_of(content["rounds"], f"streams.{count}.holds")
        if holds:
            cells = [column.form.format(content["medians"][f"streams.{count}.{column.key}"]) for column in RUNG_COLUMNS]
            rows.append(_row(f"{count:,}", *cells, f"{sum(holds):.0f} of {len(content['rounds'])}"))
    return rows if len(rows) > 2 else []


def render(content: dict[str, Any]) -> str:
    """Return the tables of a result file's content, under a line with its date, its machine and its versions."""
    machine, around = content["machine"], content["surroundings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    others = max(one["strangers_share"] for one in around["rounds"])
    disk = f"{around['fdatasync_ms']:.3f} ms" if around["fdatasync_ms"] is not None else "not known"
    told = (
        f"{content['at'][:10]}, commit {machine['commit']}: {machine['cores']} cores ({machine['cpu']}), "
        f"Linux {machine['kernel']}, Python {machine['python']}, {versions}. {len(around['rounds'])} rounds, fdatasync {disk}, "
        f"other work at most {others:.0%} of a core."
    )
    parts = [[told], _goals(content), _ladder(content), _columns(content), [f"- {one}" for one in content["warnings"]]]
    return "\n\n".join("\n".join(part) for part in parts if part)


def main() -> None:
    """Print a result file as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.markdown", description=__doc__)
    parser.add_argument("file", type=Path, help="a JSON file that the benchmark wrote")
    sys.stdout.write(render(json.loads(parser.parse_args().file.read_text())) + "\n")


if __name__ == "__main__":
    main()
