"""A conversation of three turns with thinking and parallel tools: what a client gets, sent back, is what the upstream wrote."""

import json
from typing import Any

from gateway.protocols.openai_fold import fold_chunks
from gateway.translate.chat_over_messages import chat_answer_from_message
from tests.gateway.translate.chat_calls import (
    LABELS,
    block,
    body_of,
    closing,
    opening,
    payloads_in,
    request_of,
    stream_of,
)

TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}}},
    {"type": "function", "function": {"name": "clock"}},
]
FIELDS: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low", "max_tokens": 8_192, "temperature": 0.2}
QUESTION = {"role": "user", "content": "Weather and time in SF?"}

#: What the upstream writes in its first turn, whole, and in its second, streamed.
FIRST = [
    {"type": "thinking", "thinking": "I need both.", "signature": "sig-1"},
    {"type": "redacted_thinking", "data": "secret-1"},
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "SF"}},
    {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
]
SECOND = [
    opening(),
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Tomorrow "},
        {"type": "thinking_delta", "thinking": "too."},
        {"type": "signature_delta", "signature": "sig-2"},
    ),
    *block(
        1,
        {"type": "tool_use", "id": "toolu_3", "name": "weather", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"city":"SF",'},
        {"type": "input_json_delta", "partial_json": '"day":1}'},
    ),
    *closing("tool_use"),
]

#: What the upstream is to get, written by hand.
SETTINGS = {
    "model": "upstream-model",
    "max_tokens": 8_192,
    "tools": [
        {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}},
        {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
    ],
    "thinking": {"type": "enabled", "budget_tokens": 4_096},
}
SECOND_TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "Weather and time in SF?"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "I need both.", "signature": "sig-1"},
            {"type": "redacted_thinking", "data": "secret-1"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "SF"}},
            {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "fog"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "noon"},
        ],
    },
]
THIRD_TURNS = [
    *SECOND_TURNS,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Tomorrow too.", "signature": "sig-2"},
            {"type": "tool_use", "id": "toolu_3", "name": "weather", "input": {"city": "SF", "day": 1}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_3", "content": "sun"},
            {"type": "text", "text": "And be brief."},
        ],
    },
]


def test_thinking_and_tools_survive_three_turns() -> None:
    whole = json.dumps({"type": "message", "content": FIRST, "stop_reason": "tool_use"}).encode()
    first = json.loads(chat_answer_from_message(whole, request_of(), LABELS).body)["choices"][0]["message"]
    results = [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "fog"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
    ]
    assert body_of(messages=[QUESTION, first, *results], **FIELDS) == {**SETTINGS, "messages": SECOND_TURNS}

    stream = stream_of()
    chunks = [chunk for payload in SECOND for chunk in payloads_in(stream.feed(payload))]
    second = fold_chunks(chunks)["choices"][0]["message"]
    more = [{"role": "tool", "tool_call_id": "toolu_3", "content": "sun"}, {"role": "user", "content": "And be brief."}]
    third = body_of(messages=[QUESTION, first, *results, second, *more], **FIELDS)
    assert third == {**SETTINGS, "messages": THIRD_TURNS}


def test_a_client_that_keeps_no_details_gets_its_answer_without_thinking() -> None:
    calls = [{"id": "toolu_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]
    forgetful = {"role": "assistant", "content": "Let me look.", "reasoning_content": "Hm.", "tool_calls": calls}
    answered = {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"}
    body = body_of(messages=[QUESTION, forgetful, answered], **FIELDS)
    assert "thinking" not in body
    assert body["temperature"] == 0.2
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
    ]
