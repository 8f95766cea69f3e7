"""The strict upstream refuses what the real providers refuse, and takes what they take."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import recordings
from tests.fakes.scenarios import SCENARIOS
from tests.fakes.signing import REDACTED, signature_of
from tests.fakes.strict import CREDENTIAL, StrictUpstream
from tests.reading import read_chat_stream, read_chat_whole, read_messages_stream, read_messages_whole

CHAT_HEADERS = {"authorization": f"Bearer {CREDENTIAL}"}
MESSAGES_HEADERS = {"x-api-key": CREDENTIAL, "anthropic-version": "2023-06-01"}
#: One client: each new one would load the certificates of the world.
CLIENT = httpx.Client(trust_env=False)
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OPEN_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
USED = {"role": "assistant", "content": [USE]}
USE_RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
THINKING = {"type": "enabled", "budget_tokens": 1024}
OWN_TOOL = {"name": "f", "input_schema": {"type": "object"}}
TEXT = {"type": "text", "text": "x"}


@pytest.fixture(scope="module")
def strict() -> Iterator[StrictUpstream]:
    """A running server."""
    with StrictUpstream() as server:
        yield server


def _chat(strict: StrictUpstream, **body: Any) -> httpx.Response:
    whole = {"model": "m", "messages": [USER], **body}
    return CLIENT.post(f"{strict.chat_url}/chat/completions", json=whole, headers=CHAT_HEADERS)


def _messages(strict: StrictUpstream, **body: Any) -> httpx.Response:
    whole = {"model": "m", "max_tokens": 2000, "messages": [USER], **body}
    sent = {name: value for name, value in whole.items() if value != "absent"}
    return CLIENT.post(f"{strict.messages_url}/v1/messages", json=sent, headers=MESSAGES_HEADERS)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"top_k": 5}, "Unknown parameter: 'top_k'"),
        ({"thinking": THINKING}, "Unknown parameter: 'thinking'"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "at the same time"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream'"),
        ({"tool_choice": "auto"}, "only allowed when 'tools'"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "does not name one"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "Unknown parameter: 'tools[0].name'"),
        ({"messages": [USER, RESULT]}, "must be a response to a preceeding message"),
        ({"messages": [USER, CALLED, USER]}, "did not have response messages: c1"),
        ({"messages": [USER, CALLED]}, "must be followed by tool messages"),
        ({"messages": [USER, {**CALLED, "tool_calls": [CALL, CALL]}, RESULT]}, "Duplicate value"),
        ({"messages": [USER, {**CALLED, "reasoning_content": "x"}, RESULT]}, "messages[1].reasoning_content"),
        ({"messages": [{"role": "user", "content": [{**TEXT, "cache_control": {}}]}]}, "cache_control"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "Invalid value: 'image'"),
        ({"messages": [{"role": "human", "content": "x"}]}, "Invalid value: 'human'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "json_schema.name"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": OPEN_SCHEMA},
                }
            },
            "additionalProperties",
        ),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "array too long"),
    ],
)
def test_chat_refuses_in_its_providers_words(strict: StrictUpstream, body: dict[str, Any], words: str) -> None:
    answer = _chat(strict, **body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert words in strict.refusals[-1].message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"max_tokens": "absent"}, "max_tokens: Field required"),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "assistant", "content": "x"}, USER]}, 'first message must use the "user" role'),
        ({"messages": [USER, {"role": "assistant", "content": "x "}]}, "trailing whitespace"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "must be non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-whitespace"),
        ({"system": [{"type": "text", "text": ""}]}, "must be non-empty"),
        ({"messages": [USER, USED, USER]}, "without `tool_result` blocks immediately after"),
        ({"messages": [USER, USED, {"role": "user", "content": [TEXT, USE_RESULT]}]}, "immediately after"),
        ({"messages": [{"role": "user", "content": [USE_RESULT]}]}, "unexpected `tool_use_id`"),
        ({"messages": [USER, USED, {"role": "user", "content": [USE_RESULT, USE_RESULT]}]}, "single result"),
        ({"messages": [USER, {"role": "assistant", "content": [USE, USE]}]}, "ids must be unique"),
        ({"messages": [USER, {"role": "assistant", "content": [{**USE, "id": "a:b"}]}]}, "should match pattern"),
        (
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}]},
                ]
            },
            "Invalid `signature` in `thinking` block",
        ),
        ({"thinking": THINKING, "max_tokens": 1024}, "must be greater than `thinking.budget_tokens`"),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "greater than or equal to 1024"),
        ({"thinking": THINKING, "temperature": 0.7}, "`temperature` may only be set to 1"),
        ({"thinking": THINKING, "top_k": 4}, "`top_k` must be unset"),
        ({"thinking": THINKING, "tools": [OWN_TOOL], "tool_choice": {"type": "any"}}, "Thinking may not be enabled"),
        (
            {"thinking": THINKING, "messages": [USER, USED, {"role": "user", "content": [USE_RESULT]}]},
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
        ({"tools": [TOOL]}, "Extra inputs are not permitted"),
        ({"output_config": {"format": {"type": "json_schema", "schema": OPEN_SCHEMA}}}, "additionalProperties"),
        (
            {"messages": [{"role": "user", "content": [{**TEXT, "cache_control": {"type": "ephemeral"}}] * 5}]},
            "maximum of 4",
        ),
    ],
)
def test_messages_refuses_in_its_providers_words(strict: StrictUpstream, body: dict[str, Any], words: str) -> None:
    answer = _messages(strict, **body)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions", {"x-api-key": CREDENTIAL}),
        ("/v1/chat/completions", {"authorization": "Bearer wrong"}),
        ("/v1/messages", {"authorization": f"Bearer {CREDENTIAL}", "anthropic-version": "2023-06-01"}),
        ("/v1/messages", {**MESSAGES_HEADERS, **CHAT_HEADERS}),
    ],
)
def test_the_wrong_way_to_send_the_key_is_401(strict: StrictUpstream, path: str, headers: dict[str, str]) -> None:
    assert CLIENT.post(f"{strict.messages_url}{path}", json={}, headers=headers).status_code == 401


def test_messages_want_their_version(strict: StrictUpstream) -> None:
    answer = CLIENT.post(f"{strict.messages_url}/v1/messages", json={}, headers={"x-api-key": CREDENTIAL})
    assert (answer.status_code, "anthropic-version" in answer.text) == (400, True)


def test_a_turn_with_signed_thinking_is_taken_back(strict: StrictUpstream) -> None:
    thought = {"type": "thinking", "thinking": "So.", "signature": signature_of("So.")}
    turn = {"role": "assistant", "content": [thought, {"type": "redacted_thinking", "data": REDACTED}, USE]}
    answer = _messages(
        strict, thinking=THINKING, messages=[USER, turn, {"role": "user", "content": [USE_RESULT, TEXT]}]
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("word", SCENARIOS)
def test_every_scenario_says_the_same_whole_and_streamed_in_both_protocols(strict: StrictUpstream, word: str) -> None:
    asked = {"messages": [{"role": "user", "content": f"[{word}]"}]}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    readings = [
        read_chat_whole(_chat(strict, **asked, reasoning_effort="low").content),
        read_chat_stream(_chat(strict, **asked, **options, reasoning_effort="low").content),
        read_messages_whole(_messages(strict, **asked, thinking=THINKING).content),
        read_messages_stream(_messages(strict, **asked, thinking=THINKING, stream=True).content),
    ]
    assert all(reading.complete for reading in readings)
    for one in readings[1:]:
        assert (one.text, one.reasoning, one.tools) == (readings[0].text, readings[0].reasoning, readings[0].tools)
        assert one.classes() == readings[0].classes()


@pytest.mark.parametrize("name", ["chat/openai-stream-text", "chat/openai-whole-text", "chat/fail-429"])
def test_a_recording_is_played_byte_for_byte(strict: StrictUpstream, name: str) -> None:
    answer = _chat(strict, messages=[{"role": "user", "content": f"[play:{name}]"}])
    recording = recordings.load(name)
    assert (answer.status_code, answer.content) == (recording.status, recording.body)
