"""``python -m bench``: installs everything for itself, measures, checks the books, prints the table and writes JSON."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import profiling, report
from bench.disk import fdatasync_ms
from bench.measure import MODELS, Bench, Durations, Figures
from lumyx.devservices import Postgres, ServiceError
from rig.installation import InstallationError, Plan, choose_cores, installed
from rig.load import LoadError

FULL = Durations(saturation=10.0, latency=10.0, rate=50.0, streams=100)
QUICK = Durations(saturation=3.0, latency=3.0, rate=50.0, streams=20)
SCENARIOS: dict[str, Callable[[Bench], Figures]] = {
    "saturation": Bench.measure_saturation,
    "latency": Bench.measure_latency,
    "burst": Bench.measure_burst,
    "streams": Bench.measure_streams,
}
WARM_UP = 2.0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure one gateway worker on a core of its own, with authentication, quotas and the ledger on. "
        "PostgreSQL (fsync on), Valkey and a mock upstream are started for the run and removed after it. "
        "docs/performance.md says what the figures mean.",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of every scenario (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works, not to compare")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="run this scenario alone (may be repeated)")
    parser.add_argument(
        "--profile", action="store_true", help="also run py-spy on the saturated worker, and say where the time goes"
    )
    parser.add_argument(
        "--output", type=Path, default=report.RESULTS, metavar="FOLDER", help="where the JSON file goes"
    )
    return parser.parse_args()


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


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


def measure(arguments: argparse.Namespace, folder: Path) -> int:
    """Run everything in ``folder`` and return the exit status: 1 when the books are wrong."""
    durations = QUICK if arguments.quick else FULL
    rounds: list[Figures] = []
    cores, load_average = choose_cores(), os.getloadavg()
    program = Postgres(folder, log=folder / "unused.log").install / "bin/pg_test_fsync"
    fsync = fdatasync_ms(program, folder=folder)
    say(f"load average before: {load_average[0]:.2f}; fdatasync: {f'{fsync:.3f} ms' if fsync else 'not known'}")
    with installed(folder, Plan(MODELS, cores=cores)) as installation:
        bench = Bench(installation, durations)
        bench.saturate(WARM_UP)
        for number in range(1 if arguments.quick else arguments.rounds):
            figures: Figures = {}
            for name, scenario in SCENARIOS.items():
                if not arguments.only or name in arguments.only:
                    say(f"round {number + 1}: {name}")
                    figures |= scenario(bench)
            rounds.append(figures)
        if arguments.profile:
            profile(bench, folder, seconds=durations.saturation)
        wrong = bench.check_books()
    strangers = max(bench.strangers, default=0.0)
    surroundings = report.Surroundings(fsync, strangers, cores.are_apart, load_average)
    path = report.write_results(rounds, surroundings, wrong=wrong, folder=arguments.output)
    say("\n" + report.render_table(rounds))
    say(f"\nother work on the machine: at most {strangers:.1%} of a core")
    for warning in surroundings.warnings():
        say(f"WARNING: {warning}")
    for problem in wrong:
        say(f"WRONG BOOKS: {problem}")
    say(
        f"books: {'WRONG' if wrong else f'clean, {bench.billed_requests:,} answers, every one billed'}\nwritten: {path}"
    )
    return 1 if wrong else 0


def main() -> int:
    """Measure in a temporary folder beside the project's own data, on the disk that a real installation would use."""
    arguments = parse_arguments()
    local = report.ROOT / ".local"
    local.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=local) as folder:
        try:
            return measure(arguments, Path(folder))
        except (InstallationError, LoadError, ServiceError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"The benchmark stopped: {error}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
