"""Messages answers that break the protocol, or bend it: a failure of the upstream, or put right, and never a crash."""

from typing import Any

import pytest

from gateway.protocols.anthropic_answer import relay_whole_message
from gateway.protocols.failures import FailureKind, UpstreamFailure
from tests.gateway.protocols.test_anthropic_answer import (
    END,
    LABELS,
    REQUEST,
    START,
    STOP,
    STOP_0,
    TEXT,
    adds,
    failure_of,
    fed,
    opens,
    says,
    started,
    whole,
)


@pytest.mark.parametrize(
    "events",
    [
        [START, START],
        [TEXT],
        [says()],
        [STOP_0],
        [END],
        [STOP],
        [{"type": "message_start"}],
        [{"type": "message_start", "message": "x"}],
        [started(content=[{"type": "text", "text": "x"}])],
        [START, says()],
        [START, STOP_0],
        [START, TEXT, TEXT],
        [START, TEXT, STOP_0, TEXT],
        [START, TEXT, STOP_0, STOP_0],
        [START, TEXT, STOP_0, says()],
        [START, TEXT, says(index=1)],
        [START, TEXT, {"type": "content_block_stop", "index": 1}],
        [START, opens({"type": "text", "text": ""}, index=1)],
        [START, opens({"text": ""})],
        [START, opens(None)],
        [START, TEXT, adds(None)],
        [START, TEXT, adds({"text": "x"})],
        [START, TEXT, adds({"type": "text_delta"})],
        [START, TEXT, adds({"type": "text_delta", "text": 5})],
        [START, TEXT, adds({"type": "citations_delta"})],
        [START, TEXT, adds({"type": "input_json_delta", "partial_json": "{}"})],
        [START, TEXT, adds({"type": "thinking_delta", "thinking": "x"})],
        [START, opens({"type": "redacted_thinking", "data": "x"}), says()],
        [START, TEXT, END],
        [START, STOP],
        [START, END, TEXT],
        [START, {"x": 1}],
        [START, TEXT, b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\xff"}}'],
        [START, TEXT, b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"},"x":"\xff"}'],
        [b"garbage"],
        [b""],
        [b"[1]"],
        [b'{"type":"ping","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"],
        [b'{"choices":[{"index":0,"delta":{"content":"Hello"}}]}'],
    ],
)
def test_a_breach_of_the_grammar_is_a_failure_of_the_upstream(events: list[Any]) -> None:
    assert failure_of(*events).kind is FailureKind.INVALID


def test_odd_values_that_are_not_needed_break_nothing() -> None:
    relay, out = fed(
        started(stop_reason=5, usage="many"),
        opens({"type": "text", "text": "", "id": 5}),
        {**says(), "usage": 5},
        {**STOP_0, "message": 5},
        {**END, "message": [1]},
        {**STOP, "index": "x"},
    )
    assert relay.finished
    assert b"Hello" in out


def test_a_failure_says_whether_content_had_come_out() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert not failure_of(START, TEXT, error).produced
    for last in (error, b"garbage", START):
        failure = failure_of(START, TEXT, says(), last)
        assert failure.produced
        assert not failure.may_retry


def test_an_error_inside_of_any_event_is_a_failure() -> None:
    assert (
        failure_of(START, TEXT, {**says(), "error": {"type": "api_error", "message": "x"}}).kind
        is FailureKind.SERVER_ERROR
    )


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": ["odd"]}],
        [{"type": "tool_use", "id": 5, "name": "f", "input": {}}],
        ["odd"],
        [{"type": "hologram", "content": "x"}],
    ],
)
def test_output_in_an_odd_shape_is_output_all_the_same(content: Any) -> None:
    assert whole(content=content).has_output


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"content":null}',
        b'{"content":"x"}',
        b'{"content":[],"x":"\xff"}',
        b'{"choices":[]}',
    ],
)
def test_what_is_no_message_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        relay_whole_message(body, REQUEST, LABELS)
    assert caught.value.kind is FailureKind.INVALID


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        b'{"error":{"type":"overloaded_error","message":"Overloaded"}}',
    ],
)
def test_an_error_that_comes_with_status_200_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        relay_whole_message(body, REQUEST, LABELS)
    assert caught.value.kind is FailureKind.RATE_LIMITED
