"""One rung of the ladder: a number of streams held at once, and what was seen in the middle of it."""

import time
from dataclasses import dataclass, field

import uvloop

from bench.ladder import Rung
from bench.metering import percentile
from rig import accounting
from rig.installation import Cores, Installation
from rig.load import Outcome, Target, hold_streams

#: The streams of a rung begin within a second, but no more than this many of them.
STARTS_PER_SECOND = 400


@dataclass(frozen=True, slots=True)
class Glance:
    """What a look at the running processes showed; it costs well under a millisecond, so it may interrupt the load."""

    at: float
    gateway: float
    others_busy: float
    memory_mb: float


@dataclass(slots=True)
class Held:
    """Streams that were held, with a look when all were open and one before the first ended."""

    target: Target
    count: int
    outcome: Outcome = field(default_factory=Outcome)
    glances: list[Glance] = field(default_factory=list)

    @property
    def late_ms(self) -> float:
        """How much later the latest stream ended than its chunks were due."""
        due = (self.target.chunks - 1) / self.target.rate
        return max(0.0, max(self.outcome.spans, default=0.0) - due) * 1e3

    def transit_ms(self, share: float) -> float:
        """Return a percentile of the chunks' way. Raises LoadError when none came."""
        return percentile(self.outcome.transits, share) * 1e3

    def first_ms(self) -> float:
        """Return the median time to the first event. Raises LoadError when none came."""
        return percentile(self.outcome.first_events, 0.5) * 1e3

    def rung(self, straight: "Held", *, cores: Cores, gateway_cpu: float, idle_mb: float) -> Rung:
        """Return the rung that these streams through the gateway and those straight from the mock make together."""
        opened, closing = self.glances
        ran = closing.at - opened.at
        return Rung(
            streams=self.count,
            transit_p50_ms=self.transit_ms(0.5),
            transit_p99_ms=self.transit_ms(0.99),
            late_ms=self.late_ms,
            cpu_us_per_chunk=gateway_cpu / (self.count * self.target.chunks) * 1e6,
            gateway_share=min(1.0, (closing.gateway - opened.gateway) / ran),
            others_share=min(1.0, (closing.others_busy - opened.others_busy) / ran / len(cores.others)),
            added_first_p50_ms=self.first_ms() - straight.first_ms(),
            memory_kb=max(0.0, closing.memory_mb - idle_mb) / self.count * 1e3,
            direct_transit_p50_ms=straight.transit_ms(0.5),
            direct_transit_p99_ms=straight.transit_ms(0.99),
            direct_late_ms=straight.late_ms,
            failed=self.outcome.failed + straight.outcome.failed,
        )


def hold(parts: Installation, cores: Cores, target: Target, *, count: int, start: int) -> Held:
    """Hold ``count`` streams of ``target``; their nonces begin at ``start``. Raises LoadError when nothing answers."""
    held, pids = Held(target, count), accounting.tree_of(parts.gateway_pids)

    def look() -> None:
        held.glances.append(
            Glance(
                at=time.perf_counter(),
                gateway=accounting.own_cpu_seconds(pids),
                others_busy=accounting.busy_seconds(cores.others),
                memory_mb=accounting.own_resident_megabytes(pids),
            )
        )

    ramp = max(1.0, count / STARTS_PER_SECOND)
    held.outcome = uvloop.run(hold_streams(target, count=count, ramp=ramp, start=start, look=look))
    return held
