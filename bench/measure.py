"""The scenarios: what is done to the gateway, and which figures come out of one round of it."""

import functools
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import uvloop

from rig import accounting
from rig.accounting import MachineTime
from rig.installation import Installation
from rig.load import LoadError, Outcome, pace, saturate

CONNECTIONS = 32
JSON_MODEL = "mock-json"
#: Chunks of a burst, and chunks and their rate of a paced stream.
BURST, PACED, PACED_RATE = 200, 200, 40
BURST_MODEL, PACED_MODEL = f"mock-stream-{BURST}-0", f"mock-stream-{PACED}-{PACED_RATE}"
MODELS = [JSON_MODEL, BURST_MODEL, PACED_MODEL]
#: Seconds given to deferred work (settlements, roll-ups) before its processor time is read.
SETTLING = 1.5

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Durations:
    """How long one round of each scenario takes, in seconds, and the low rate in requests a second."""

    saturation: float
    latency: float
    rate: float
    streams: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds of one block of work, by who used them."""

    seconds: float
    gateway: float
    postgres: float
    valkey: float
    #: The mock upstream and the load generator.
    bench: float
    #: Everybody else on the machine, and what its host took.
    strangers: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds that everybody has used so far."""

    at: float
    gateway: float
    postgres: float
    valkey: float
    bench: float
    machine: MachineTime


def read_clocks(parts: Installation) -> Reading:
    """Read everybody's processor time now."""
    return Reading(
        at=time.perf_counter(),
        gateway=accounting.cpu_seconds(parts.gateway_pids),
        postgres=accounting.cpu_seconds([parts.postgres_pid]),
        valkey=accounting.cpu_seconds([parts.valkey_pid]),
        bench=time.process_time() + accounting.cpu_seconds([parts.upstream.pid]),
        machine=accounting.machine_time(),
    )


def usage_between(before: Reading, after: Reading) -> Usage:
    """Return who used what between two readings."""
    gateway, postgres = after.gateway - before.gateway, after.postgres - before.postgres
    valkey, bench = after.valkey - before.valkey, after.bench - before.bench
    busy, stolen = after.machine.busy - before.machine.busy, after.machine.stolen - before.machine.stolen
    return Usage(
        seconds=after.at - before.at,
        gateway=gateway,
        postgres=postgres,
        valkey=valkey,
        bench=bench,
        strangers=max(0.0, busy - gateway - postgres - valkey - bench) + stolen,
    )


def commits(parts: Installation) -> int:
    """Return how many transactions the database has committed so far (told with a second's delay)."""
    (row,) = parts.query("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(row["xact_commit"])


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie. Raises LoadError when there are none."""
    if not values:
        raise LoadError("no request was answered")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run_load(load: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run a load to its end. Raises LoadError when an answer was wrong: a figure of wrong answers is worth nothing."""
    outcome = uvloop.run(load)
    if outcome.failed:
        raise LoadError(
            f"{outcome.failed} of {outcome.failed + outcome.answered} answers were wrong; first: {outcome.first_failure}"
        )
    return outcome


class Bench:
    """Runs scenarios and counts what the books must show afterwards."""

    def __init__(self, installation: Installation, durations: Durations) -> None:
        self.installation = installation
        # A limit that is never reached is still asked at every request; none at all would switch the limiter off.
        self.tenant = installation.new_tenant("bench", credits_usd="1000000", rpm=2_000_000_000)
        self.durations = durations
        self.billed_requests = 0
        self.strangers: list[float] = []
        self._nonce = 0
        self._opening = int(installation.manage("ledger", "balance", "--workspace", self.tenant.slug)["posted"])

    def _start(self) -> int:
        """Return where the nonces of the next load begin, so that none comes twice."""
        self._nonce += 10_000_000
        return self._nonce

    def _metered(self, load: Callable[[], Outcome]) -> tuple[Outcome, Usage]:
        before = read_clocks(self.installation)
        outcome = load()
        time.sleep(SETTLING)
        usage = usage_between(before, read_clocks(self.installation))
        self.strangers.append(usage.strangers / usage.seconds)
        return outcome, usage

    def saturate(self, seconds: float) -> Outcome:
        """Saturate the gateway with whole answers for ``seconds``."""
        target = self.installation.through_gateway(JSON_MODEL, key=self.tenant.key)
        outcome = run_load(saturate(target, connections=CONNECTIONS, seconds=seconds, start=self._start()))
        self.billed_requests += outcome.answered
        return outcome

    def measure_saturation(self) -> Figures:
        """Whole answers on 32 connections, as fast as the gateway gives them."""
        before = commits(self.installation)
        outcome, usage = self._metered(lambda: self.saturate(self.durations.saturation))
        count = outcome.answered
        return {
            "saturation.transactions": (commits(self.installation) - before) / count,
            "saturation.requests_per_second": count / outcome.seconds,
            "saturation.gateway_cpu_ms": usage.gateway / count * 1e3,
            "saturation.capacity": count / usage.gateway,
            "saturation.gateway_busy": min(1.0, usage.gateway / outcome.seconds),
            "saturation.postgres_cpu_ms": usage.postgres / count * 1e3,
            "saturation.valkey_cpu_ms": usage.valkey / count * 1e3,
            "saturation.stores_cpu_ms": (usage.postgres + usage.valkey) / count * 1e3,
            "saturation.p50_ms": percentile(outcome.latencies, 0.5) * 1e3,
            "saturation.p99_ms": percentile(outcome.latencies, 0.99) * 1e3,
        }

    def measure_latency(self) -> Figures:
        """Whole answers at a low fixed rate, through the gateway and straight to the mock."""
        times: dict[str, list[float]] = {}
        for name, target in (
            ("direct", self.installation.direct(JSON_MODEL)),
            ("gateway", self.installation.through_gateway(JSON_MODEL, key=self.tenant.key)),
        ):
            outcome = run_load(
                pace(target, rate=self.durations.rate, seconds=self.durations.latency, start=self._start())
            )
            times[name] = outcome.latencies
            if name == "gateway":
                self.billed_requests += outcome.answered + outcome.warm_ups
        figures = {
            f"latency.{name}_p{share}_ms": percentile(values, share / 100) * 1e3
            for name, values in times.items()
            for share in (50, 99)
        }
        for share in (50, 99):
            figures[f"latency.added_p{share}_ms"] = (
                figures[f"latency.gateway_p{share}_ms"] - figures[f"latency.direct_p{share}_ms"]
            )
        return figures

    def measure_burst(self) -> Figures:
        """Streams whose upstream sends 200 chunks at once."""
        target = self.installation.through_gateway(BURST_MODEL, key=self.tenant.key, stream=True)
        seconds = self.durations.saturation / 2
        outcome, usage = self._metered(
            lambda: run_load(saturate(target, connections=CONNECTIONS, seconds=seconds, start=self._start()))
        )
        self.billed_requests += outcome.answered
        return {
            "burst.chunks_per_second": outcome.answered * BURST / outcome.seconds,
            "burst.gateway_cpu_us_per_chunk": usage.gateway / (outcome.answered * BURST) * 1e6,
        }

    def measure_streams(self) -> Figures:
        """Many streams at once, 40 chunks a second each, against the same streams straight from the mock."""
        count = self.durations.streams
        firsts: dict[str, float] = {}
        figures: Figures = {}
        for name, target in (
            ("direct", self.installation.direct(PACED_MODEL, stream=True)),
            ("gateway", self.installation.through_gateway(PACED_MODEL, key=self.tenant.key, stream=True)),
        ):
            start = self._start()
            load = saturate(target, connections=count, seconds=0.1, start=start, ramp=1.0)
            outcome, usage = self._metered(functools.partial(run_load, load))
            firsts[name] = percentile(outcome.first_bytes, 0.5) * 1e3
            if name == "gateway":
                self.billed_requests += outcome.answered
                figures = {
                    "streams.count": count,
                    "streams.transit_p99_ms": percentile(outcome.transits, 0.99) * 1e3,
                    "streams.gateway_cpu_us_per_chunk": usage.gateway / (outcome.answered * PACED) * 1e6,
                    "streams.gateway_memory_mb": accounting.resident_megabytes(self.installation.gateway_pids),
                }
        figures["streams.added_first_token_p50_ms"] = firsts["gateway"] - firsts["direct"]
        return figures

    def check_books(self) -> list[str]:
        """Return what is wrong in the books after the run; empty when every answer is billed and everything adds up."""
        broken = self.installation.manage("ledger", "audit")["broken"]
        balance = self.installation.manage("ledger", "balance", "--workspace", self.tenant.slug)
        counted = self.installation.manage("usage", "count", "--workspace", self.tenant.slug)
        wrong = [f"broken invariant: {row}" for row in broken]
        fall = self._opening - int(balance["posted"])
        if counted["events"] != self.billed_requests:
            wrong.append(f"{self.billed_requests} answers, but {counted['events']} usage events")
        if int(counted["charge"]) != fall:
            wrong.append(f"charges are {counted['charge']} nano-USD, but the balance fell by {fall}")
        if int(balance["held"]):
            wrong.append(f"{balance['held']} nano-USD are still held")
        if not int(counted["charge"]):
            wrong.append("nothing was charged")
        return wrong
