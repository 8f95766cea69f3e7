"""What becomes of everything beside messages and tools in a Messages body: limits, sampling, thinking, formats, and the rest."""

from typing import Any

import pytest

from gateway.protocols.anthropic_models import ways_of
from gateway.translate.chat_over_messages.knobs import DROPPED, TRANSLATED
from tests.gateway.translate.chat_calls import HELLO, WEATHER, asks, body_of, call, refusal_of, result, text

PLAIN = {"model": "upstream-model", "max_tokens": 4096, "messages": [{"role": "user", "content": [text("Hello")]}]}


def enabled(budget: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget}


# --- limits, sampling, stop sequences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "target", "expected"),
    [
        ({}, {}, 4096),
        ({}, {"max_output_tokens": 9}, 9),
        ({"max_tokens": 5}, {"max_output_tokens": 9}, 5),
        ({"max_completion_tokens": 6}, {"max_output_tokens": 9}, 6),
        ({"max_tokens": 5}, {"max_tokens": 3}, 3),
        ({}, {"max_tokens": 3, "max_output_tokens": 9}, 3),
    ],
)
def test_there_is_always_a_limit(fields: Any, target: Any, expected: int) -> None:
    assert body_of(target=target, **fields)["max_tokens"] == expected


@pytest.mark.parametrize(("given", "expected"), [(0, 0), (0.7, 0.7), (1, 1), (1.01, 1), (2, 1), (None, None)])
def test_temperature_ends_at_one(given: Any, expected: Any) -> None:
    assert body_of(temperature=given).get("temperature") == expected


def test_top_p_goes_along_where_the_model_takes_it() -> None:
    sampling = {"temperature": 0.5, "top_p": 0.9}

    def told(model: str, **given: float) -> dict[str, Any]:
        body = body_of(target={"model": model}, **given)
        return {name: body[name] for name in sampling if name in body}

    assert told("anything", **sampling) == sampling
    assert told("claude-3-7-sonnet-20250219", **sampling) == sampling
    assert told("claude-sonnet-4-5-20250929", **sampling) == {"temperature": 0.5}
    assert told("claude-sonnet-4-5", top_p=0.9) == {"top_p": 0.9}
    assert told("claude-opus-4-7", **sampling) == {}
    assert told("claude-sonnet-5", **sampling) == {}


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", -0.1), ("temperature", 2.1), ("top_p", 1.1), ("top_p", -1)]
)
def test_sampling_out_of_range_is_refused(name: str, value: float) -> None:
    assert refusal_of(**{name: value})[:2] == ("invalid_parameter", name)


def test_stop_sequences_of_white_space_are_left_out() -> None:
    assert body_of(stop=["END", "\n\n", "", " x"])["stop_sequences"] == ["END", " x"]
    assert body_of(stop="END")["stop_sequences"] == ["END"]
    assert "stop_sequences" not in body_of(stop=["\n"])


def test_a_stream_is_asked_for() -> None:
    assert body_of(stream=True, stream_options={"include_usage": True})["stream"] is True
    assert "stream" not in body_of(stream=False)


# --- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1024), ("low", 4096), ("medium", 16384), ("high", 32768), ("xhigh", 32768), ("max", 32768)],
)
def test_an_effort_is_a_budget(effort: str, budget: int) -> None:
    body = body_of(reasoning_effort=effort, max_tokens=64_000, temperature=0.5, top_p=0.5)
    assert body == {**PLAIN, "max_tokens": 64_000, "thinking": enabled(budget)}


@pytest.mark.parametrize(
    ("effort", "max_tokens", "thinking"),
    [
        ("high", 10_000, enabled(9_999)),
        ("low", 4_097, enabled(4_096)),
        ("low", 4_096, enabled(4_095)),
        ("low", 1_025, enabled(1_024)),
        ("low", 1_024, None),
        ("minimal", 100, None),
        ("none", 100, {"type": "disabled"}),
    ],
)
def test_a_budget_fits_below_the_limit_or_there_is_none(effort: str, max_tokens: int, thinking: Any) -> None:
    body = body_of(reasoning_effort=effort, max_tokens=max_tokens, temperature=0.5)
    assert body.get("thinking") == thinking
    assert ("temperature" in body) == (thinking in (None, {"type": "disabled"}))


def test_a_lowered_ceiling_lowers_the_budget() -> None:
    body = body_of(reasoning_effort="high", max_tokens=64_000, target={"max_tokens": 2_000})
    assert (body["max_tokens"], body["thinking"]) == (2_000, enabled(1_999))


def test_an_unknown_effort_is_refused() -> None:
    assert refusal_of(reasoning_effort="huge")[:2] == ("invalid_parameter", "reasoning_effort")


@pytest.mark.parametrize(
    ("effort", "told"),
    [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "high"), ("max", "high")],
)
def test_newer_models_are_asked_by_effort(effort: str, told: str) -> None:
    body = body_of(target={"model": "claude-sonnet-5"}, reasoning_effort=effort, temperature=0.5)
    thinking = {"type": "adaptive", "display": "summarized"}
    assert body == {**PLAIN, "model": "claude-sonnet-5", "thinking": thinking, "output_config": {"effort": told}}


@pytest.mark.parametrize(
    ("model", "ways"),
    [
        ("claude-3-opus-20240229", ("budget", "both")),
        ("claude-sonnet-4-20250514", ("budget", "both")),
        ("claude-opus-4-1-20250805", ("budget", "one")),
        ("anthropic/claude-opus-4.6", ("budget", "one")),
        ("us.anthropic.claude-opus-4-7-v1:0", ("adaptive", "none")),
        ("claude-opus-5", ("adaptive", "none")),
        ("Claude-Haiku-5-5", ("adaptive", "none")),
        ("claude-instant", ("budget", "both")),
        ("deepseek-chat", ("budget", "both")),
    ],
)
def test_the_ways_of_a_model_are_read_from_its_name(model: str, ways: tuple[str, str]) -> None:
    assert ways_of(model) == (*ways, True)


@pytest.mark.parametrize("model", ["claude-fable-5-1", "claude-mythos-preview"])
def test_a_model_that_always_thinks_is_told_to_think_little(model: str) -> None:
    for fields in ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}):
        body = body_of(target={"model": model}, temperature=0.5, **fields)
        assert body == {**PLAIN, "model": model, "output_config": {"effort": "low"}}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (enabled(2_000), enabled(2_000)),
        (enabled(9_999), enabled(8_191)),
        ({**enabled(2_000), "display": "omitted"}, {**enabled(2_000), "display": "omitted"}),
        ({"type": "adaptive"}, {"type": "adaptive"}),
        ({"type": "disabled"}, {"type": "disabled"}),
        (enabled(1_000), None),
        (None, enabled(4_096)),
    ],
)
def test_thinking_in_the_words_of_messages_is_passed_on(given: Any, told: Any) -> None:
    assert body_of(thinking=given, reasoning_effort="low", max_tokens=8_192).get("thinking") == told


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"type": "sometimes"}, "invalid_parameter", "thinking.type"),
        ({"type": "enabled"}, "missing_parameter", "thinking.budget_tokens"),
        ({"type": "adaptive", "display": "loud"}, "invalid_parameter", "thinking.display"),
        ({"type": "enabled", "budget_tokens": "many"}, "invalid_parameter", "thinking.budget_tokens"),
        ({}, "missing_parameter", "thinking.type"),
        ("enabled", "invalid_parameter", "thinking"),
    ],
)
def test_thinking_of_no_known_form_is_refused(given: Any, code: str, param: str) -> None:
    assert refusal_of(thinking=given)[:2] == (code, param)


@pytest.mark.parametrize("model", ["upstream-model", "claude-opus-5"])
@pytest.mark.parametrize("asked", [{"reasoning_effort": "low"}, {"thinking": enabled(2_000)}])
def test_thinking_is_left_off_where_it_would_be_refused(model: str, asked: dict[str, Any]) -> None:
    room: dict[str, Any] = {"target": {"model": model}, "max_tokens": 8_192, **asked}
    forced = body_of(tools=[WEATHER], tool_choice="required", **room)
    assert forced["tool_choice"] == {"type": "any"}
    assert "thinking" not in forced
    begun = body_of(messages=[HELLO, {"role": "assistant", "content": "So"}], **room)
    assert "thinking" not in begun


DETAIL = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}


@pytest.mark.parametrize(
    ("messages", "thinks"),
    [
        ([HELLO, asks(call("a")), result("a")], False),
        ([HELLO, asks(call("a"), reasoning_details=[DETAIL]), result("a")], True),
        ([HELLO, asks(call("a"), reasoning_details=[DETAIL]), result("a"), asks(call("b")), result("b")], True),
        ([HELLO, asks(call("a")), result("a"), asks(call("b"), reasoning_details=[DETAIL]), result("b")], False),
        ([HELLO, asks(call("a")), result("a"), {"role": "assistant", "content": "Hi"}, HELLO], True),
    ],
)
def test_thinking_goes_on_only_in_a_turn_that_began_with_it(messages: list[Any], thinks: bool) -> None:
    body = body_of(messages=messages, tools=[WEATHER], reasoning_effort="low", max_tokens=8_192)
    assert ("thinking" in body) == thinks
    adaptive = body_of(messages=messages, tools=[WEATHER], reasoning_effort="low", target={"model": "claude-opus-5"})
    assert adaptive["thinking"] == {"type": "adaptive", "display": "summarized"}


# --- formats ---------------------------------------------------------------------------------------------------------


def test_a_schema_is_the_format_of_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    given = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    assert body_of(response_format=given)["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    given["json_schema"] = {"name": "n", "description": "d", "schema": schema}
    thoughtful = body_of(response_format=given, reasoning_effort="low", target={"model": "claude-opus-5"})
    described = {"type": "json_schema", "schema": {**schema, "description": "d"}}
    assert thoughtful["output_config"] == {"effort": "low", "format": described}


def test_json_of_any_form_is_asked_for_in_words() -> None:
    words = text("Answer with one JSON object and nothing else: no text around it, no code fence.")
    given = {"type": "json_object"}
    assert body_of(response_format=given) == {**PLAIN, "system": [words]}
    named = body_of(response_format=given, messages=[{"role": "system", "content": "S"}, HELLO])
    assert named["system"] == [text("S"), words]


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"type": "grammar"}, "invalid_parameter", "response_format.type"),
        ({}, "missing_parameter", "response_format.type"),
        ({"type": "json_schema"}, "missing_parameter", "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {}}, "missing_parameter", "response_format.json_schema.schema"),
    ],
)
def test_other_formats_are_refused(given: Any, code: str, param: str) -> None:
    assert refusal_of(response_format=given)[:2] == (code, param)


def test_text_is_the_format_anyway() -> None:
    assert body_of(response_format={"type": "text"}) == PLAIN


# --- the rest --------------------------------------------------------------------------------------------------------


def test_the_user_is_told_by_an_id() -> None:
    assert body_of(user="u-1", safety_identifier="s-1")["metadata"] == {"user_id": "u-1"}
    assert body_of(safety_identifier="s-1")["metadata"] == {"user_id": "s-1"}
    assert body_of(user="u" * 257) == PLAIN
    assert body_of(user="") == PLAIN


@pytest.mark.parametrize("name", sorted(DROPPED.keys() - {"service_tier", "top_logprobs", "stream_options"}))
def test_knobs_without_a_counterpart_are_left_out(name: str) -> None:
    values: dict[str, Any] = {"logit_bias": {"5": 1}, "seed": 1, "frequency_penalty": 0.5, "presence_penalty": 0.5}
    assert body_of(**{name: values.get(name, "x")}) == PLAIN


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"], "audio": None, "prediction": None},
        {"service_tier": "auto", "stream_options": None, "anything": None, "seed": None, "stop": None},
        {"tools": None, "tool_choice": None, "functions": None, "response_format": None, "thinking": None},
    ],
)
def test_what_asks_for_nothing_is_harmless(fields: dict[str, Any]) -> None:
    assert body_of(**fields) == PLAIN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("moderation", {"model": "x"}),
        ("mirostat", 2),
    ],
)
def test_what_a_client_would_miss_is_refused(name: str, value: Any) -> None:
    assert refusal_of(**{name: value})[:2] == ("unsupported_parameter", name)


def test_no_field_is_both_told_and_left_out() -> None:
    assert not TRANSLATED & DROPPED.keys()
