"""Half an hour of steady traffic, half of it streams, a fifth of the clients leaving: memory and connections must not grow.

After a warm-up the memory of each web process is measured every ten seconds, and a line is fitted: its slope must be below one
MiB an hour. ``SOAK_MINUTES`` makes it shorter or longer; a slope whose error is larger than the limit proves nothing, and
then the run is too short.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import redis

from proofs.bills import check_bills
from proofs.report import Report
from proofs.site import BURST, QUICK, STREAM, WHOLE, check_books, site
from proofs.traffic import Errand, Schedule, Sent, Traffic
from rig import accounting
from rig.installation import Installation

MINUTES, RATE = 30.0, 50.0
#: The share of clients that mean to leave, and of those that must have left: some answers come first.
LEAVING, LEFT = 0.25, 0.15
#: Models, and the seconds that an answer takes under this load.
MODELS = {WHOLE: 0.003, QUICK: 0.1, STREAM: 1.0, BURST: 0.006}
#: Minutes that do not count, but at most this share of all; seconds between two samples.
WARM_UP, WARM_UP_SHARE, EVERY = 5.0, 1 / 3, 10.0
SHORT_MINUTES, SHORT_EVERY = 0.1, 0.5
#: MiB an hour. A short run, which cannot tell, may grow by so many MiB in all.
SLOPE, SHORT_GROWTH = 1.0, 40.0
#: How much more of anything may be open at the end than at the beginning, on average; and when all have gone.
MORE_OPEN, SHORT_MORE_OPEN, LEFT_OPEN = 3.0, 30.0, 4
#: Seconds after which connections to an upstream that nobody uses are closed, and some more.
AT_REST = 35.0
WORKSPACES = 4
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory in MiB by process, and what is open: descriptors and upstream connections by process, and at the services."""

    at: float
    memory: Mapping[int, float]
    open: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, by least squares, and the standard error of its slope."""

    slope: float
    error: float


def soak(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with site() as installation:
        run_for_long(installation, report, short=short)
        check_books(installation, report)


def run_for_long(installation: Installation, report: Report, *, short: bool) -> None:
    """Keep traffic going on fresh workspaces, measure, and compare what clients got with the books."""
    minutes = SHORT_MINUTES if short else float(os.environ.get("SOAK_MINUTES", MINUTES))
    every = SHORT_EVERY if short else EVERY
    tenants = [
        installation.new_tenant(f"soak-{report.seed}-{number}", credits_usd="10000", rpm=1_000_000)
        for number in range(WORKSPACES)
    ]
    errands = [
        Errand(it.slug, it.key, model, "stream" in model, lasts) for it in tenants for model, lasts in MODELS.items()
    ]
    before = take_sample(installation)
    with Traffic(installation.folder, Schedule(installation.port, errands, RATE, report.seed, LEAVING)) as traffic:
        time.sleep(60 * min(WARM_UP, minutes * WARM_UP_SHARE))
        samples, until = list[Sample](), time.monotonic() + 60 * (minutes - min(WARM_UP, minutes * WARM_UP_SHARE))
        while time.monotonic() < until:
            samples.append(take_sample(installation))
            report.say(f"{samples[-1].memory} MiB, open: {samples[-1].open}")
            time.sleep(every)
    _check_memory(report, samples, short=short)
    _check_open(report, samples, more=SHORT_MORE_OPEN if short else MORE_OPEN)
    _check_sent(report, traffic.sent)
    check_bills(installation, report, traffic.sent, errands)
    if not short:
        time.sleep(AT_REST)
        left = {name: count - before.open[name] for name, count in take_sample(installation).open.items()}
        report.require(max(left.values()) <= LEFT_OPEN, f"open when all have gone, more than before: {left}")
    report.note(minutes=round(minutes, 1), samples=len(samples))


def take_sample(installation: Installation) -> Sample:
    """Measure now."""
    count = {}
    for number, pid in enumerate(installation.gateway_pids):
        count[f"descriptors {number}"] = len(accounting.descriptors(pid))
        count[f"upstream {number}"] = accounting.count_connections(pid, there=installation.upstream_port)
    # Those of the web processes stay; ours and the backstage's come and go.
    count["postgres"] = installation.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )[0]["n"]
    with redis.Redis.from_url(installation.valkey.url) as valkey:
        count["valkey"] = len(valkey.client_list()) - 1
    memory = {pid: private_memory(pid) / MEBIBYTE for pid in installation.gateway_pids}
    return Sample(time.monotonic(), memory, count)


def private_memory(pid: int) -> int:
    """Return the bytes that a process shares with nobody."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size.split()[0]) for name, _, size in (row.partition(":") for row in rows)}
    return (sizes["Private_Clean"] + sizes["Private_Dirty"]) * 1024


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """Fit a line through at least three points."""
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residuals = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return Line(slope, (residuals / (len(points) - 2) / spread) ** 0.5)


def _check_memory(report: Report, samples: Sequence[Sample], *, short: bool) -> None:
    for number, pid in enumerate(samples[0].memory):
        hours = [(sample.at / 3600, sample.memory[pid]) for sample in samples]
        line, grown = fit(hours), hours[-1][1] - hours[0][1]
        report.note(
            **{f"slope_{number}": f"{line.slope:+.2f}±{line.error:.2f}MiB/h", f"mib_{number}": round(hours[-1][1], 1)}
        )
        if short:
            report.require(grown < SHORT_GROWTH, f"web process {number} grew by {grown:.0f} MiB")
            continue
        report.require(line.slope < SLOPE, f"web process {number} grows by {line.slope:.2f} MiB/h")
        report.require(line.error < SLOPE, f"the slope's error is {line.error:.2f} MiB/h: the run is too short to tell")


def _check_open(report: Report, samples: Sequence[Sample], *, more: float) -> None:
    quarter = max(1, len(samples) // 4)
    for name in samples[0].open:
        first, last = (fmean(one.open[name] for one in part) for part in (samples[:quarter], samples[-quarter:]))
        report.require(last <= first + more, f"{name}: {first:.1f} open at the beginning, {last:.1f} at the end")
        report.require(name == "valkey" or max(one.open[name] for one in samples) > 0, f"{name}: none was ever open")


def _check_sent(report: Report, sent: Sequence[Sent]) -> None:
    wrong = [one for one in sent if not one.is_finished and one.ending != "left"]
    report.require(not wrong, f"{len(wrong)} answers are wrong, first: {wrong[:1]}")
    left = sum(one.ending == "left" for one in sent)
    report.require(left > LEFT * len(sent), f"only {left} of {len(sent)} clients left")
    report.note(requests=len(sent), left=left)
