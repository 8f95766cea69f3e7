"""Recorded Messages answers, played through the relay: what a client reads is what was written down."""

from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_answer import MessagesRelay, relay_whole_message
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.sse import SseParser
from tests import recordings
from tests.reading import Reading, read_messages_stream, read_messages_whole
from tests.recordings import Recording

NAMES = recordings.names(recordings.MESSAGES)
SOUND = [name for name in NAMES if not recordings.load(name).fails]
BROKEN = [name for name in NAMES if recordings.load(name).fails and recordings.load(name).status == 200]
LABELS = Labels(response_id="msg_ours", model="public/model", created=1, estimated_input=4)
REQUEST = parse_messages_request(b'{"model":"public/model","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}')
#: Where the relay is not right yet, and why. An entry whose test passes fails the run, so that this list cannot grow old.
KNOWN: dict[str, str] = {}


def _cases(*, stream: bool) -> list[Any]:
    found = [name for name in SOUND if recordings.load(name).is_stream == stream]
    marks = {name: pytest.mark.xfail(reason=KNOWN[name], strict=True) for name in KNOWN}
    return [pytest.param(name, marks=marks[name]) if name in marks else name for name in found]


def play(recording: Recording, *, piece: int = 1 << 16) -> tuple[bytes, MessagesRelay]:
    """Return what goes to the client for a recorded stream, up to its end, and the relay that it went through."""
    relay, parser = MessagesRelay(LABELS), SseParser()
    payloads: list[bytes] = []
    for at in range(0, len(recording.body), piece):
        payloads += parser.feed(recording.body[at : at + piece])
    out = b""
    for payload in payloads + parser.finish():
        try:
            out += relay.feed(payload)
        except UpstreamFailure as failure:
            failure.add_note(out.decode())
            raise
    return out, relay


def assert_matches(seen: Reading, case: dict[str, Any]) -> None:
    """Check what a client read against what was written down."""
    assert seen.text == case["text"]
    assert seen.reasoning == case.get("reasoning", "")
    assert seen.tools == case.get("tools", [])
    assert seen.finish == case["stop_reason"]
    assert seen.signatures == case.get("signatures", [])
    assert seen.redacted == case.get("redacted", [])
    assert (seen.id, seen.model) == ("msg_ours", "public/model")


def assert_counts(usage: TokenUsage | None, case: dict[str, Any]) -> None:
    """Check the usage; of a lie it is only asked that it stays within reason."""
    if "lies" not in case:
        assert usage == TokenUsage(**case["usage"])
    elif usage is not None:
        for count in (usage.input, usage.cache_read, usage.cache_write, usage.output):
            assert 0 <= count <= 100_000_000
        assert usage.output > 0, "twelve bytes came out"


@pytest.mark.parametrize("piece", [1 << 16, 7])
@pytest.mark.parametrize("name", _cases(stream=True))
def test_a_recorded_stream_is_read_as_written_down(name: str, piece: int) -> None:
    recording = recordings.load(name)
    out, relay = play(recording, piece=piece)
    assert relay.finished
    assert relay.started
    usage = relay.final_usage()
    assert_counts(usage, recording.case)
    billed = usage or relay.estimated_usage()
    seen = read_messages_stream(out + relay.end(billed))
    assert_matches(seen, recording.case)
    assert seen.complete
    told = seen.classes()
    assert told is not None
    assert TokenUsage(**told) == TokenUsage(billed.input, billed.cache_read, billed.cache_write, billed.output)


@pytest.mark.parametrize("name", _cases(stream=False))
def test_a_recorded_whole_message_is_read_as_written_down(name: str) -> None:
    recording = recordings.load(name)
    answer = relay_whole_message(recording.body, REQUEST, LABELS)
    assert_matches(read_messages_whole(answer.body), recording.case)
    assert_counts(answer.usage, recording.case)
    assert answer.has_output == bool(recording.case["text"] or recording.case.get("tools"))


@pytest.mark.parametrize("name", BROKEN)
def test_a_recorded_failure_is_a_failure_after_what_had_come(name: str) -> None:
    recording = recordings.load(name)
    wanted, text = FailureKind(recording.case["failure"]), recording.case.get("text", "")
    if not recording.is_stream:
        with pytest.raises(UpstreamFailure) as caught:
            relay_whole_message(recording.body, REQUEST, LABELS)
        assert caught.value.kind is wanted
        assert not caught.value.produced
    elif wanted in (FailureKind.CUT, FailureKind.TIMEOUT):
        out, relay = play(recording)
        assert (read_messages_stream(out).text, relay.finished) == (text, False)
    else:
        with pytest.raises(UpstreamFailure) as caught:
            play(recording)
        assert caught.value.kind is wanted
        assert caught.value.produced
        (so_far,) = caught.value.__notes__
        assert read_messages_stream(so_far.encode()).text == text
