"""Whole Messages answers as chat completions."""

import json
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.answers import WholeAnswer
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.chat_over_messages import chat_answer_from_message
from tests.gateway.translate.chat_calls import LABELS, request_of, text

FORMAT = "anthropic-claude-v1"


def answer_of(*content: Any, functions: bool = False, **fields: Any) -> WholeAnswer:
    message = {
        "id": "msg_theirs",
        "type": "message",
        "role": "assistant",
        "model": "claude-secret",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **fields,
    }
    request = request_of(functions=[{"name": "f"}]) if functions else request_of()
    return chat_answer_from_message(json.dumps(message).encode(), request, LABELS)


def choice_of(*content: Any, **fields: Any) -> Any:
    return json.loads(answer_of(*content, **fields).body)["choices"][0]


def failure_of(body: bytes) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        chat_answer_from_message(body, request_of(), LABELS)
    return caught.value


def test_a_text_is_a_completion() -> None:
    answer = answer_of(text("Hi "), text("é"))
    assert json.loads(answer.body) == {
        "id": "chatcmpl-ours",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "public",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi é"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    assert (answer.usage, answer.flags) == (TokenUsage(input=10, output=5), frozenset())
    assert (answer.has_output, answer.output_bytes) == (True, 5)
    assert answer.estimated_usage() == TokenUsage(input=7, output=2)


def test_thinking_and_tools_have_their_places() -> None:
    choice = choice_of(
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "xx"},
        text("Let me look."),
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.0}},
        {"type": "thinking", "thinking": "so", "signature": "s2"},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        stop_reason="tool_use",
    )
    assert choice == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning_content": "hmso",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "s1", "format": FORMAT, "index": 0},
                {"type": "reasoning.encrypted", "data": "xx", "format": FORMAT, "index": 1},
                {"type": "reasoning.text", "text": "so", "signature": "s2", "format": FORMAT, "index": 2},
            ],
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1.0}'}},
                {"id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        "finish_reason": "tool_calls",
    }


def test_without_text_there_is_no_content() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    assert choice_of(call)["message"]["content"] is None
    assert choice_of()["message"] == {"role": "assistant", "content": None}


def test_a_client_of_the_older_form_gets_its_one_call_so() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    choice = choice_of(call, stop_reason="tool_use", functions=True)
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": '{"a": 1}'},
    }
    assert choice["finish_reason"] == "function_call"
    assert choice_of(text("a"), functions=True)["finish_reason"] == "stop"
    with pytest.raises(UpstreamFailure):
        answer_of(call, call, functions=True)


def test_citations_of_the_web_are_annotations() -> None:
    cited = [
        {"type": "web_search_result_location", "url": "https://a.test", "title": "A"},
        {"type": "char_location"},
        5,
    ]
    assert choice_of(text("Né. "), text("So.", citations=cited))["message"]["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 4, "end_index": 7, "url": "https://a.test", "title": "A"},
        }
    ]
    assert "annotations" not in choice_of(text("a", citations=None), text("b", citations="?"))["message"]


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        (None, "stop"),
    ],
)
def test_each_stop_reason_has_its_finish_reason(stop_reason: str | None, finish_reason: str) -> None:
    assert choice_of(text("a"), stop_reason=stop_reason)["finish_reason"] == finish_reason


def test_usage_counts_the_cache_and_the_reasoning() -> None:
    answer = answer_of(
        text("a"),
        usage={
            "input_tokens": 10,
            "cache_read_input_tokens": 30,
            "cache_creation_input_tokens": 4,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 20},
        },
    )
    assert answer.usage == TokenUsage(input=10, cache_read=30, cache_write=4, output=50, reasoning=20)
    assert json.loads(answer.body)["usage"] == {
        "prompt_tokens": 44,
        "completion_tokens": 50,
        "total_tokens": 94,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }


def test_usage_that_nobody_reported_is_not_told() -> None:
    answer = answer_of(text("a"), usage=None)
    assert "usage" not in json.loads(answer.body)
    assert (answer.usage, answer.has_output) == (None, True)
    assert not answer_of(usage=None).has_output


def test_usage_that_is_nonsense_is_put_right_and_flagged() -> None:
    answer = answer_of(text("12345678"), usage={"input_tokens": -3, "output_tokens": 0})
    assert answer.usage == TokenUsage(output=2)
    assert answer.flags == {"usage_clamped", "usage_zero_output"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.INVALID),
        (b"<html>", FailureKind.INVALID),
        (b"[]", FailureKind.INVALID),
        (b"{}", FailureKind.INVALID),
        (b'{"content":"text"}', FailureKind.INVALID),
        (b'{"content":[{"type":"text","text":"\xff"}]}', FailureKind.INVALID),
        (b'{"content":[{"type":"server_tool_use","id":"a","name":"b"}]}', FailureKind.INVALID),
        (b'{"content":[{"type":"tool_use","name":"b"}]}', FailureKind.INVALID),
        (b'{"content":[5]}', FailureKind.INVALID),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}', FailureKind.RATE_LIMITED),
        (b'{"error":"out of order"}', FailureKind.SERVER_ERROR),
        (b'{"type":"error"}', FailureKind.SERVER_ERROR),
    ],
)
def test_what_is_no_answer_is_a_failure(body: bytes, kind: FailureKind) -> None:
    assert failure_of(body).kind is kind


def test_nothing_of_the_upstream_is_told() -> None:
    body = answer_of(text("a"), container={"id": "theirs"}, usage={"input_tokens": 1, "inference_geo": "theirs"}).body
    assert b"theirs" not in body
    assert b"secret" not in body
