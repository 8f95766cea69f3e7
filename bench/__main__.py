"""``python -m bench``: installs everything for itself, measures, checks the books, prints the tables and writes JSON."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import profiling, report, translation
from bench.disk import fdatasync_ms
from bench.measure import WARM_UP, Bench, Durations
from bench.metering import Figures
from bench.surroundings import Round, Surroundings
from lumyx.devservices import ServiceError
from rig.installation import Installation, InstallationError, Plan, choose_cores, installed
from rig.load import LoadError
from rig.processes import ROOT

FULL = Durations(
    saturation=8,
    latency=8,
    first_token=5,
    burst=5,
    translation=1.5,
    translation_burst=1,
    translation_streams=3,
    hot_wallet=5,
    streams=5,
    streams_direct=2,
)
QUICK = Durations(
    saturation=3,
    latency=3,
    first_token=2,
    burst=2,
    translation=1,
    translation_burst=1,
    translation_streams=2,
    hot_wallet=2,
    streams=2,
    streams_direct=2,
    rungs=(25, 100),
)
SCENARIOS: dict[str, Callable[[Bench], Figures]] = {
    "saturation": Bench.measure_saturation,
    "latency": Bench.measure_latency,
    "first-token": Bench.measure_first_token,
    "burst": Bench.measure_burst,
    "translation": translation.measure,
    "hot-wallet": Bench.measure_hot_wallet,
    "streams": Bench.measure_streams,
}
#: A thousand streams are two thousand sockets in the gateway.
DESCRIPTORS = 10_000
_BEGAN = time.monotonic()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure one gateway worker on a core of its own, with authentication, quotas and the ledger on. "
        "PostgreSQL (fsync on), Valkey and a mock upstream are started for the run and removed after it. "
        "docs/performance.md says what the figures mean.",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of every scenario (default 5)")
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works, not to compare")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="run this scenario alone (may be repeated)")
    parser.add_argument(
        "--profile", action="store_true", help="also run py-spy on the saturated worker, and say where the time goes"
    )
    parser.add_argument(
        "--output", type=Path, default=report.RESULTS, metavar="FOLDER", help="where the JSON file goes"
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("there must be a round")
    return arguments


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    """Say what is being done, with the time since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    say(f"[{minutes:2}:{seconds:02}] {text}")


def allow_many_descriptors() -> None:
    """Raise the limit of open files for us and our children, as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def profile(bench: Bench, folder: Path, *, seconds: float) -> None:
    """Saturate the worker under py-spy and print the functions by share."""
    output = folder / "profile.txt"
    process = profiling.record(bench.installation.web[0].pid, seconds=seconds, output=output)
    bench.saturate(seconds + 2)
    errors = process.communicate()[1]
    if output.exists():
        say("\n" + profiling.summarize(output.read_text()))
    else:
        say(f"\npy-spy could not sample the worker: {errors.decode(errors='replace').strip()}")


def run_round(bench: Bench, names: list[str], *, title: str, folder: Path) -> tuple[Figures, Round]:
    """Run every scenario once; return the figures, and what else the machine did."""
    load_average = os.getloadavg()[0]
    program = bench.installation.postgres.install / "bin/pg_test_fsync"
    progress(f"{title}: the disk")
    surroundings = Round(load_average, fdatasync_ms(program, folder=folder))
    figures: Figures = {}
    spent: list[tuple[float, float]] = []
    for name in names:
        progress(f"{title}: {name}")
        bench.strangers = []
        figures |= SCENARIOS[name](bench)
        surroundings.strangers[name] = _mean_share(bench.strangers)
        spent += bench.strangers
    surroundings.strangers_share = _mean_share(spent)
    return figures, surroundings


def _mean_share(blocks: list[tuple[float, float]]) -> float:
    seconds = sum(length for _, length in blocks)
    return sum(share * length for share, length in blocks) / seconds if seconds else 0.0


def durability_of(installation: Installation) -> dict[str, str]:
    """Return PostgreSQL's settings that make a commit durable."""
    rows = installation.query("SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')")
    return {row["name"]: row["setting"] for row in rows}


def print_results(rounds: list[Figures], surroundings: Surroundings) -> None:
    """Print the tables, what else the machine did, and the warnings."""
    say("\n" + report.render_goals(rounds, fdatasync_ms=surroundings.fdatasync_ms))
    say("\n" + report.render_columns(rounds))
    ladder = report.render_ladder(rounds)
    if ladder:
        say(f"\nstreams of 40 chunks/s, transit of their chunks:\n{ladder}")
    say("")
    for number, one in enumerate(surroundings.rounds, start=1):
        say(one.line(number))
    for limit in report.limits_of(rounds):
        say(f"NOTE: {limit}")
    for warning in surroundings.warnings():
        say(f"WARNING: {warning}")


def measure(arguments: argparse.Namespace, folder: Path) -> int:
    """Run everything in ``folder`` and return the exit status: 1 when the books are wrong."""
    durations, count = (QUICK, 1) if arguments.quick else (FULL, arguments.rounds)
    names = [name for name in SCENARIOS if not arguments.only or name in arguments.only]
    rounds: list[Figures] = []
    around: list[Round] = []
    cores = choose_cores()
    plan = Plan(durations.models, messages_models=durations.translated_models, cores=cores)
    progress("installing")
    with installed(folder, plan) as installation:
        bench = Bench(installation, durations, cores, tell=progress)
        bench.saturate(WARM_UP)
        for number in range(1, count + 1):
            figures, surroundings_of_round = run_round(bench, names, title=f"round {number} of {count}", folder=folder)
            rounds.append(figures)
            around.append(surroundings_of_round)
        if arguments.profile:
            profile(bench, folder, seconds=durations.saturation)
        progress("the books")
        wrong = bench.check_books()
        surroundings = Surroundings(around, cores.are_apart, durability_of(installation))
    path = report.write_results(rounds, surroundings, wrong=wrong, folder=arguments.output)
    print_results(rounds, surroundings)
    for problem in wrong:
        say(f"WRONG BOOKS: {problem}")
    say(
        f"books: {'WRONG' if wrong else f'clean, {bench.billed_requests:,} answers, every one billed'}\nwritten: {path}"
    )
    return 1 if wrong else 0


def main() -> int:
    """Measure in a temporary folder beside the project's own data, on the disk that a real installation would use."""
    arguments = parse_arguments()
    allow_many_descriptors()
    local = ROOT / ".local"
    local.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=local) as folder:
        try:
            return measure(arguments, Path(folder))
        except (InstallationError, LoadError, ServiceError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"The benchmark stopped: {error}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
