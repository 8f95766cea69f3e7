"""Bodies for Messages upstreams: ours are the model and the ceiling, everything else goes byte for byte."""

import json
from typing import Any

import pytest

from gateway.protocols.anthropic_body import messages_body
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.anthropic_thinking import effort_of
from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError
from gateway.types import Profile

PROFILE = Profile()
USER = {"role": "user", "content": "Hello"}
FOREIGN = {"type": "thinking", "thinking": "Hm.", "signature": "lumyx.1.e30"}
REAL = {"type": "thinking", "thinking": "Hm.", "signature": "EqoBCkgIARABGAIi"}
ANSWER = {"type": "text", "text": "Hi"}


def sent(*, ceiling: int | None = None, upstream_model: str = "secret", **fields: Any) -> Any:
    """Return the body for an upstream, decoded, of a small request with these fields."""
    body = json.dumps({"model": "public", "max_tokens": 40_000, "messages": [USER], **fields}).encode()
    return json.loads(messages_body(parse_messages_request(body), Target(upstream_model, PROFILE, max_tokens=ceiling)))


def messages_sent(*contents: Any) -> Any:
    """Return the messages for an upstream, where the assistant's have these contents."""
    messages = [message for content in contents for message in (USER, {"role": "assistant", "content": content})]
    return sent(messages=messages)["messages"]


def test_all_but_the_model_goes_byte_for_byte() -> None:
    rest = (
        b'"max_tokens":4096,"messages":[ {"role":"user","content":[{"type":"text","text":"\\u00e9",'
        b'"cache_control":{"type":"ephemeral"}}]} ],"temperature":1.0,"novelty":{"x": 1e2},"stream":true,'
        b'"thinking":{"type":"enabled","budget_tokens":2048,"display":"omitted"}}'
    )
    request = parse_messages_request(b'{"model":"public",' + rest)
    assert messages_body(request, Target("secret/model", PROFILE)) == b'{"model":"secret/model",' + rest


def test_a_ceiling_replaces_the_clients_own() -> None:
    assert sent(ceiling=500)["max_tokens"] == 500
    assert sent()["max_tokens"] == 40_000


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        (None, {"type": "enabled", "budget_tokens": 8000, "display": "summarized"}),
        (8001, {"type": "enabled", "budget_tokens": 8000, "display": "summarized"}),
        (8000, {"type": "enabled", "budget_tokens": 7999, "display": "summarized"}),
        (1025, {"type": "enabled", "budget_tokens": 1024, "display": "summarized"}),
        (1024, {"type": "disabled"}),
    ],
)
def test_a_budget_stays_below_the_ceiling_and_ends_where_too_little_is_left(ceiling: int | None, expected: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 8000, "display": "summarized"}
    assert sent(ceiling=ceiling, thinking=thinking)["thinking"] == expected


def test_adaptive_thinking_has_no_budget_to_cap() -> None:
    assert sent(ceiling=100, thinking={"type": "adaptive"})["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize("kind", ["adaptive", "between_tools"])
def test_a_model_that_cannot_think_is_not_asked_where_it_was_left_to_it(kind: str) -> None:
    body = json.dumps({"model": "m", "max_tokens": 5000, "messages": [USER], "thinking": {"type": kind}}).encode()
    request = parse_messages_request(body)
    assert "thinking" not in json.loads(messages_body(request, Target("s", PROFILE, can_reason=False)))
    assert json.loads(messages_body(request, Target("s", PROFILE)))["thinking"] == {"type": kind}


@pytest.mark.parametrize(
    ("effort", "ceiling", "expected"),
    [
        ("minimal", None, {"type": "enabled", "budget_tokens": 1024}),
        ("low", None, {"type": "enabled", "budget_tokens": 4096}),
        ("medium", None, {"type": "enabled", "budget_tokens": 16384}),
        ("high", None, {"type": "enabled", "budget_tokens": 32768}),
        ("max", None, {"type": "enabled", "budget_tokens": 32768}),
        ("high", 20_000, {"type": "enabled", "budget_tokens": 19_999}),
        ("high", 1024, {"type": "disabled"}),
        ("none", None, {"type": "disabled"}),
    ],
)
def test_an_effort_becomes_thinking(effort: str, ceiling: int | None, expected: Any) -> None:
    body = sent(ceiling=ceiling, reasoning_effort=effort)
    assert body["thinking"] == expected
    assert "reasoning_effort" not in body


def test_an_effort_of_null_is_none_at_all() -> None:
    body = sent(reasoning_effort=None, temperature=0.5)
    assert "reasoning_effort" not in body
    assert "thinking" not in body
    assert body["temperature"] == 0.5


def test_what_upstreams_refuse_beside_thinking_gives_way_to_an_effort() -> None:
    body = sent(reasoning_effort="low", temperature=0.5, top_k=5, top_p=0.5)
    assert not {"temperature", "top_k", "top_p"} & body.keys()
    kept = sent(reasoning_effort="low", temperature=1, top_p=0.95)
    assert (kept["temperature"], kept["top_p"]) == (1, 0.95)
    off = sent(reasoning_effort="none", temperature=0.5, top_k=5, top_p=0.5)
    assert (off["temperature"], off["top_k"], off["top_p"]) == (0.5, 5, 0.5)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
def test_where_a_tool_is_forced_an_effort_gives_way(choice: Any) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    assert sent(reasoning_effort="low", tools=tools, tool_choice=choice)["thinking"] == {"type": "disabled"}


ADAPTIVE = {"type": "adaptive", "display": "summarized"}
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
FORCED = {"tools": TOOLS, "tool_choice": {"type": "any"}}


@pytest.mark.parametrize(
    ("model", "fields", "thinking", "config"),
    [
        ("claude-opus-4-7", {"reasoning_effort": "high"}, ADAPTIVE, {"effort": "high"}),
        ("claude-opus-5", {"reasoning_effort": "minimal", "max_tokens": 500}, ADAPTIVE, {"effort": "low"}),
        ("claude-opus-5", {"reasoning_effort": "max"}, ADAPTIVE, {"effort": "high"}),
        ("claude-opus-5", {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        ("claude-opus-5", {"reasoning_effort": "low", **FORCED}, {"type": "disabled"}, None),
        ("claude-fable-1", {"reasoning_effort": "none"}, None, {"effort": "low"}),
        ("claude-fable-1", {"reasoning_effort": "high", **FORCED}, None, {"effort": "low"}),
        ("claude-fable-1", {"reasoning_effort": "medium"}, ADAPTIVE, {"effort": "medium"}),
        ("claude-opus-5", {"reasoning_effort": "low", "output_config": {"effort": "max"}}, ADAPTIVE, {"effort": "max"}),
        ("claude-opus-5", {"reasoning_effort": "low", "output_config": None}, ADAPTIVE, {"effort": "low"}),
        ("claude-opus-4-6", {"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 4096}, None),
    ],
)
def test_a_model_that_is_asked_by_an_effort_gets_no_budget(model: str, fields: Any, thinking: Any, config: Any) -> None:
    body = sent(upstream_model=model, **fields)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)
    assert "reasoning_effort" not in body


def test_an_effort_stands_beside_the_format_of_the_answer() -> None:
    shape = {"type": "json_schema", "schema": {"type": "object"}}
    body = sent(upstream_model="claude-opus-5", reasoning_effort="low", output_config={"format": shape})
    assert body["output_config"] == {"format": shape, "effort": "low"}


USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "4"}]}


@pytest.mark.parametrize(
    ("content", "thinking"),
    [
        ([REAL, USE], "enabled"),
        ([REAL, FOREIGN, ANSWER, USE], "enabled"),
        ([FOREIGN, ANSWER], "enabled"),
        ([FOREIGN, USE], "disabled"),
        ([FOREIGN, ANSWER, USE], "disabled"),
    ],
)
def test_where_anothers_thinking_led_to_a_tools_use_there_is_no_thinking_in_this_turn(
    content: Any, thinking: str
) -> None:
    messages = [USER, {"role": "assistant", "content": content}, RESULT]
    budget = {"type": "enabled", "budget_tokens": 2048}
    assert sent(messages=messages, thinking=budget)["thinking"]["type"] == thinking
    assert sent(messages=messages, reasoning_effort="low")["thinking"]["type"] == thinking


def test_a_clients_own_omission_is_for_the_upstream_to_judge() -> None:
    messages = [USER, {"role": "assistant", "content": [USE]}, RESULT]
    budget = {"type": "enabled", "budget_tokens": 2048}
    assert sent(messages=messages, thinking=budget)["thinking"] == budget


def test_edits_that_need_thinking_go_with_it() -> None:
    clear, tools = {"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}
    context = {"edits": [clear, tools], "x": 1}
    budget = {"type": "enabled", "budget_tokens": 2048}
    assert sent(thinking=budget, context_management=context)["context_management"] == context
    off = sent(ceiling=500, thinking=budget, context_management=context)
    assert off["context_management"] == {"edits": [tools], "x": 1}
    assert sent(ceiling=500, thinking=budget, context_management={"edits": 5})["context_management"] == {"edits": 5}


def test_thinking_of_another_family_is_left_out_and_real_thinking_kept() -> None:
    assert messages_sent([FOREIGN, REAL, ANSWER]) == [USER, {"role": "assistant", "content": [REAL, ANSWER]}]


def test_redacted_thinking_is_kept_unless_it_is_ours() -> None:
    real, ours = ({"type": "redacted_thinking", "data": data} for data in ("EmwKAhgB", "lumyx.1.e30"))
    assert messages_sent([real, ours, ANSWER]) == [USER, {"role": "assistant", "content": [real, ANSWER]}]


def test_a_message_of_nothing_but_foreign_thinking_is_left_out() -> None:
    assert messages_sent([FOREIGN], [ANSWER]) == [USER, USER, {"role": "assistant", "content": [ANSWER]}]


def test_messages_without_foreign_thinking_stay_byte_for_byte_beside_others() -> None:
    first = b'{"role":"assistant", "content":[ {"type":"text","text":"\\u00e9","x":1.0} ]}'
    second = (
        b'{"role":"assistant","x":1e2,"content":[{"type":"text" ,"text":"Hi"},' + json.dumps(FOREIGN).encode() + b"]}"
    )
    body = b'{"model":"m","max_tokens":5,"messages":[' + first + b"," + second + b"]}"
    out = messages_body(parse_messages_request(body), Target("s", PROFILE))
    kept = b'{"role":"assistant","x":1e2,"content":[{"type":"text" ,"text":"Hi"}]}'
    assert out == b'{"model":"s","max_tokens":5,"messages":[' + first + b"," + kept + b"]}"


def test_where_nothing_is_left_to_send_the_client_is_told() -> None:
    with pytest.raises(RequestShapeError) as caught:
        sent(messages=[{"role": "assistant", "content": [FOREIGN]}])
    assert (caught.value.code, caught.value.param) == ("invalid_parameter", "messages")


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        (1024, "low"),
        (4096, "low"),
        (16383, "low"),
        (16384, "medium"),
        (32767, "medium"),
        (32768, "high"),
        (90000, "high"),
    ],
)
def test_a_budget_is_the_nearest_effort_that_is_not_above_it(budget: int, effort: str) -> None:
    assert effort_of(budget) == effort
