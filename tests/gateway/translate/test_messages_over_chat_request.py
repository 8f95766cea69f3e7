"""Messages requests as chat bodies: every field that has a counterpart, and every one that has none."""

import json
from typing import Any

import pytest

from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError
from gateway.translate.messages_over_chat import PAIR
from gateway.translate.messages_over_chat.request import DROPPED
from gateway.types import Profile
from tests.gateway.translate.chat_answers import messages_request

TOOL = {"name": "get_weather", "description": "The weather.", "input_schema": {"type": "object", "properties": {}}}
FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {}},
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
OLD_FORM = 'output_format must be {"type": "json_schema", "schema": …}.'
FORMAT = {"type": "json_schema", "schema": SCHEMA}
PLAIN = {"model": "up", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
EPHEMERAL = {"type": "ephemeral"}


def body(profile: Profile | None = None, *, ceiling: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return the chat body for a small request with these fields."""
    target = Target("up", profile or Profile(), max_tokens=ceiling)
    decoded: dict[str, Any] = json.loads(PAIR.body(messages_request(**fields), target))
    return decoded


def refusal(**fields: Any) -> tuple[str, str, str | None]:
    """Return code, message and param of the error that a request meets."""
    with pytest.raises(RequestShapeError) as caught:
        body(**fields)
    return caught.value.code, caught.value.message, caught.value.param


def test_the_owners_sample_is_translated() -> None:
    assert body(system="You are a helpful assistant.", stream=False) == {
        "model": "up",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hi"},
        ],
        "max_tokens": 1000,
    }


def test_the_limit_goes_where_the_upstream_reads_it() -> None:
    told = body(Profile(max_tokens_field="max_completion_tokens"))
    assert told["max_completion_tokens"] == 1000
    assert "max_tokens" not in told


def test_a_ceiling_lowers_the_limit_and_never_raises_it() -> None:
    assert body(ceiling=300)["max_tokens"] == 300
    assert body(ceiling=3000)["max_tokens"] == 1000


def test_temperature_and_top_p_pass_as_they_were_written() -> None:
    request = messages_request(temperature=0.7, top_p=1.0)
    assert b'"temperature":0.7,"top_p":1.0' in PAIR.body(request, Target("up", Profile()))
    assert body(temperature=None, top_p=None) == PLAIN


def test_stop_sequences_are_stop() -> None:
    assert body(stop_sequences=["END", "\n\n"])["stop"] == ["END", "\n\n"]
    assert body(stop_sequences=[]) == PLAIN


def test_a_stream_asks_for_usage_where_the_upstream_knows_how() -> None:
    assert body(stream=True) == {**PLAIN, "stream": True, "stream_options": {"include_usage": True}}
    assert body(Profile(accepts_stream_options=False), stream=True) == {**PLAIN, "stream": True}


def test_what_has_no_counterpart_is_left_out() -> None:
    dropped: dict[str, Any] = {
        "top_k": 5,
        "service_tier": "auto",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "betas": ["x"],
        "cache_control": EPHEMERAL,
        "output_config": {"effort": "high"},
        "metadata": {},
        "tool_choice": {"type": "auto"},
        "unheard_of": 1,
    }
    assert body(**dropped) == PLAIN
    assert all(len(reason) > 20 for reason in DROPPED.values())


def test_the_user_is_named_and_a_long_name_is_hashed() -> None:
    assert body(metadata={"user_id": "u" * 64})["user"] == "u" * 64
    # As sha256sum says it.
    hashed = "f20e249d15fa4b9f44ba21d154f62e1efa76ddfdce5d25139a33a4787cee5a8b"
    assert body(metadata={"user_id": "u" * 65})["user"] == hashed


# --- tools ------------------------------------------------------------------------------------------------------------


def test_a_tool_is_a_function() -> None:
    assert body(tools=[TOOL])["tools"] == [FUNCTION]
    assert body(tools=[{**TOOL, "type": "custom", "strict": True}])["tools"] == [
        {"type": "function", "function": {**FUNCTION["function"], "strict": True}}  # type: ignore[dict-item]
    ]


def test_a_tools_schema_passes_byte_for_byte() -> None:
    schema = b'{ "type":"object","properties":{"n":{"maximum":1.0,"default":1e2}} }'
    request = parse_messages_request(
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":%b}]}'
        % schema
    )
    assert b'"parameters":%b}' % schema in PAIR.body(request, Target("up", Profile()))


def test_marks_on_tools_that_only_the_other_protocol_knows_are_left_out() -> None:
    marked = {**TOOL, "defer_loading": True, "cache_control": EPHEMERAL, "eager_input_streaming": True}
    assert body(tools=[{**marked, "allowed_callers": ["direct"], "input_examples": [{}]}])["tools"] == [FUNCTION]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_every_choice_of_tools_has_its_counterpart(choice: Any, told: Any) -> None:
    assert body(tools=[TOOL], tool_choice=choice)["tool_choice"] == told
    assert "parallel_tool_calls" not in body(tools=[TOOL], tool_choice=choice)


@pytest.mark.parametrize("kind", ["auto", "any"])
def test_parallel_calls_are_turned_off(kind: str) -> None:
    told = body(tools=[TOOL], tool_choice={"type": kind, "disable_parallel_tool_use": True})
    assert told["parallel_tool_calls"] is False


def test_a_choice_that_cannot_be_is_refused() -> None:
    message = "tool_choice forces a tool, but there are no tools: send tools, or leave tool_choice out."
    assert refusal(tool_choice={"type": "any"}) == ("invalid_parameter", message, "tool_choice")
    message = 'tool_choice.name is "f", but none of the tools has this name.'
    fields = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}}
    assert refusal(**fields) == ("invalid_parameter", message, "tool_choice.name")


@pytest.mark.parametrize(
    "kind", ["bash_20250124", "text_editor_20250728", "computer_toolset_20260801", "memory_20250818"]
)
def test_a_tool_without_a_schema_is_refused_by_name(kind: str) -> None:
    code, message, param = refusal(tools=[TOOL, {"type": kind, "name": "x"}])
    assert (code, param) == ("unsupported_content", "tools[1]")
    assert message == (
        f'tools[1]: a tool of type "{kind}" has no schema, and this model\'s upstream knows only tools with one. '
        'Describe it as {"name": …, "description": …, "input_schema": …}.'
    )


# --- reasoning --------------------------------------------------------------------------------------------------------

THINKING = Profile(reasoning="thinking")


def effort_for(thinking: Any, profile: Profile | None = None, **fields: Any) -> dict[str, Any]:
    """Return what a body says of reasoning for this thinking, with room for it."""
    told = body(profile, thinking=thinking, **{**fields, "max_tokens": 64_000})
    return {name: told[name] for name in ("reasoning_effort", "thinking") if name in told}


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1024, "low"), (4096, "low"), (16_383, "low"), (16_384, "medium"), (32_767, "medium"), (32_768, "high")],
)
def test_a_budget_is_the_nearest_effort_that_is_not_above_it(budget: int, effort: str) -> None:
    assert effort_for({"type": "enabled", "budget_tokens": budget}) == {"reasoning_effort": effort}


@pytest.mark.parametrize(
    ("config", "effort"),
    [
        (None, "medium"),
        ({}, "medium"),
        ({"effort": "low"}, "low"),
        ({"effort": "medium"}, "medium"),
        ({"effort": "high"}, "high"),
        ({"effort": "xhigh"}, "high"),
        ({"effort": "max"}, "high"),
    ],
)
def test_adaptive_thinking_is_as_much_as_the_effort_says(config: Any, effort: str) -> None:
    assert effort_for({"type": "adaptive"}, output_config=config) == {"reasoning_effort": effort}
    assert effort_for({"type": "between_tools"}, output_config=config) == {"reasoning_effort": effort}


@pytest.mark.parametrize(
    ("asked", "told"),
    [("none", "none"), ("minimal", "minimal"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("max", "high")],
)
def test_our_own_field_is_the_upstreams(asked: str, told: str) -> None:
    assert effort_for(None, reasoning_effort=asked) == {"reasoning_effort": told}


def test_thinking_that_is_turned_off_is_said_only_where_there_is_a_switch() -> None:
    assert effort_for({"type": "disabled"}) == {}
    assert effort_for({"type": "disabled"}, THINKING) == {"thinking": {"type": "disabled"}}
    assert effort_for(None, THINKING, reasoning_effort="none") == {"thinking": {"type": "disabled"}}


def test_a_switch_is_turned_on_however_much_is_asked_for() -> None:
    for thinking in ({"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}):
        assert effort_for(thinking, THINKING) == {"thinking": {"type": "enabled"}}
    assert effort_for(None, THINKING, reasoning_effort="low") == {"thinking": {"type": "enabled"}}


def test_upstreams_without_reasoning_and_requests_without_it_say_nothing() -> None:
    assert effort_for({"type": "adaptive"}, Profile(reasoning="none")) == {}
    assert effort_for(None) == {}
    assert effort_for(None, THINKING) == {}


# --- the form of the answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"output_config": {"format": FORMAT}}, {"output_format": FORMAT}])
def test_a_schema_for_the_answer_is_a_response_format(fields: Any) -> None:
    assert body(**fields)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "strict": True, "schema": SCHEMA},
    }


def test_an_upstream_that_reads_no_schema_is_told_it_in_words() -> None:
    told = body(Profile(takes_json_schema=False), system="Be brief.", output_config={"format": FORMAT})
    assert told["response_format"] == {"type": "json_object"}
    words = "Answer with one JSON object that is valid under this JSON schema, and with nothing else:\n"
    assert told["messages"][0] == {"role": "system", "content": f"Be brief.\n\n{words}{json.dumps(SCHEMA)}"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {"output_config": {"format": {"type": "grammar"}}},
            (
                "unsupported_parameter",
                'output_config.format.type must be "json_schema", it is "grammar".',
                "output_config.format.type",
            ),
        ),
        (
            {"output_config": {"format": {"type": "json_schema"}}},
            ("missing_parameter", "output_config.format.schema is missing.", "output_config.format.schema"),
        ),
        ({"output_format": {}}, ("invalid_parameter", OLD_FORM, "output_format")),
        ({"output_format": 5}, ("invalid_parameter", OLD_FORM, "output_format")),
    ],
)
def test_a_form_that_is_none_is_refused(fields: Any, error: Any) -> None:
    assert refusal(**fields) == error


def test_a_form_that_is_null_is_none() -> None:
    assert body(output_format=None) == PLAIN
    assert body(output_config={"format": None}) == PLAIN
