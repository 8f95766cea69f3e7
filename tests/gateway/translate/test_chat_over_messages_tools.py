"""What becomes of tools and of the choice among them in a Messages body."""

from typing import Any

import pytest

from tests.gateway.translate.chat_calls import HELLO, WEATHER, asks, body_of, call, refusal_of, result

EMPTY = {"type": "object", "properties": {}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "x-more": [1.0]}


def function(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def choice_of(**fields: Any) -> Any:
    return body_of(tools=[WEATHER], **fields).get("tool_choice")


def test_functions_become_tools() -> None:
    described = function("f", description="Says it.", parameters=SCHEMA, strict=True)
    assert body_of(tools=[described, function("g", description="", strict=False)])["tools"] == [
        {"name": "f", "description": "Says it.", "input_schema": SCHEMA, "strict": True},
        {"name": "g", "input_schema": EMPTY},
    ]


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_tool_without_parameters_takes_an_empty_object(parameters: Any) -> None:
    assert body_of(tools=[function(parameters=parameters)])["tools"] == [{"name": "f", "input_schema": EMPTY}]


def test_parameters_without_a_type_are_an_object() -> None:
    tools = body_of(tools=[function(parameters={"properties": {"a": {}}})])["tools"]
    assert tools == [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {}}}}]


def test_cache_markers_of_tools_are_kept() -> None:
    mark = {"type": "ephemeral"}
    tools = body_of(tools=[{**function("f"), "cache_control": mark}, function("g", cache_control=mark)])["tools"]
    assert [tool["cache_control"] for tool in tools] == [mark, mark]


@pytest.mark.parametrize(
    ("tool", "code", "param"),
    [
        ({"type": "custom", "custom": {"name": "f"}}, "unsupported_parameter", "tools[1].type"),
        ({"type": "web_search_20250305", "name": "web_search"}, "unsupported_parameter", "tools[1].type"),
        ({"type": "function"}, "missing_parameter", "tools[1].function"),
        ({"type": "function", "function": {}}, "missing_parameter", "tools[1].function.name"),
        (function("a b"), "invalid_parameter", "tools[1].function.name"),
        (function(""), "invalid_parameter", "tools[1].function.name"),
        (function(parameters={"type": "string"}), "invalid_parameter", "tools[1].function.parameters.type"),
        (function(parameters=[]), "invalid_parameter", "tools[1].function.parameters"),
        (WEATHER, "invalid_parameter", "tools"),
    ],
)
def test_tools_that_cannot_be_told_are_refused(tool: dict[str, Any], code: str, param: str) -> None:
    assert refusal_of(tools=[WEATHER, tool])[:2] == (code, param)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("any", {"type": "any"}),
        ({"type": "function", "function": {"name": "get_weather"}}, {"type": "tool", "name": "get_weather"}),
    ],
)
def test_every_choice_has_its_word(given: Any, expected: Any) -> None:
    assert choice_of(tool_choice=given) == expected
    alone = None if expected is None else {**expected, "disable_parallel_tool_use": True}
    if expected is None:
        alone = {"type": "auto", "disable_parallel_tool_use": True}
    elif expected["type"] == "none":
        alone = expected
    assert choice_of(tool_choice=given, parallel_tool_calls=False) == alone
    assert choice_of(tool_choice=given, parallel_tool_calls=True) == expected


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ("sometimes", "invalid_parameter", "tool_choice"),
        ({"type": "function", "function": {"name": "other"}}, "invalid_parameter", "tool_choice"),
        ({"type": "function"}, "missing_parameter", "tool_choice.function"),
        ({"type": "allowed_tools", "allowed_tools": {}}, "unsupported_parameter", "tool_choice.type"),
        ({"type": "custom", "custom": {"name": "x"}}, "unsupported_parameter", "tool_choice.type"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(given: Any, code: str, param: str) -> None:
    assert refusal_of(tools=[WEATHER], tool_choice=given)[:2] == (code, param)


def test_without_tools_there_is_no_choice() -> None:
    for word in ("auto", "none", None):
        assert "tool_choice" not in body_of(tool_choice=word, parallel_tool_calls=False, tools=[])
    assert refusal_of(tool_choice="required")[:2] == ("invalid_parameter", "tool_choice")


def test_a_conversation_with_calls_has_tools_even_where_the_client_offers_none() -> None:
    body = body_of(messages=[HELLO, asks(call("a", "f"), call("b", "g"), call("c", "f")), *map(result, "abc")])
    assert body["tools"] == [{"name": "f", "input_schema": EMPTY}, {"name": "g", "input_schema": EMPTY}]
    assert body["tool_choice"] == {"type": "none"}


def test_the_older_form_of_tools_is_one_call_at_a_time() -> None:
    body = body_of(functions=[{"name": "f", "description": "d", "parameters": SCHEMA}])
    assert body["tools"] == [{"name": "f", "description": "d", "input_schema": SCHEMA}]
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", {"type": "auto", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
        ({"name": "f"}, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    ],
)
def test_the_older_form_of_the_choice_has_its_word(given: Any, expected: Any) -> None:
    assert body_of(functions=[{"name": "f"}], function_call=given)["tool_choice"] == expected


def test_the_older_form_is_checked_too() -> None:
    refused = refusal_of(functions=[{"name": "f"}], function_call={"name": "g"})
    assert refused[:2] == ("invalid_parameter", "function_call")
    assert refusal_of(functions=[{"name": "?"}])[:2] == ("invalid_parameter", "functions[0].name")
