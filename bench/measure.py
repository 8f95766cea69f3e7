"""The scenarios: what is done to the gateway, and which figures come out of one round of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bench import ladder
from bench.ladder import Rung
from bench.metering import Figures, Usage, added, percentile, read_clocks, run_load, usage_between
from bench.streams import hold
from rig import accounting
from rig.installation import Cores, Installation
from rig.load import CHAT, LoadError, Marks, Outcome, Target, pace, saturate
from rig.processes import ROOT

CONNECTIONS = 32
JSON_MODEL = "mock-json"
#: Chunks of a burst.
BURST = 200
BURST_MODEL = f"mock-stream-{BURST}-0"
#: Short streams at a low rate, about ten at once; and the connections that they share.
SHORT_MODEL, SHORT_CONNECTIONS = "mock-stream-8-40", 32
#: Requests that are in flight on the one wallet.
IN_FLIGHT = 500
#: Seconds given to what an answer leaves to do, before processor time is read.
SETTLING = 1.5
WARM_UP = 2.0


@dataclass(frozen=True, slots=True)
class Durations:
    """How long one round of each scenario takes, in seconds; the low rate is in requests a second."""

    saturation: float
    latency: float
    first_token: float
    burst: float
    #: Whole answers of each pair of protocols, its streams of many chunks at once, and each of its paced streams.
    translation: float
    translation_burst: float
    translation_streams: int
    hot_wallet: float
    #: Of each stream of a rung, through the gateway and straight.
    streams: int
    streams_direct: int
    rate: float = 50.0
    rungs: tuple[int, ...] = ladder.RUNGS

    def stream_model(self, *, is_direct: bool = False) -> str:
        """Return the model whose streams last as long as those of a rung."""
        return f"mock-stream-{40 * (self.streams_direct if is_direct else self.streams)}-40"

    @property
    def translated_models(self) -> list[str]:
        """The models that are asked in every pair of protocols: a whole answer, a paced stream, a burst."""
        return [JSON_MODEL, f"mock-stream-{40 * self.translation_streams}-40", BURST_MODEL]

    @property
    def models(self) -> list[str]:
        """The models that are asked through the gateway."""
        return list(dict.fromkeys([*self.translated_models, SHORT_MODEL, self.stream_model()]))


def commits(parts: Installation) -> int:
    """Return how many transactions the database has committed so far (told with a second's delay)."""
    (row,) = parts.query("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(row["xact_commit"])


class Bench:
    """Runs scenarios and counts what the books must show afterwards."""

    def __init__(
        self,
        installation: Installation,
        durations: Durations,
        cores: Cores,
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.tell = tell
        self.installation = installation
        self.durations = durations
        self.cores = cores
        # A limit that is never reached is still asked at every request; none at all would switch the limiter off.
        self.tenant = installation.new_tenant("bench", credits_usd="1000000", rpm=2_000_000_000)
        self.billed_requests = 0
        #: Streams that failed on the ladder: their ends may have been billed or not.
        self.failed_streams = 0
        #: Other work during each measured block, as a share of a core, and for how many seconds.
        self.strangers: list[tuple[float, float]] = []
        self._nonce = 0
        self._opening = int(installation.manage("ledger", "balance", "--workspace", self.tenant.slug)["posted"])

    def _start(self) -> int:
        """Return where the nonces of the next load begin, so that none comes twice."""
        self._nonce += 10_000_000
        return self._nonce

    def through_gateway(self, model: str, *, stream: bool = False, marks: Marks = CHAT) -> Target:
        """Return the target for the workspace's requests, in the protocol of ``marks``."""
        return self.installation.through_gateway(model, key=self.tenant.key, stream=stream, marks=marks)

    def metered[T](self, load: Callable[[], T], *, settling: float = SETTLING) -> tuple[T, Usage]:
        """Run a load and wait for the work that it leaves; return what it gave and who used the processor."""
        before = read_clocks(self.installation, self.cores)
        outcome = load()
        at_end = read_clocks(self.installation, self.cores)
        time.sleep(settling)
        usage = usage_between(before, at_end, read_clocks(self.installation, self.cores), cores=self.cores)
        self.strangers.append((usage.strangers / usage.seconds, usage.seconds))
        return outcome, usage

    def _run_child(self, module: str, *arguments: str, seconds: float) -> dict[str, Any]:
        """Run a program of ours in the installation's environment, and return the JSON that it prints. Raises LoadError."""
        environment = dict(self.installation.environment) | {"BENCH_KEY": self.tenant.key}
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if done.returncode:
            raise LoadError(f"{module} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        told: dict[str, Any] = json.loads(done.stdout.strip().rsplit("\n", 1)[-1])
        return told

    def ask(
        self, load: Callable[[int], Coroutine[Any, Any, Outcome]], *, settling: float = SETTLING
    ) -> tuple[Outcome, Usage]:
        """Run a load on the gateway, given where its nonces begin, and count its answers; return it and its cost.

        Raises LoadError when an answer was wrong.
        """
        outcome, usage = self.metered(lambda: run_load(load(self._start())), settling=settling)
        self.billed_requests += outcome.answered + outcome.warm_ups
        return outcome, usage

    def saturate(self, seconds: float) -> Outcome:
        """Saturate the gateway with whole answers for ``seconds``."""
        target = self.through_gateway(JSON_MODEL)
        outcome = run_load(saturate(target, connections=CONNECTIONS, seconds=seconds, start=self._start()))
        self.billed_requests += outcome.answered
        return outcome

    def roll_up(self) -> Figures:
        """Do the worker's part of the requests so far; milliseconds of Python and of PostgreSQL a request."""
        cores = [str(core) for core in sorted(self.cores.others)]
        told = self._run_child("bench.rollup", *cores, seconds=120)
        events = max(1, told["events"])
        return {
            "rollup.cpu_ms": told["cpu_seconds"] / events * 1e3,
            "rollup.postgres_cpu_ms": told["postgres_cpu_seconds"] / events * 1e3,
        }

    def measure_saturation(self) -> Figures:
        """Whole answers on 32 connections, as fast as the gateway gives them."""
        before = commits(self.installation)
        outcome, usage = self.metered(lambda: self.saturate(self.durations.saturation))
        count, committed = outcome.answered, commits(self.installation) - before
        later = self.roll_up()
        stores = (usage.postgres + usage.valkey) / count * 1e3
        return later | {
            "saturation.requests_per_second": count / outcome.seconds,
            "saturation.capacity": count / usage.gateway,
            "saturation.gateway_share": usage.gateway_share,
            "saturation.others_share": usage.others_share,
            "saturation.gateway_cpu_ms": usage.gateway / count * 1e3 + later["rollup.cpu_ms"],
            "saturation.stores_cpu_ms": stores + later["rollup.postgres_cpu_ms"],
            "saturation.postgres_cpu_ms": usage.postgres / count * 1e3,
            "saturation.valkey_cpu_ms": usage.valkey / count * 1e3,
            "saturation.load_cpu_us": usage.load / count * 1e6,
            "saturation.mock_cpu_us": usage.mock / count * 1e6,
            "saturation.transactions": committed / count,
            "saturation.p50_ms": percentile(outcome.latencies, 0.5) * 1e3,
            "saturation.p99_ms": percentile(outcome.latencies, 0.99) * 1e3,
        }

    def measure_latency(self) -> Figures:
        """Whole answers at a low fixed rate, and one after another, straight from the mock and through the gateway."""
        figures: Figures = {}
        for name, target in (
            ("direct", self.installation.direct(JSON_MODEL)),
            ("gateway", self.through_gateway(JSON_MODEL)),
        ):
            outcome = self._pace(target, self.durations.latency, connections=8)
            for share in (50, 99):
                figures[f"latency.{name}_p{share}_ms"] = percentile(outcome.latencies, share / 100) * 1e3
            load = saturate(target, connections=1, seconds=self.durations.latency / 4, start=self._start())
            outcome = self._billed(load, target, settling=0.2)
            figures[f"back_to_back.{name}_p50_ms"] = percentile(outcome.latencies, 0.5) * 1e3
        return figures | added(figures, "latency") | added(figures, "back_to_back", shares=(50,))

    def measure_first_token(self) -> Figures:
        """Short streams at the same low rate: the time to their first event, straight from the mock and through the gateway."""
        figures: Figures = {}
        for name, target in (
            ("direct", self.installation.direct(SHORT_MODEL, stream=True)),
            ("gateway", self.through_gateway(SHORT_MODEL, stream=True)),
        ):
            outcome = self._pace(target, self.durations.first_token, connections=SHORT_CONNECTIONS)
            for share in (50, 99):
                figures[f"first_token.{name}_p{share}_ms"] = percentile(outcome.first_events, share / 100) * 1e3
        return figures | added(figures, "first_token")

    def _pace(self, target: Target, seconds: float, *, connections: int) -> Outcome:
        load = pace(target, rate=self.durations.rate, seconds=seconds, connections=connections, start=self._start())
        return self._billed(load, target, settling=0.2)

    def _billed(self, load: Coroutine[Any, Any, Outcome], target: Target, *, settling: float) -> Outcome:
        outcome, _ = self.metered(lambda: run_load(load), settling=settling)
        if target.port == self.installation.port:
            self.billed_requests += outcome.answered + outcome.warm_ups
        return outcome

    def measure_burst(self) -> Figures:
        """Streams whose upstream sends 200 chunks at once."""
        target = self.through_gateway(BURST_MODEL, stream=True)
        seconds = self.durations.burst
        outcome, usage = self.ask(lambda start: saturate(target, connections=CONNECTIONS, seconds=seconds, start=start))
        chunks = outcome.answered * BURST
        return {
            "burst.chunks_per_second": chunks / outcome.seconds,
            "burst.cpu_us_per_chunk": usage.gateway / chunks * 1e6,
            "burst.gateway_share": usage.gateway_share,
            "burst.others_share": usage.others_share,
        }

    def measure_hot_wallet(self) -> Figures:
        """Admissions and settlements of one wallet, 500 in flight, below HTTP, on the gateway's core."""
        seconds = self.durations.hot_wallet
        arguments = ["--model", JSON_MODEL, "--in-flight", str(IN_FLIGHT), "--seconds", str(seconds), "--cores"]
        arguments += [str(core) for core in sorted(self.cores.gateway)]
        told, usage = self.metered(
            lambda: self._run_child("bench.hot_wallet", *arguments, seconds=seconds + 120), settling=0.2
        )
        self.billed_requests += told["all_requests"]
        return {
            "hot_wallet.requests_per_second": told["requests"] / told["seconds"],
            "hot_wallet.cpu_us": told["cpu_seconds"] / told["requests"] * 1e6,
            "hot_wallet.postgres_cpu_us": usage.postgres / told["all_requests"] * 1e6,
        }

    def restart_worker(self) -> None:
        """Give the gateway a new process that has served a little: what earlier loads left in its memory is gone."""
        (worker,) = self.installation.web
        worker.terminate()
        worker.start_again()
        accounting.pin([worker.pid], self.cores.gateway)
        self.installation.wait_until_ready()
        self.saturate(WARM_UP)
        time.sleep(0.5)

    def measure_streams(self) -> Figures:
        """The ladder: more and more streams of 40 chunks a second, through the gateway and straight."""
        self.restart_worker()
        idle = accounting.resident_megabytes(self.installation.gateway_pids)
        rungs = ladder.climb(lambda count: self._measure_rung(count, idle_mb=idle), counts=self.durations.rungs)
        return ladder.figures_of(rungs) | {"memory.idle_mb": idle}

    def _measure_rung(self, count: int, *, idle_mb: float) -> Rung:
        self.tell(f"{count} streams at once")
        direct = self.installation.direct(self.durations.stream_model(is_direct=True), stream=True)
        through = self.through_gateway(self.durations.stream_model(), stream=True)
        straight, _ = self.metered(
            lambda: hold(self.installation, self.cores, direct, count=count, start=self._start()), settling=0.1
        )
        held, usage = self.metered(
            lambda: hold(self.installation, self.cores, through, count=count, start=self._start()), settling=0.5
        )
        self.billed_requests += held.outcome.answered
        self.failed_streams += held.outcome.failed
        return held.rung(straight, cores=self.cores, gateway_cpu=usage.gateway, idle_mb=idle_mb)

    def check_books(self) -> list[str]:
        """Return what is wrong in the books after the run; empty when every answer is billed and everything adds up."""
        broken = self.installation.manage("ledger", "audit")["broken"]
        balance = self.installation.manage("ledger", "balance", "--workspace", self.tenant.slug)
        counted = self.installation.manage("usage", "count", "--workspace", self.tenant.slug)
        wrong = [f"broken invariant: {row}" for row in broken]
        fall = self._opening - int(balance["posted"])
        if not 0 <= counted["events"] - self.billed_requests <= self.failed_streams:
            wrong.append(f"{self.billed_requests} answers, but {counted['events']} usage events")
        if int(counted["charge"]) != fall:
            wrong.append(f"charges are {counted['charge']} nano-USD, but the balance fell by {fall}")
        if int(balance["held"]):
            wrong.append(f"{balance['held']} nano-USD are still held")
        if not int(counted["charge"]):
            wrong.append("nothing was charged")
        return wrong
