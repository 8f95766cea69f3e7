"""What is wanted of one gateway worker, and what else the table tells: names, forms, and the goals of docs/performance.md."""

from dataclasses import dataclass
from enum import StrEnum

from bench.pairs import KINDS, PAIRS


class Met(StrEnum):
    """Whether a figure reaches a goal."""

    YES = "✓"
    NO = "✗"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure with two goals: what it must reach, and what we aim at."""

    key: str
    title: str
    form: str
    must: float
    aim: float
    more_is_better: bool = False

    def is_reached(self, value: float, goal: float) -> Met:
        """Say whether ``value`` is as good as ``goal``."""
        return Met.YES if (value >= goal if self.more_is_better else value <= goal) else Met.NO

    def show(self, goal: float) -> str:
        """Return a goal in words."""
        return f"{'≥' if self.more_is_better else '≤'} {goal:,.10g}"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure that explains others and has no goal of its own."""

    key: str
    title: str
    form: str


GOALS = (
    Goal("saturation.requests_per_second", "requests/s per core, JSON", "{:,.0f}", 2_800, 6_500, more_is_better=True),
    Goal("saturation.gateway_cpu_ms", "gateway CPU per request, ms", "{:.3f}", 0.35, 0.15),
    Goal("saturation.stores_cpu_ms", "PostgreSQL + Valkey CPU per request, ms", "{:.3f}", 0.15, 0.05),
    Goal("latency.added_p50_ms", "added latency p50, quiet, ms", "{:.2f}", 1.5, 0.7),
    Goal("latency.added_p99_ms", "added latency p99, quiet, ms", "{:.2f}", 6, 3),
    Goal("streams.held", "streams held at once", "{:,.0f}", 400, 1_000, more_is_better=True),
    Goal("streams.cpu_us_per_chunk", "gateway CPU per paced chunk, µs", "{:.1f}", 40, 15),
    Goal("first_token.added_p50_ms", "added time to first token p50, ms", "{:.2f}", 1.5, 0.7),
    Goal("burst.chunks_per_second", "chunks/s, 200 at once", "{:,.0f}", 150_000, 300_000, more_is_better=True),
    Goal("translation.whole_ratio", "translated / passed through, whole", "{:.2f}", 1.6, 1.2),
    Goal("translation.chunk_ratio", "translated / passed through, per chunk", "{:.2f}", 1.6, 1.2),
    Goal("translation.burst_ratio", "translated / passed through, 200 at once", "{:.2f}", 1.6, 1.2),
    Goal("memory.idle_mb", "memory of a worker, MB", "{:.0f}", 150, 100),
    Goal("streams.memory_kb", "memory per open stream, KB", "{:.0f}", 50, 35),
    Goal("hot_wallet.requests_per_second", "one hot wallet, requests/s", "{:,.0f}", 5_000, 10_000, more_is_better=True),
)

#: What an answer or a chunk costs the gateway through each pair of protocols, and what that is of one that passes through.
_TRANSLATION = [
    column
    for kind in KINDS
    for column in (
        *(
            Column(f"{pair.key}.{kind.name}_cpu", f"{pair.title}: {kind.title}, CPU {kind.unit}", kind.form)
            for pair in PAIRS
        ),
        *(
            Column(f"{pair.key}.{kind.name}_by_{same}", f"{pair.title}: {kind.name} / same {same}", "{:.2f}")
            for pair in PAIRS
            if pair.is_translated
            for same in ("upstream", "client")
        ),
    )
]

COLUMNS = (
    Column("saturation.capacity", "requests per CPU second of the gateway", "{:,.0f}"),
    Column("saturation.gateway_share", "the gateway's core, used by it", "{:.0%}"),
    Column("saturation.others_share", "the other core's share", "{:.0%}"),
    Column("saturation.postgres_cpu_ms", "PostgreSQL CPU per request, ms", "{:.3f}"),
    Column("saturation.valkey_cpu_ms", "Valkey CPU per request, ms", "{:.3f}"),
    Column("rollup.cpu_ms", "roll-up by the worker, Python, ms", "{:.4f}"),
    Column("rollup.postgres_cpu_ms", "roll-up by the worker, PostgreSQL, ms", "{:.4f}"),
    Column("saturation.load_cpu_us", "load generator CPU per request, µs", "{:.1f}"),
    Column("saturation.mock_cpu_us", "mock upstream CPU per request, µs", "{:.1f}"),
    Column("saturation.transactions", "transactions per request", "{:.2f}"),
    Column("saturation.p50_ms", "latency p50 at saturation, ms", "{:.2f}"),
    Column("saturation.p99_ms", "latency p99 at saturation, ms", "{:.2f}"),
    Column("latency.direct_p50_ms", "quiet latency p50 direct, ms", "{:.3f}"),
    Column("latency.direct_p99_ms", "quiet latency p99 direct, ms", "{:.3f}"),
    Column("latency.gateway_p50_ms", "quiet latency p50 gateway, ms", "{:.3f}"),
    Column("latency.gateway_p99_ms", "quiet latency p99 gateway, ms", "{:.3f}"),
    Column("back_to_back.direct_p50_ms", "one after another p50 direct, ms", "{:.3f}"),
    Column("back_to_back.added_p50_ms", "added latency p50, one after another, ms", "{:.2f}"),
    Column("first_token.direct_p50_ms", "first token p50 direct, ms", "{:.3f}"),
    Column("first_token.gateway_p50_ms", "first token p50 gateway, ms", "{:.3f}"),
    Column("first_token.added_p99_ms", "added time to first token p99, ms", "{:.2f}"),
    Column("burst.cpu_us_per_chunk", "gateway CPU per chunk of a burst, µs", "{:.2f}"),
    Column("burst.gateway_share", "burst: the gateway's core, used by it", "{:.0%}"),
    Column("burst.others_share", "burst: the other core's share", "{:.0%}"),
    *_TRANSLATION,
    Column("hot_wallet.cpu_us", "hot wallet: Python CPU a request, µs", "{:.0f}"),
    Column("hot_wallet.postgres_cpu_us", "hot wallet: PostgreSQL CPU a request, µs", "{:.0f}"),
    Column("streams.transit_p99_ms", "transit of a chunk p99, streams held, ms", "{:.2f}"),
    Column("streams.measurable", "streams that the mock alone holds in time", "{:,.0f}"),
)

#: Of each rung of the ladder: the name of its figure after ``streams.N.``, the head of the column, and its form.
RUNG_COLUMNS = (
    Column("transit_p50_ms", "p50 ms", "{:.2f}"),
    Column("transit_p99_ms", "p99 ms", "{:.2f}"),
    Column("late_ms", "late ms", "{:.0f}"),
    Column("direct_transit_p50_ms", "direct p50", "{:.2f}"),
    Column("direct_transit_p99_ms", "direct p99", "{:.2f}"),
    Column("cpu_us_per_chunk", "CPU µs", "{:.1f}"),
    Column("gateway_share", "core", "{:.0%}"),
    Column("others_share", "other core", "{:.0%}"),
    Column("added_first_p50_ms", "1st token", "{:.2f}"),
    Column("memory_kb", "KB", "{:.0f}"),
)
