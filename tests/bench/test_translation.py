"""Translation's figures: costs through each pair, and what they are of those that pass through."""

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import report, translation
from bench.__main__ import FULL, QUICK, SCENARIOS
from bench.goals import COLUMNS, GOALS
from bench.measure import Bench
from bench.metering import Figures, Usage
from bench.pairs import KINDS, PAIRS, Pair, figures_of
from rig.installation import Installation, Tenant, all_cores
from rig.load import CHAT, MESSAGES, LoadError, Marks, Outcome, Target

WHOLE, CHUNK, BURST = KINDS
OWN_CHAT, CHAT_OVER_MESSAGES = Pair("chat", "chat"), Pair("chat", "messages")
OWN_MESSAGES, MESSAGES_OVER_CHAT = Pair("messages", "messages"), Pair("messages", "chat")


def test_a_translated_call_is_compared_with_what_its_upstream_and_its_client_have_without_translation() -> None:
    costs = {OWN_CHAT: 0.0002, MESSAGES_OVER_CHAT: 0.0003, CHAT_OVER_MESSAGES: 0.0004, OWN_MESSAGES: 0.00025}
    figures = figures_of(WHOLE, costs)
    assert figures == pytest.approx(
        {
            "translation.chat_over_chat.whole_cpu": 0.2,
            "translation.messages_over_chat.whole_cpu": 0.3,
            "translation.chat_over_messages.whole_cpu": 0.4,
            "translation.messages_over_messages.whole_cpu": 0.25,
            "translation.messages_over_chat.whole_by_upstream": 1.5,
            "translation.messages_over_chat.whole_by_client": 1.2,
            "translation.chat_over_messages.whole_by_upstream": 1.6,
            "translation.chat_over_messages.whole_by_client": 2.0,
            "translation.whole_ratio": 1.6,
        }
    )


def test_chunks_are_told_in_microseconds_and_the_worse_direction_counts() -> None:
    costs = {OWN_CHAT: 4e-6, MESSAGES_OVER_CHAT: 6e-6, CHAT_OVER_MESSAGES: 5e-6, OWN_MESSAGES: 5e-6}
    figures = figures_of(BURST, costs)
    assert figures["translation.chat_over_chat.burst_cpu"] == pytest.approx(4)
    assert figures["translation.chat_over_messages.burst_by_upstream"] == pytest.approx(1)
    assert figures["translation.burst_ratio"] == pytest.approx(1.5)


def test_every_figure_of_translation_is_shown_once() -> None:
    costs = dict.fromkeys(PAIRS, 1e-4)
    figures: Figures = {}
    for kind in KINDS:
        figures |= figures_of(kind, costs)
    shown = [goal.key for goal in GOALS] + [column.key for column in COLUMNS]
    assert sorted(key for key in shown if key.startswith("translation.")) == sorted(figures)
    goals = report.render_goals([figures], fdatasync_ms=None).splitlines()
    assert [line[:43].strip() for line in goals[1:]] == [
        "translated / passed through, whole",
        "translated / passed through, per chunk",
        "translated / passed through, 200 at once",
    ]
    columns = report.render_columns([figures]).splitlines()[1:]
    assert len(columns) == 24
    assert columns[0].split() == ["chat", "over", "chat:", "whole,", "CPU", "ms", "0.100", "0.100", "…", "0.100"]
    assert columns[5].startswith("messages over chat: whole / same client ")
    assert max(len(column.title) for column in COLUMNS) <= report.WIDTH


@dataclass
class Asked:
    """A bench that asks nothing: it keeps what would be asked, and every answer costs a millisecond."""

    durations: Any = QUICK
    targets: list[Target] = field(default_factory=list)

    def through_gateway(self, model: str, *, stream: bool, marks: Marks) -> Target:
        """Keep the target."""
        self.targets.append(Target(1, f"/api/v1{marks.path}", model, stream=stream, marks=marks))
        return self.targets[-1]

    def ask(self, load: object, *, settling: float) -> tuple[Outcome, Usage]:
        """Return ten answers for ten milliseconds."""
        assert settling > 0
        spent = Usage(
            1.0, gateway=0.01, postgres=0, valkey=0, load=0, mock=0, strangers=0, gateway_share=0, others_share=0
        )
        return Outcome(latencies=[0.1] * 10), spent


def test_each_kind_is_asked_through_each_pair_and_divided_by_its_chunks() -> None:
    bench = Asked()
    figures = translation.measure(cast("Bench", bench))
    asked = [(one.marks, one.model, one.stream) for one in bench.targets]
    assert asked == [
        (marks, prefix + model, model != "mock-json")
        for model in ("mock-json", "mock-stream-80-40", "mock-stream-200-0")
        for prefix, marks in (("", CHAT), ("", MESSAGES), ("messages/", CHAT), ("messages/", MESSAGES))
    ]
    assert figures["translation.chat_over_chat.whole_cpu"] == pytest.approx(1)
    assert figures["translation.messages_over_chat.chunk_cpu"] == pytest.approx(1000 / 80)
    assert figures["translation.chat_over_messages.burst_cpu"] == pytest.approx(1000 / 200)
    assert figures["translation.whole_ratio"] == 1


@pytest.mark.parametrize("durations", [FULL, QUICK])
def test_every_model_that_is_asked_stands_in_the_catalog_once(durations: Any) -> None:
    assert len(set(durations.models)) == len(durations.models)
    assert set(durations.translated_models) < set(durations.models)


def test_what_is_asked_is_counted_for_the_books_and_a_wrong_answer_ends_the_run() -> None:
    pid = os.getpid()
    installation = SimpleNamespace(
        new_tenant=lambda *_, **__: Tenant("bench", "lx-key"),
        manage=lambda *_: {"posted": "7"},
        gateway_pids=[pid],
        postgres_pid=pid,
        valkey_pid=pid,
        upstream=SimpleNamespace(pid=pid),
    )
    bench = Bench(cast("Installation", installation), QUICK, all_cores())
    starts: list[int] = []

    async def answered(start: int, **counts: Any) -> Outcome:
        starts.append(start)
        return Outcome(latencies=[0.1] * 3, warm_ups=2, **counts)

    for _ in range(2):
        outcome, usage = bench.ask(answered, settling=0.0)
        assert outcome.answered == 3
        assert usage.seconds > 0
    assert bench.billed_requests == 10
    assert len(bench.strangers) == 2
    assert starts[1] - starts[0] == 10_000_000
    with pytest.raises(LoadError, match="one was odd"):
        bench.ask(lambda start: answered(start, failed=1, first_failure="one was odd"), settling=0.0)
    assert bench.billed_requests == 10


def test_translation_is_a_scenario() -> None:
    assert SCENARIOS["translation"] is translation.measure
