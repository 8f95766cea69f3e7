"""The ladder of streams: when it stops, what counts as held, and which figures come out."""

from collections.abc import Callable

import pytest

from bench.ladder import RUNGS, Rung, climb, figures_of, highest_held
from bench.streams import Glance, Held
from rig.installation import Cores
from rig.load import LoadError, Outcome, Target


def rung(streams: int, *, p99: float = 1.0, late: float = 0.0, failed: int = 0, direct_p99: float = 0.5) -> Rung:
    """Make a rung with figures that tell its number."""
    return Rung(
        streams=streams,
        transit_p50_ms=p99 / 2,
        transit_p99_ms=p99,
        late_ms=late,
        cpu_us_per_chunk=streams / 10,
        gateway_share=0.5,
        others_share=0.5,
        added_first_p50_ms=1.0,
        memory_kb=streams / 100,
        direct_transit_p50_ms=0.1,
        direct_transit_p99_ms=direct_p99,
        direct_late_ms=0.0,
        failed=failed,
    )


def by_p99(**times: float) -> Callable[[int], Rung]:
    """Return a measurement with these transits, by "s" and the number of streams; 1 ms elsewhere."""
    return lambda count: rung(count, p99=times.get(f"s{count}", 1.0))


@pytest.mark.parametrize(
    ("measure", "climbed", "held"),
    [
        (by_p99(), 1000, 1000),
        (by_p99(s200=5.0), 1000, 1000),  # the limit itself holds
        (by_p99(s200=80.0), 200, 100),  # fails clearly
        (by_p99(s200=6.0), 1000, 1000),  # a moment's noise: the next one holds again
        (by_p99(s200=6.0, s400=6.0), 400, 100),  # twice is no noise
        (by_p99(s1000=6.0), 1000, 800),
        (lambda count: rung(count, late=101 if count == 100 else 0), 100, 50),
        (lambda count: rung(count, failed=count == 50), 50, 25),
    ],
)
def test_the_ladder_ends_where_more_streams_cannot_do_better(
    measure: Callable[[int], Rung], climbed: int, held: int
) -> None:
    rungs = climb(measure)
    assert [one.streams for one in rungs] == [count for count in RUNGS if count <= climbed]
    highest = highest_held(rungs)
    assert highest is not None
    assert highest.streams == held


def test_goals_are_read_at_the_highest_rung_that_holds() -> None:
    figures = figures_of(climb(by_p99(s400=80.0)))
    assert figures["streams.held"] == 200
    assert figures["streams.cpu_us_per_chunk"] == 20
    assert figures["streams.memory_kb"] == 2
    assert figures["streams.transit_p99_ms"] == 1
    assert figures["streams.400.transit_p99_ms"] == 80
    assert (figures["streams.200.holds"], figures["streams.400.holds"]) == (1, 0)
    assert figures["streams.measurable"] == 400


def test_where_nothing_holds_no_streams_are_held() -> None:
    rungs = climb(by_p99(s25=6.0, s50=9.0))
    figures = figures_of(rungs)
    assert highest_held(rungs) is None
    assert figures["streams.held"] == 0
    assert (figures["streams.cpu_us_per_chunk"], figures["streams.memory_kb"]) == (2.5, 0.5)


def test_the_mock_that_is_too_slow_itself_is_told() -> None:
    rungs = [rung(25), rung(50, direct_p99=5.1)]
    assert figures_of(rungs)["streams.measurable"] == 25


def held(*, transits: list[float], spans: list[float], firsts: list[float], stream: str = "mock-stream-41-40") -> Held:
    """Make streams that were held: two, with a look at second 10 and one at second 12."""
    outcome = Outcome(transits=transits, spans=spans, first_events=firsts, failed=0)
    looks = [Glance(10.0, 5.0, 7.0, 90.0), Glance(12.0, 6.0, 8.5, 91.0)]
    return Held(Target(1, "/", stream, stream=True), 2, outcome, looks)


def test_a_rung_is_made_of_streams_through_the_gateway_and_straight() -> None:
    through = held(transits=[0.001, 0.002, 0.003], spans=[1.0, 1.25], firsts=[0.004, 0.005])
    straight = held(transits=[0.0005] * 3, spans=[1.0, 1.0], firsts=[0.001, 0.001])
    made = through.rung(straight, cores=Cores(gateway={2}, others={0, 1}), gateway_cpu=0.0082, idle_mb=90.5)
    assert made.streams == 2
    assert (made.transit_p50_ms, made.transit_p99_ms) == (2, 3)
    assert made.late_ms == 250
    assert made.cpu_us_per_chunk == pytest.approx(100)
    assert (made.gateway_share, made.others_share) == (0.5, 0.375)
    assert made.added_first_p50_ms == 4
    assert made.memory_kb == 250
    assert made.direct_transit_p99_ms == 0.5
    assert not made.holds


def test_streams_of_which_nothing_came_give_no_figures() -> None:
    silent = held(transits=[], spans=[], firsts=[])
    with pytest.raises(LoadError, match="no request was answered"):
        silent.transit_ms(0.99)
