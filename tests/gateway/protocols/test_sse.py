"""The parser of event streams: any split of the bytes gives the same events as a slow reading of the standard."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.sse import SseParser


def reference(stream: bytes) -> list[bytes]:
    """Read a stream by the letter of the standard, line by line."""
    stream = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = stream.split(b"\n")[:-1]  # a line without its end is no line yet
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines:
        if line == b"":
            events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            value = line[5:]
            data.append(value[1:] if value.startswith(b" ") else value)
        elif line == b"data":
            data.append(b"")
    return [event for event in events if event]


def parsed(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Feed a stream cut at these places."""
    parser, payloads, at = SseParser(), [], 0
    for cut in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        payloads += parser.feed(stream[at:cut])
        at = cut
    return payloads


bits = st.sampled_from(
    [
        *(
            b"data: ",
            b"data:",
            b"data",
            b'{"a":1}',
            b"x",
            b" ",
            b"\n",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b"\r\n\r\n",
            b"\r\r",
        ),
        *(
            b": ping",
            b":",
            b"event: x",
            b"id: 1",
            b"retry: 5",
            b"\xef\xbb\xbf",
            b"\xef\xbb",
            "é".encode(),
            b"[DONE]",
            b"\x00",
        ),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(bits, max_size=25).map(b"".join), st.lists(st.integers(0, 400), max_size=8))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10, 11])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
@example(b"data: a\r\rdata: b\n\n", [8])
def test_any_split_reads_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    assert parsed(stream, cuts) == reference(stream)


def test_every_single_split_of_a_stream_of_every_kind_of_line() -> None:
    stream = (
        b'\xef\xbb\xbf: hi\n\nevent: message\ndata: {"a": 1}\n\ndata: two\ndata:  lines\r\n\r\n'
        b"data:no space\r\rid: 7\ndata: x\n\n\n\ndata\n\nretry: 10\n\ndata: [DONE]\n\n"
    )
    expected = [b'{"a": 1}', b"two\n lines", b"no space", b"x", b"[DONE]"]
    assert reference(stream) == expected
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert parsed(stream, [first, second]) == expected


def test_many_events_of_one_read_come_as_one_batch() -> None:
    assert SseParser().feed(b"data: {}\n\n" * 200) == [b"{}"] * 200


def test_an_event_is_given_out_with_its_blank_line_and_not_later() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r\n\r") == [b"a"]
    assert parser.feed(b"\ndata: b\n") == []
    assert parser.pending
    assert parser.feed(b"\n") == [b"b"]
    assert not parser.pending


@pytest.mark.parametrize("piece", [1_000, 70_000])
def test_an_event_above_the_cap_is_a_failure_of_the_upstream(piece: int) -> None:
    parser = SseParser(max_event=50_000)

    def feed() -> None:
        for _ in range(1000):
            parser.feed(b"data: " + b"x" * piece)

    with pytest.raises(UpstreamFailure) as caught:
        feed()
    assert caught.value.kind is FailureKind.INVALID


def test_an_event_above_the_cap_that_comes_whole_is_a_failure_too() -> None:
    with pytest.raises(UpstreamFailure):
        SseParser(max_event=100).feed(b"data: " + b"x" * 200 + b"\n\n")


def test_many_small_events_never_reach_the_cap() -> None:
    parser = SseParser(max_event=100)
    assert sum(len(parser.feed(b"data: 123\n\ndata: 4")) + len(parser.feed(b"5\n\n")) for _ in range(500)) == 1000


@pytest.mark.parametrize(
    ("rest", "expected"),
    [(b"data: [DONE]", [b"[DONE]"]), (b"data: {}\n", [b"{}"]), (b'data: {"a', []), (b"", []), (b": bye", [])],
)
def test_the_end_gives_out_a_last_event_only_if_it_is_whole(rest: bytes, expected: list[bytes]) -> None:
    parser = SseParser()
    parser.feed(b"data: first\n\n" + rest)
    assert parser.finish() == expected
    assert parser.finish() == []
