"""Answers in the forms of many providers, played through the chat relay: what a client reads is what was written down."""

from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import ChunkRelay, relay_whole
from gateway.protocols.sse import SseParser
from tests import recordings
from tests.reading import Reading, read_chat_stream, read_chat_whole
from tests.recordings import Recording

NAMES = recordings.names(recordings.CHAT)
SOUND = [name for name in NAMES if not recordings.load(name).fails]
BROKEN = [name for name in NAMES if recordings.load(name).fails and recordings.load(name).status == 200]


def _payloads(recording: Recording, piece: int) -> list[bytes]:
    parser = SseParser()
    body, payloads = recording.body, []
    for at in range(0, len(body), piece):
        payloads += parser.feed(body[at : at + piece])
    return payloads + parser.finish()


def play(recording: Recording, *, include_usage: bool = True, piece: int = 1 << 16) -> tuple[Reading, ChunkRelay]:
    """Return what a client reads of a recorded stream, and the relay that it went through."""
    relay = ChunkRelay("chatcmpl-ours", "public/model", include_usage)
    out = b""
    for payload in _payloads(recording, piece):
        if payload == b"[DONE]":
            out += b"data: [DONE]\n\n"
            break
        try:
            told = relay.feed(payload)
        except UpstreamFailure as failure:
            failure.add_note(out.decode())
            raise
        out += b"data: " + told + b"\n\n" if told else b""
    return read_chat_stream(out, usage_asked=include_usage), relay


def assert_matches(seen: Reading, case: dict[str, Any]) -> None:
    """Check what a client read against what was written down."""
    assert seen.text == case["text"]
    assert seen.reasoning == case.get("reasoning", "")
    assert seen.refusal == case.get("refusal", "")
    assert seen.tools == case.get("tools", [])
    assert seen.finish == case["finish"]
    assert seen.signatures == case.get("signatures", [])
    assert seen.redacted == case.get("redacted", [])
    assert (seen.id, seen.model) == ("chatcmpl-ours", "public/model")


def usage_in(case: dict[str, Any]) -> TokenUsage | None:
    """Return the expected usage."""
    return None if case["usage"] is None else TokenUsage(**case["usage"])


@pytest.mark.parametrize("piece", [1 << 16, 7])
@pytest.mark.parametrize("name", [name for name in SOUND if recordings.load(name).is_stream])
def test_a_recorded_stream_is_read_as_written_down(name: str, piece: int) -> None:
    recording = recordings.load(name)
    seen, relay = play(recording, piece=piece)
    assert_matches(seen, recording.case)
    assert seen.complete
    assert relay.finished
    assert relay.started == bool(recording.case["text"] or recording.case.get("tools"))
    assert relay.final_usage() == usage_in(recording.case)
    assert relay.flags == frozenset(recording.case.get("flags", []))


@pytest.mark.parametrize("name", [name for name in SOUND if recordings.load(name).is_stream])
def test_usage_that_was_not_asked_for_stays_out(name: str) -> None:
    recording = recordings.load(name)
    seen, relay = play(recording, include_usage=False)
    assert_matches(seen, recording.case)
    assert seen.usage is None
    assert relay.final_usage() == usage_in(recording.case)


@pytest.mark.parametrize("name", [name for name in SOUND if not recordings.load(name).is_stream])
def test_a_recorded_whole_answer_is_read_as_written_down(name: str) -> None:
    recording = recordings.load(name)
    answer = relay_whole(recording.body, response_id="chatcmpl-ours", model="public/model")
    assert_matches(read_chat_whole(answer.body), recording.case)
    assert answer.usage == usage_in(recording.case)
    assert answer.flags == frozenset(recording.case.get("flags", []))
    assert answer.has_output


@pytest.mark.parametrize("name", BROKEN)
def test_a_recorded_failure_is_a_failure_after_what_had_come(name: str) -> None:
    recording = recordings.load(name)
    wanted, text = FailureKind(recording.case["failure"]), recording.case.get("text", "")
    if not recording.is_stream:
        with pytest.raises(UpstreamFailure) as caught:
            relay_whole(recording.body, response_id="chatcmpl-ours", model="public/model")
        assert caught.value.kind is wanted
        assert not caught.value.produced
    elif wanted in (FailureKind.CUT, FailureKind.TIMEOUT):
        seen, relay = play(recording)
        assert (seen.text, seen.complete, relay.finished) == (text, False, False)
    else:
        with pytest.raises(UpstreamFailure) as caught:
            play(recording)
        assert caught.value.kind is wanted
        assert caught.value.produced
        (so_far,) = caught.value.__notes__
        assert read_chat_stream(so_far.encode()).text == text


def test_there_are_enough_recordings_and_each_is_complete() -> None:
    everything = [
        recordings.load(name) for kind in (recordings.CHAT, recordings.MESSAGES) for name in recordings.names(kind)
    ]
    assert len(everything) >= 60
    for recording in everything:
        assert recording.case["provider"]
        assert recording.case["what"]
        assert recording.fails or {"text", "finish"} <= set(recording.case), recording.name
