"""The ladder of streams: rung after rung of more streams at once, until one fails clearly; the highest that holds counts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from bench.metering import Figures

RUNGS = (25, 50, 100, 200, 400, 600, 800, 1000)
#: A rung holds when 99 of 100 chunks are on their way for no longer than this (ms), and no stream ends later than that.
TRANSIT_MS, LATE_MS = 5.0, 100.0
#: A rung whose transit is this many times the limit is not worth a higher one.
CLEARLY = 5


@dataclass(frozen=True, slots=True)
class Rung:
    """What one number of streams at once showed, through the gateway and straight from the mock. Times in ms."""

    streams: int
    transit_p50_ms: float
    transit_p99_ms: float
    #: How much later the latest stream ended than its chunks were due.
    late_ms: float
    cpu_us_per_chunk: float
    #: Of its core, while all streams were open.
    gateway_share: float
    others_share: float
    #: Median time from the request to the first event, less that of the same rung straight.
    added_first_p50_ms: float
    #: Of the gateway, above what it had without streams, divided by the streams.
    memory_kb: float
    direct_transit_p50_ms: float
    direct_transit_p99_ms: float
    direct_late_ms: float
    #: Streams that were not answered, or not whole.
    failed: int = 0

    @property
    def holds(self) -> bool:
        """Whether every chunk came, in time."""
        return not self.failed and self.transit_p99_ms <= TRANSIT_MS and self.late_ms <= LATE_MS

    @property
    def fails_clearly(self) -> bool:
        """Whether more streams cannot do better."""
        return bool(self.failed) or self.transit_p99_ms > CLEARLY * TRANSIT_MS or self.late_ms > LATE_MS

    @property
    def is_measurable(self) -> bool:
        """Whether mock and load generator alone keep the time that is asked of the gateway."""
        return self.direct_transit_p99_ms <= TRANSIT_MS and self.direct_late_ms <= LATE_MS


def climb(measure: Callable[[int], Rung], *, counts: Iterable[int] = RUNGS) -> list[Rung]:
    """Measure rung after rung; stop after one that fails clearly, and after the second in a row that does not hold."""
    rungs: list[Rung] = []
    for count in counts:
        rungs.append(measure(count))
        if rungs[-1].fails_clearly or (not any(rung.holds for rung in rungs[-2:]) and len(rungs) > 1):
            break
    return rungs


def highest_held(rungs: list[Rung]) -> Rung | None:
    """Return the rung with the most streams that holds."""
    return max((rung for rung in rungs if rung.holds), key=lambda rung: rung.streams, default=None)


def figures_of(rungs: list[Rung]) -> Figures:
    """Return a round's figures: every rung's, and for the goals those of the highest that holds.

    If none does, then time comes from the lowest rung and memory from the highest: of few streams one sees little of it.
    """
    held = highest_held(rungs)
    chosen = held or rungs[0]
    found: Figures = {
        "streams.held": held.streams if held else 0,
        "streams.transit_p99_ms": chosen.transit_p99_ms,
        "streams.cpu_us_per_chunk": chosen.cpu_us_per_chunk,
        "streams.memory_kb": (held or rungs[-1]).memory_kb,
        "streams.measurable": max((rung.streams for rung in rungs if rung.is_measurable), default=0),
    }
    for rung in rungs:
        for one in fields(Rung)[1:]:
            found[f"streams.{rung.streams}.{one.name}"] = float(getattr(rung, one.name))
        found[f"streams.{rung.streams}.holds"] = float(rung.holds)
    return found
