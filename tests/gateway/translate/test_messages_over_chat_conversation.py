"""Whole conversations: three turns with thinking and parallel tools on three kinds of upstream, each body written by hand."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from gateway.protocols.anthropic_fold import fold_events
from gateway.protocols.generation import Target
from gateway.protocols.sse import SseParser
from gateway.translate.messages_over_chat import PAIR, MessagesOverChat
from gateway.types import Profile
from tests.gateway.translate.chat_answers import BILLED, CALLS, LABELS, call, chunk, messages_request, usage

ROUTER = Profile(takes_reasoning_details=True, reads_both_fields=True)
SWITCHED = Profile(takes_reasoning_back=True, reasoning="thinking")
PLAIN = Profile(max_tokens_field="max_completion_tokens")

TOOLS = [
    {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
    {"name": "get_time", "input_schema": {"type": "object"}, "strict": True},
]
FUNCTIONS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}, "strict": True}},
]
QUESTION = "How is Rome?"
FIRST_STREAM = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning": "I need ", "reasoning_details": [{"type": "reasoning.text", "text": "I need ", "index": 0}]}),
    chunk({"reasoning": "both.", "reasoning_details": [{"type": "reasoning.text", "text": "both.", "index": 0}]}),
    chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "sig1", "index": 0}]}),
    chunk({"content": "Let me "}),
    chunk({"content": "look."}),
    call("", "get_weather", "call_a", 0),
    call("", "get_time", "call_b", 1),
    call('{"ci', index=0),
    call("{", index=1),
    call('ty":"Rome"}', index=0),
    call("}", index=1),
    CALLS,
    usage(),
]
FIRST_DETAILS = [{"type": "reasoning.text", "text": "I need both.", "index": 0, "signature": "sig1"}]
SECOND_WHOLE = {
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Sunny at noon. Shall I look at Oslo?",
                "reasoning": "Both are there.",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "Both are there.", "index": 0},
                    {"type": "reasoning.encrypted", "data": "opaque", "index": 1},
                ],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26},
}
SECOND_DETAILS = [
    {"type": "reasoning.summary", "summary": "Both are there.", "index": 0},
    {"type": "reasoning.encrypted", "data": "opaque", "index": 1},
]


def signed(details: list[dict[str, Any]]) -> str:
    """Return the signature that holds these details, made by hand."""
    packed = json.dumps({"details": details}, separators=(",", ":")).encode()
    return "lumyx.1." + urlsafe_b64encode(packed).decode().rstrip("=")


def asked(messages: list[Any], profile: Profile) -> dict[str, Any]:
    """Return the body for a turn of the conversation."""
    fields = {"system": "Be brief.", "tools": TOOLS, "thinking": {"type": "adaptive"}, "stream": True}
    body: dict[str, Any] = json.loads(PAIR.body(messages_request(messages=messages, **fields), Target("up", profile)))
    return body


def first_answer() -> dict[str, Any]:
    """Return what a client makes of the first stream."""
    stream = MessagesOverChat(messages_request(stream=True), LABELS)
    raw = b"".join([stream.feed(payload) for payload in FIRST_STREAM])
    return fold_events(SseParser().feed(raw + stream.end(BILLED)))


def second_answer() -> dict[str, Any]:
    """Return the second answer, which came whole."""
    whole: dict[str, Any] = json.loads(PAIR.whole(json.dumps(SECOND_WHOLE).encode(), messages_request(), LABELS).body)
    return whole


#: Beside the text of the first and of the second answer: what each upstream gets back of their thinking.
THOUGHTS: list[tuple[Profile, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        ROUTER,
        {"max_tokens": 1000, "reasoning_effort": "medium"},
        {"reasoning_details": FIRST_DETAILS},
        {"reasoning_details": SECOND_DETAILS},
    ),
    (
        SWITCHED,
        {"max_tokens": 1000, "thinking": {"type": "enabled"}},
        {"reasoning_content": "I need both."},
        {"reasoning_content": "Both are there."},
    ),
    (PLAIN, {"max_completion_tokens": 1000, "reasoning_effort": "medium"}, {}, {}),
]


def test_the_first_two_answers_are_what_a_client_reads() -> None:
    first, second = first_answer(), second_answer()
    assert first["content"] == [
        {"type": "thinking", "thinking": "I need both.", "signature": signed(FIRST_DETAILS)},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_a", "name": "get_weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "call_b", "name": "get_time", "input": {}},
    ]
    assert (first["stop_reason"], second["stop_reason"]) == ("tool_use", "end_turn")
    assert second["content"] == [
        {"type": "thinking", "thinking": "Both are there.", "signature": signed(SECOND_DETAILS)},
        {"type": "text", "text": "Sunny at noon. Shall I look at Oslo?"},
    ]


@pytest.mark.parametrize(("profile", "knobs", "first_thought", "second_thought"), THOUGHTS)
def test_three_turns_with_thinking_and_parallel_tools(
    profile: Profile, knobs: dict[str, Any], first_thought: dict[str, Any], second_thought: dict[str, Any]
) -> None:
    fixed = {"model": "up", "tools": FUNCTIONS, "stream": True, "stream_options": {"include_usage": True}, **knobs}
    told: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How is Rome?"},
    ]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    assert asked(messages, profile) == {**fixed, "messages": told}

    results = [
        {"type": "tool_result", "tool_use_id": "call_b", "content": "noon"},
        {
            "type": "tool_result",
            "tool_use_id": "call_a",
            "content": [{"type": "text", "text": "sun"}],
            "is_error": False,
        },
    ]
    messages += [{"role": "assistant", "content": first_answer()["content"]}, {"role": "user", "content": results}]
    told += [
        {
            "role": "assistant",
            "content": "Let me look.",
            **first_thought,
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
                },
                {"id": "call_b", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
        {"role": "tool", "tool_call_id": "call_a", "content": "sun"},
    ]
    assert asked(messages, profile) == {**fixed, "messages": told}

    messages += [{"role": "assistant", "content": second_answer()["content"]}, {"role": "user", "content": "Yes."}]
    told += [
        {"role": "assistant", "content": "Sunny at noon. Shall I look at Oslo?", **second_thought},
        {"role": "user", "content": "Yes."},
    ]
    assert asked(messages, profile) == {**fixed, "messages": told}
