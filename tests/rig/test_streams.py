"""Streams between the mock upstream and the load generator: pacing, what is counted, and what counts as wrong."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from rig import load, upstream
from rig.answers import Answers, burst_of
from rig.chat_answers import CHAT as CHAT_ANSWERS
from rig.clients import CHAT, MESSAGES, Client, Marks, Outcome, StreamClient, dechunk
from rig.load import Target, hold_streams, pace, saturate
from rig.messages_answers import MESSAGES as MESSAGES_ANSWERS
from rig.pacing import PHASES, Pacer, http_chunk

NONCE = b"000000000007"
BOTH = pytest.mark.parametrize("marks", [CHAT, MESSAGES], ids=lambda marks: marks.path)
ANSWERS = {CHAT: CHAT_ANSWERS, MESSAGES: MESSAGES_ANSWERS}


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written.append(bytes(data))

    def close(self) -> None:
        """Do nothing."""


@contextlib.asynccontextmanager
async def serving(protocol: Callable[[], asyncio.Protocol] = upstream.UpstreamProtocol) -> AsyncIterator[int]:
    """Serve a protocol on a free port."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _target(port: int, model: str, marks: Marks = CHAT) -> Target:
    return Target(port, f"/v1{marks.path}", model, key="lx-test", stream=True, marks=marks)


def _read(*pieces: bytes, chunks: int, is_paced: bool, marks: Marks = CHAT) -> tuple[Outcome, int]:
    """Let a client read an answer to NONCE piece by piece; return the outcome and how often it became free."""
    outcome = Outcome()
    freed: list[Client] = []
    client = StreamClient(outcome, freed.append, chunks=chunks, is_paced=is_paced, marks=marks)
    client.connection_made(Wire())
    client.send(NONCE, b"", started=0.0)
    for piece in pieces:
        client.data_received(piece)
    return outcome, len(freed)


def _burst(chunks: int, *, nonce: bytes = NONCE, answers: Answers = CHAT_ANSWERS) -> bytes:
    return answers.start % nonce + burst_of(answers, chunks - 1)


def _paced(chunks: int, *, answers: Answers = CHAT_ANSWERS) -> bytes:
    stamped = [http_chunk(answers.text % (b"sent-%d" % number)) for number in range(1, chunks)]
    return b"".join([answers.start % NONCE, *stamped, answers.end])


@BOTH
async def test_every_chunk_of_a_paced_stream_tells_how_long_it_was_on_its_way(marks: Marks) -> None:
    async with serving() as port:
        outcome = await hold_streams(_target(port, "mock-stream-10-100", marks), count=3, ramp=0.0)
    assert (outcome.answered, outcome.failed) == (3, 0), outcome.first_failure
    assert len(outcome.first_events) == len(outcome.spans) == 3
    assert len(outcome.transits) == 27
    assert all(0 <= transit < 1 for transit in outcome.transits)
    # The first paced chunk comes after at most a period, the others a period apart.
    assert all(0.07 < span < 1 for span in outcome.spans)


async def test_one_looks_twice_while_all_streams_are_open() -> None:
    looks: list[float] = []
    async with serving() as port:
        target = _target(port, "mock-stream-40-100")
        outcome = await hold_streams(target, count=2, ramp=0.01, look=lambda: looks.append(time.perf_counter()))
        end = time.perf_counter()
    assert outcome.answered == 2
    first, second = looks
    assert end - outcome.seconds + 0.01 < first < second < end


async def test_streams_that_do_not_end_count_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "OVERTIME", 0.1)
    endless = Pacer(99, event=CHAT_ANSWERS.text, end=b"")
    monkeypatch.setattr(upstream, "pacer_of", lambda answers, rate: endless)
    async with serving() as port:
        outcome = await hold_streams(_target(port, "mock-stream-3-99"), count=2, ramp=0.0)
    assert (outcome.answered, outcome.failed) == (0, 2)


@BOTH
async def test_a_burst_is_counted_once_its_end_mark_has_come(marks: Marks) -> None:
    async with serving() as port:
        outcome = await saturate(_target(port, "mock-stream-200-0", marks), connections=2, seconds=0.05)
    assert outcome.answered >= 2
    assert outcome.failed == 0
    assert len(outcome.first_events) == outcome.answered


async def test_streams_at_a_fixed_rate_tell_when_their_first_event_came() -> None:
    async with serving() as port:
        outcome = await pace(_target(port, "mock-stream-2-100"), rate=50, seconds=0.2, connections=4)
    assert outcome.answered == len(outcome.first_events) == 10
    assert outcome.warm_ups == 4
    assert all(0 < first < 1 for first in outcome.first_events)


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
@pytest.mark.parametrize("is_paced", [True, False])
@BOTH
def test_an_answer_may_be_cut_anywhere(size: int, marks: Marks, *, is_paced: bool) -> None:
    answer = _paced(5, answers=ANSWERS[marks]) if is_paced else _burst(5, answers=ANSWERS[marks])
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    outcome, freed = _read(*pieces, chunks=5, is_paced=is_paced, marks=marks)
    assert (outcome.answered, outcome.failed, freed) == (1, 0, 1), outcome.first_failure
    assert len(outcome.first_events) == 1
    assert len(outcome.transits) == (4 if is_paced else 0)


@BOTH
def test_chunks_of_http_need_not_be_whole_events(marks: Marks) -> None:
    head, _, body = _burst(5, answers=ANSWERS[marks]).partition(b"\r\n\r\n")
    content = dechunk(body)
    middle = content.index(marks.content) + 4
    frames = http_chunk(content[:middle]) + http_chunk(content[middle:]) + b"0\r\n\r\n"
    outcome, _ = _read(head + b"\r\n\r\n" + frames, chunks=5, is_paced=False, marks=marks)
    assert (outcome.answered, outcome.failed) == (1, 0)


@BOTH
@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda answers: _burst(4, answers=answers), "4 chunks of 5"),
        (lambda answers: _burst(5, nonce=b"000000000008", answers=answers), "another nonce"),
        (lambda answers: (answers.whole % NONCE).replace(b"200 OK", b"429 Too Many Requests"), "429"),
    ],
)
def test_an_answer_that_is_not_whole_or_not_ours_is_wrong(
    make: Callable[[Answers], bytes], fault: str, marks: Marks
) -> None:
    outcome, freed = _read(make(ANSWERS[marks]), chunks=5, is_paced=False, marks=marks)
    assert (outcome.answered, outcome.failed, freed) == (0, 1, 1)
    assert fault in outcome.first_failure


@BOTH
def test_an_answer_without_its_last_event_is_not_over(marks: Marks) -> None:
    last = marks.done + b"\n"
    answer = _burst(5, answers=ANSWERS[marks]).replace(last, b"x" * len(last))
    outcome, freed = _read(answer, chunks=5, is_paced=False, marks=marks)
    assert (outcome.answered, outcome.failed, freed) == (0, 0, 0)


async def test_the_streams_of_a_pacer_do_not_all_send_in_the_same_moment() -> None:
    pacer = Pacer(50, event=b"%s", end=b"end")
    wires = [Wire() for _ in range(PHASES + 1)]
    for wire in wires:
        pacer.add(wire, 2)
    while not all(wire.written[-1:] == [b"end"] for wire in wires):
        await asyncio.sleep(0.005)
    assert all(len(wire.written) == 3 for wire in wires)
    moments = {wire.written[0] for wire in wires}
    assert len(moments) == PHASES  # the first and the last share one
    assert pacer.timer is None


async def test_a_stream_without_further_chunks_ends_at_once_and_one_whose_reader_left_gets_nothing() -> None:
    pacer = Pacer(100, event=b"%s", end=b"end")
    short, left, stays = Wire(), Wire(), Wire()
    pacer.add(short, 0)
    assert short.written == [b"end"]
    pacer.add(left, 3)
    pacer.add(stays, 3)
    pacer.drop(left)
    while stays.written[-1:] != [b"end"]:
        await asyncio.sleep(0.005)
    assert left.written == []
    assert len(stays.written) == 4
