"""Whole chat answers as messages: every part in its place, usage as it is billed, and no answer where there is none."""

import json
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.answers import WholeAnswer
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.messages_over_chat import PAIR
from tests.gateway.translate.chat_answers import BILLED, LABELS, TOLD, messages_request

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
BARE = "lumyx.1.e30"
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1.0}'}}
USE = {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1.0}}


def answered(body: bytes, **fields: Any) -> WholeAnswer:
    """Return what is made of the body of an answer."""
    return PAIR.whole(body, messages_request(**fields), LABELS)


def whole(message: Any, finish_reason: Any = "stop", *, choice: Any = None, **top: Any) -> bytes:
    """Return the body of a whole chat answer."""
    fields = {"index": 0, "message": message, "finish_reason": finish_reason, **(choice or {})}
    head = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "secret/model"}
    return json.dumps({**head, "choices": [fields], "usage": USAGE, **top}).encode()


def content(message: Any, finish_reason: Any = "stop") -> Any:
    """Return the content that a chat message becomes."""
    return json.loads(answered(whole(message, finish_reason)).body)["content"]


def test_an_answer_is_a_message() -> None:
    body = whole({"role": "assistant", "content": "Hé", "refusal": None, "annotations": []}, provider="Host")
    answer = answered(body)
    assert json.loads(answer.body) == {
        "id": "msg_ours",
        "type": "message",
        "role": "assistant",
        "model": "lumyx-plus_v1",
        "content": [{"type": "text", "text": "Hé"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": TOLD,
    }
    assert (answer.usage, answer.flags, answer.has_output, answer.output_bytes) == (BILLED, frozenset(), True, 3)


def test_reasoning_text_and_calls_are_blocks_in_this_order() -> None:
    message = {"tool_calls": [CALL, {**CALL, "id": "call_2"}], "content": "Yes", "reasoning_content": "Hm"}
    assert content(message, "tool_calls") == [
        {"type": "thinking", "thinking": "Hm", "signature": BARE},
        {"type": "text", "text": "Yes"},
        USE,
        {**USE, "id": "call_2"},
    ]


def test_numbers_in_arguments_stay_as_they_were_written() -> None:
    assert b'"input":{"a": 1.0}' in answered(whole({"tool_calls": [CALL]}, "tool_calls")).body


@pytest.mark.parametrize(
    ("arguments", "given"),
    [("", {}), ("null", {}), (None, {}), ("{}", {}), ({"a": 1}, {"a": 1}), (' {"a":1} ', {"a": 1})],
)
def test_arguments_are_an_object_however_they_came(arguments: Any, given: Any) -> None:
    call = {"id": "call_1", "function": {"name": "f", "arguments": arguments}}
    assert content({"tool_calls": [call]}, "tool_calls") == [
        {"type": "tool_use", "id": "call_1", "name": "f", "input": given}
    ]


def test_arguments_that_were_cut_stand_under_a_name_that_says_so() -> None:
    call = {"id": "call_1", "function": {"name": "f", "arguments": '{"a":'}}
    answer = json.loads(answered(whole({"tool_calls": [call]}, "length")).body)
    assert answer["content"][0]["input"] == {"INVALID_JSON": '{"a":'}
    assert answer["stop_reason"] == "max_tokens"


def test_details_without_text_sign_a_block_of_thinking() -> None:
    details = [
        {"type": "reasoning.encrypted", "data": "Enc", "id": "rs_1", "format": "openai-responses-v1", "index": 0}
    ]
    told = content({"content": "Yes", "reasoning_details": details})
    assert (told[0]["type"], told[0]["thinking"], told[0]["signature"][:8]) == ("thinking", "", "lumyx.1.")
    assert told[1] == {"type": "text", "text": "Yes"}


def test_a_refusal_and_what_cannot_be_told_are_text() -> None:
    message = {"content": None, "refusal": "I cannot.", "images": [{"type": "image_url"}]}
    answer = json.loads(answered(whole(message)).body)
    assert answer["content"] == [
        {"type": "text", "text": "I cannot."},
        {"type": "text", "text": "[The model made an image here, which the Messages protocol cannot carry.]"},
    ]
    assert answer["stop_reason"] == "refusal"


def test_the_stop_sequence_is_told() -> None:
    body = whole({"content": "a"}, choice={"stop_reason": "END"})
    told = json.loads(answered(body, stop_sequences=["END"]).body)
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": ""}, None])
def test_an_empty_answer_has_no_content(message: Any) -> None:
    answer = answered(whole(message))
    assert json.loads(answer.body)["content"] == []
    assert answer.has_output  # five tokens were counted
    assert not answered(whole(message, usage=None)).has_output


def test_an_answer_without_usage_is_counted_by_us() -> None:
    answer = answered(whole({"content": "abcdefgh"}, usage=None))
    assert answer.usage is None
    assert answer.estimated_usage() == TokenUsage(input=9, output=2)
    assert json.loads(answer.body)["usage"] == {**TOLD, "input_tokens": 9, "output_tokens": 2}


def test_usage_is_disjoint_and_put_right() -> None:
    counts = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    answer = answered(whole({"content": "a"}, usage=counts))
    assert answer.usage == TokenUsage(input=6, cache_read=4, output=5, reasoning=2)
    assert json.loads(answer.body)["usage"] == {
        "input_tokens": 6,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    clamped = answered(whole({"content": "abcd"}, usage={"prompt_tokens": 3, "completion_tokens": 0}))
    assert (clamped.usage, clamped.flags) == (TokenUsage(input=3, output=1), frozenset({"usage_zero_output"}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":[5]}',
        b'{"choices":[{"message":"x"}]}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        whole({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{'a'}"}}]}, "tool_calls"),
        whole({"tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]}, "tool_calls"),
    ],
)
def test_what_is_no_answer_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        answered(body)
    assert (caught.value.kind, caught.value.produced) == (FailureKind.INVALID, False)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":{"message":"boom"}}', FailureKind.SERVER_ERROR),
        (whole({"content": "a"}, choice={"error": {"code": 429}}), FailureKind.RATE_LIMITED),
        (whole({"content": "a"}, "error"), FailureKind.SERVER_ERROR),
    ],
)
def test_an_error_is_a_failure(body: bytes, kind: FailureKind) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        answered(body)
    assert (caught.value.kind, caught.value.produced) == (kind, False)
