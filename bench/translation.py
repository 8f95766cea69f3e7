"""The scenario for translation: the same answers through every pair of protocols, whole, as paced chunks and as bursts.

What the gateway spends is compared within a round, and pair follows pair: the machine differs less between two of them than
between two rounds.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bench.measure import BURST, CONNECTIONS, Bench
from bench.metering import Figures
from bench.pairs import KINDS, PAIRS, Pair, figures_of
from bench.streams import STARTS_PER_SECOND
from rig.catalog import MESSAGES_PREFIX
from rig.load import CHAT, MESSAGES, Marks, Outcome, Target, hold_streams, saturate

#: Paced streams that are open at once.
STREAMS = 100
#: Seconds given to what an answer leaves to do.
SETTLING = 0.2
_MARKS: Mapping[str, Marks] = {"chat": CHAT, "messages": MESSAGES}
_PREFIXES = {"chat": "", "messages": MESSAGES_PREFIX}


def measure(bench: Bench) -> Figures:
    """Measure every kind of answer through every pair."""
    whole, paced, burst = bench.durations.translated_models
    costs_of: tuple[Callable[[Pair], float], ...] = (
        lambda pair: _cost_of_whole(bench, _target(bench, pair, whole)),
        lambda pair: _cost_of_paced_chunk(bench, _target(bench, pair, paced, stream=True)),
        lambda pair: _cost_of_burst_chunk(bench, _target(bench, pair, burst, stream=True)),
    )
    figures: Figures = {}
    for kind, cost_of in zip(KINDS, costs_of, strict=True):
        figures |= figures_of(kind, {pair: cost_of(pair) for pair in PAIRS})
    return figures


def _target(bench: Bench, pair: Pair, model: str, *, stream: bool = False) -> Target:
    """Return where ``pair`` is spoken: the path is the client's protocol, the model that of an upstream of the other."""
    return bench.through_gateway(_PREFIXES[pair.upstream] + model, stream=stream, marks=_MARKS[pair.client])


def _cost_of_whole(bench: Bench, target: Target) -> float:
    answers, seconds = _spent(bench, lambda start: _saturate(target, bench.durations.translation, start))
    return seconds / answers


def _cost_of_paced_chunk(bench: Bench, target: Target) -> float:
    ramp = STREAMS / STARTS_PER_SECOND
    answers, seconds = _spent(bench, lambda start: hold_streams(target, count=STREAMS, ramp=ramp, start=start))
    return seconds / (answers * target.chunks)


def _cost_of_burst_chunk(bench: Bench, target: Target) -> float:
    answers, seconds = _spent(bench, lambda start: _saturate(target, bench.durations.translation_burst, start))
    return seconds / (answers * BURST)


def _saturate(target: Target, seconds: float, start: int) -> Coroutine[Any, Any, Outcome]:
    return saturate(target, connections=CONNECTIONS, seconds=seconds, start=start)


def _spent(bench: Bench, load: Callable[[int], Coroutine[Any, Any, Outcome]]) -> tuple[int, float]:
    """Run a load; return how many answers came and the gateway's processor seconds. Raises LoadError for a wrong answer."""
    outcome, usage = bench.ask(load, settling=SETTLING)
    return outcome.answered, usage.gateway
