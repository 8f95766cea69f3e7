"""The load generator against the mock upstream: what it counts, and that a wrong answer is never a right one."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bench.metering import percentile, run_load
from rig import upstream
from rig.answers import Answers
from rig.load import CHAT, MESSAGES, Alarm, LoadError, Marks, Outcome, Target, make_requests, pace, saturate

BOTH = pytest.mark.parametrize("marks", [CHAT, MESSAGES], ids=lambda marks: marks.path)


@asynccontextmanager
async def serving(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    """Serve a protocol on a free port."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _target(port: int, model: str = "mock-json", *, marks: Marks = CHAT) -> Target:
    return Target(port, f"/v1{marks.path}", model, key="lx-test", marks=marks)


def test_each_request_has_a_body_of_its_own_and_one_kilobyte() -> None:
    requests = make_requests(_target(1), start=5)
    (first_nonce, first), (second_nonce, second) = next(requests), next(requests)
    assert (first_nonce, second_nonce) == (b"000000000005", b"000000000006")
    head, body = first.split(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert b"authorization: Bearer lx-test" in head
    assert 1000 <= len(body) <= 1200
    assert b"nonce-000000000005" in json.loads(body)["messages"][0]["content"].encode()
    assert first != second


def test_the_body_of_a_request_is_right_in_both_protocols() -> None:
    _, request = next(make_requests(Target(1, "/v1/messages", "messages/mock-stream-3-0", stream=True, marks=MESSAGES)))
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    parsed = json.loads(body)
    assert parsed.keys() == {"model", "max_tokens", "messages", "stream"}
    assert (parsed["model"], parsed["max_tokens"], parsed["stream"]) == ("messages/mock-stream-3-0", 512, True)
    assert [message["role"] for message in parsed["messages"]] == ["user"]


def test_what_a_model_does_is_told_by_the_end_of_its_name() -> None:
    target = Target(1, "/", "messages/mock-stream-200-40")
    assert (target.chunks, target.rate) == (200, 40)
    assert (Target(1, "/", "mock-stream-200-40x").chunks, Target(1, "/", "mock-json").rate) == (1, 0)


@BOTH
async def test_saturation_counts_right_answers_on_every_connection(marks: Marks) -> None:
    async with serving(upstream.UpstreamProtocol) as port:
        outcome = await saturate(_target(port, marks=marks), connections=4, seconds=0.2)
    assert outcome.answered > 4
    assert outcome.failed == 0
    assert outcome.seconds >= 0.2


async def test_an_answer_in_the_other_protocol_is_wrong() -> None:
    async with serving(upstream.UpstreamProtocol) as port:
        for marks, other in ((CHAT, MESSAGES), (MESSAGES, CHAT)):
            target = Target(port, f"/v1{other.path}", "mock-json", marks=marks)
            outcome = await saturate(target, connections=1, seconds=0.02)
            assert outcome.answered == 0
            assert "not the answer" in outcome.first_failure


async def test_a_fixed_rate_sends_as_many_as_are_due_and_counts_the_warm_up_apart() -> None:
    async with serving(upstream.UpstreamProtocol) as port:
        outcome = await pace(_target(port), rate=100, seconds=0.3, connections=2)
    assert outcome.answered == 30
    assert outcome.warm_ups == 2
    assert outcome.failed == 0


async def test_the_alarm_wakes_when_it_should_and_does_not_wait_for_what_is_past() -> None:
    with contextlib.closing(Alarm()) as alarm:
        began = time.perf_counter()
        await alarm.wait_until(began - 1)
        assert time.perf_counter() < began + 0.5
        for number in (1, 2):
            due = began + 0.1 * number
            await alarm.wait_until(due)
            assert due <= time.perf_counter() < due + 1


class Liar(upstream.UpstreamProtocol):
    """An upstream that answers with somebody else's answer."""

    def answer(self, body: bytes, answers: Answers) -> None:
        """Send the answer to another question."""
        self.transport.write(answers.whole % b"999999999999")


class Leaver(upstream.UpstreamProtocol):
    """An upstream that goes away instead of answering."""

    def answer(self, body: bytes, answers: Answers) -> None:
        """Close the connection."""
        self.transport.close()


@BOTH
@pytest.mark.parametrize("protocol", [Liar, Leaver])
async def test_an_answer_to_another_question_or_none_is_a_failure(
    protocol: type[upstream.UpstreamProtocol], marks: Marks
) -> None:
    async with serving(protocol) as port:
        outcome = await saturate(_target(port, marks=marks), connections=1, seconds=0.05)
    assert outcome.answered == 0
    assert outcome.failed >= 1
    assert outcome.first_failure


async def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LoadError, match="nothing accepts connections"):
        await saturate(_target(9), connections=1, seconds=0.1)


def test_a_run_with_wrong_answers_gives_no_figures() -> None:
    async def load() -> Outcome:
        async with serving(Liar) as port:
            return await saturate(_target(port), connections=1, seconds=0.05)

    with pytest.raises(LoadError, match="answers were wrong"):
        run_load(load())


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7
    with pytest.raises(LoadError, match="no request was answered"):
        percentile([], 0.5)
