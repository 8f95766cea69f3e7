"""The sandbox's models: deterministic, exact in their usage, and the same answer whole or streamed."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.protocols.openai_chat import ChatRequest, ChunkRelay, fold_chunks, input_upper_bound, relay_whole
from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure
from gateway.upstreams.sandbox_models import BEHAVIOURS
from gateway.upstreams.sandbox_schema import instance_of
from tests.gateway.upstreams.calls import Collector, chat, open_call, upstream_at

SANDBOX = upstream_at("", protocol="sandbox", provider="sandbox")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time"}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


async def payloads_of(model: str, request: ChatRequest, *, max_tokens: int | None = None) -> list[bytes]:
    """Stream an answer of a sandbox model."""
    call = open_call(UpstreamClient(), SANDBOX, request, model=model, max_tokens=max_tokens)
    await call.start()
    payloads: list[bytes] = []
    await call.pour(Collector(payloads))
    return payloads


async def whole_of(model: str, *, max_tokens: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return a whole answer, after checking that the stream of the same request folds to the same."""
    content = fields.pop("content", "Hello there, sandbox.")
    request = chat(content, **fields)
    call = open_call(UpstreamClient(), SANDBOX, request, model=model, max_tokens=max_tokens)
    await call.start()
    whole: dict[str, Any] = json.loads(await call.read())
    await call.aclose()
    payloads = await payloads_of(model, chat(content, stream=True, **fields), max_tokens=max_tokens)
    assert _timeless(fold_chunks(payloads)) == _timeless(whole)
    relay = ChunkRelay("i", "m", True)
    for payload in payloads:
        relay.feed(payload)
    assert relay.finished
    assert relay.usage == relay_whole(json.dumps(whole).encode(), response_id="i", model="m").usage
    if "usage" in whole:
        assert whole["usage"]["prompt_tokens"] <= input_upper_bound(request)
    return whole


def _timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "created"}


def message_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the message of the first choice."""
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


@pytest.mark.parametrize("model", ["echo", "paid", "a-name-without-a-behaviour"])
async def test_an_echo_gives_back_the_users_last_text(model: str) -> None:
    answer = await whole_of(model)
    assert message_of(answer) == {"role": "assistant", "content": "Hello there, sandbox."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 3,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


async def test_an_echo_keeps_every_blank() -> None:
    text = "  two  blanks\n\nand é 😀 lines \n"
    assert message_of(await whole_of("echo", content=text))["content"] == text


async def test_a_stream_has_a_chunk_a_word() -> None:
    payloads = await payloads_of("echo", chat("one two three", stream=True))
    deltas = [json.loads(payload)["choices"][0]["delta"] for payload in payloads[:-1]]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "one"},
        {"content": " two"},
        {"content": " three"},
        {},
    ]


async def test_max_tokens_is_honoured_and_the_gateways_ceiling_comes_first() -> None:
    answer = await whole_of("echo", content="one two three four", max_tokens=3)
    assert message_of(answer)["content"] == "one two three"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3
    call = open_call(UpstreamClient(), SANDBOX, chat("a b c", max_tokens=3), model="echo", max_tokens=1)
    await call.start()
    assert json.loads(await call.read())["choices"][0]["message"]["content"] == "a"


async def test_stop_sequences_end_the_text() -> None:
    answer = await whole_of("echo", content="one two three four", stop=["four", "three"])
    assert (message_of(answer)["content"], answer["choices"][0]["finish_reason"]) == ("one two ", "stop")


async def test_several_choices_multiply_the_output() -> None:
    answer = await whole_of("echo", content="a b", n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (2, 6)


async def test_no_usage_reports_none() -> None:
    assert "usage" not in await whole_of("no-usage")


async def test_one_tool_call_has_arguments_of_the_tools_schema() -> None:
    answer = await whole_of("tool-call", tools=[WEATHER, CLOCK])
    (call,) = message_of(answer)["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"location": "example"}
    assert message_of(answer)["content"] is None
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


async def test_three_tool_calls_are_parallel_with_their_indexes() -> None:
    payloads = await payloads_of("three-tool-calls", chat(stream=True, tools=[WEATHER, CLOCK]))
    parts = [json.loads(payload)["choices"][0]["delta"].get("tool_calls") for payload in payloads[:-1]]
    indexes = [part[0]["index"] for part in parts if part]
    assert indexes == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    answer = await whole_of("three-tool-calls", tools=[WEATHER, CLOCK])
    names = [call["function"]["name"] for call in message_of(answer)["tool_calls"]]
    assert names == ["get_weather", "get_time", "get_weather"]
    assert len({call["id"] for call in message_of(answer)["tool_calls"]}) == 3


async def test_a_tools_result_is_answered_in_words() -> None:
    messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "Sunny."},
    ]
    for model in ("tool-call", "three-tool-calls", "plus"):
        answer = await whole_of(model, messages=messages, tools=[WEATHER])
        assert message_of(answer)["content"] == "The tool answered: Sunny."


async def test_tool_choice_is_followed() -> None:
    forced = {"type": "function", "function": {"name": "get_time"}}
    answer = await whole_of("tool-call", tools=[WEATHER, CLOCK], tool_choice=forced)
    assert message_of(answer)["tool_calls"][0]["function"]["name"] == "get_time"
    assert "tool_calls" not in message_of(await whole_of("tool-call", tools=[WEATHER], tool_choice="none"))


async def test_reasoning_comes_before_the_content_and_is_counted_as_output() -> None:
    answer = await whole_of("reasoning", content="one two", reasoning_effort="low")
    message, usage = message_of(answer), answer["usage"]
    thought = len(message["reasoning_content"].split())
    assert usage["completion_tokens_details"] == {"reasoning_tokens": thought}
    assert usage["completion_tokens"] == thought + 2
    more = message_of(await whole_of("reasoning", content="one two", reasoning_effort="high"))
    assert len(more["reasoning_content"]) > len(message["reasoning_content"])
    payloads = await payloads_of("reasoning", chat(stream=True))
    keys = [next(iter(json.loads(payload)["choices"][0]["delta"]), "") for payload in payloads[1:-2]]
    assert keys == sorted(keys, reverse=True)
    assert set(keys) == {"reasoning_content", "content"}


async def test_json_by_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 18},
            "extra": {"type": "null"},
        },
        "required": ["name", "age"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
    for model in ("json-schema", "plus"):
        answer = await whole_of(model, response_format=wanted)
        assert json.loads(message_of(answer)["content"]) == {"name": "example", "age": 18}
        answer = await whole_of(model, content="hi", response_format={"type": "json_object"})
        assert json.loads(message_of(answer)["content"]) == {"echo": "hi"}


async def test_images_are_acknowledged_by_type_and_size_or_url() -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
    ]
    for model in ("vision", "plus"):
        answer = await whole_of(model, content=content)
        assert message_of(answer)["content"] == "Image 1: image/png, 8 bytes. Image 2: https://example.com/cat.jpg."
        assert answer["usage"]["prompt_tokens"] == 3 + 2 * 64


async def test_an_image_that_is_no_base64_is_the_clients_mistake() -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}]
    with pytest.raises(UpstreamFailure) as caught:
        await payloads_of("vision", chat(content, stream=True))
    assert caught.value.kind is FailureKind.CLIENT_CONTENT


async def test_an_error_before_the_first_byte() -> None:
    for stream in (False, True):
        call = open_call(UpstreamClient(), SANDBOX, chat(stream=stream), model="error-before-first-byte")
        with pytest.raises(UpstreamFailure) as caught:
            await call.start()
        assert (caught.value.kind, caught.value.status, caught.value.may_retry) == (FailureKind.SERVER_ERROR, 500, True)


async def test_an_error_in_mid_stream_comes_after_content() -> None:
    relay = ChunkRelay("i", "m", False)
    payloads = await payloads_of("error-mid-stream", chat(stream=True))
    assert [json.loads(payload).get("error") is not None for payload in payloads] == [False] * 5 + [True]
    for payload in payloads[:-1]:
        relay.feed(payload)
    with pytest.raises(UpstreamFailure) as caught:
        relay.feed(payloads[-1])
    assert caught.value.produced
    assert relay.output_bytes > 0
    call = open_call(UpstreamClient(), SANDBOX, chat(), model="error-mid-stream")
    await call.start()
    with pytest.raises(UpstreamFailure):
        await call.read()


async def test_the_slow_model_pauses_before_each_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await payloads_of("slow", chat(stream=True))
    assert len(pauses) == 13
    assert set(pauses) == {0.5}
    pauses.clear()
    call = open_call(UpstreamClient(), SANDBOX, chat(), model="slow")
    await call.start()
    await call.read()
    assert sum(pauses) == 5.0


async def test_plus_greets_calls_the_tool_that_is_asked_for_and_thinks_when_told() -> None:
    assert message_of(await whole_of("plus", content="Hello"))["content"] == "Hi! How can I help?"
    asked = await whole_of("plus", content="What's the weather in SF?", tools=[CLOCK, WEATHER], tool_choice="auto")
    assert message_of(asked)["tool_calls"][0]["function"]["name"] == "get_weather"
    other = await whole_of("plus", content="Tell me a joke.", tools=[CLOCK, WEATHER])
    assert message_of(other)["content"] == "You said: Tell me a joke."
    forced = await whole_of("plus", content="Tell me a joke.", tools=[CLOCK, WEATHER], tool_choice="required")
    assert message_of(forced)["tool_calls"][0]["function"]["name"] == "get_time"
    thinking = await whole_of("plus", content="Hello", reasoning_effort="medium")
    assert message_of(thinking)["reasoning_content"]
    assert "reasoning_content" not in message_of(await whole_of("plus", content="Hello"))


@pytest.mark.parametrize("model", sorted(set(BEHAVIOURS) - {"error-before-first-byte", "error-mid-stream", "slow"}))
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": [1]}}}]},
        {"tools": [{"type": "function", "function": "f"}], "tool_choice": {"function": "f"}},
        {"response_format": {"type": "json_schema", "json_schema": "x"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": []}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"stop": [""], "max_tokens": 1, "n": 2},
    ],
)
async def test_odd_requests_get_an_answer_from_every_model(model: str, fields: dict[str, Any]) -> None:
    await whole_of(model, **fields)


async def test_a_long_echo_lets_others_run() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    other = asyncio.create_task(tick())
    await payloads_of("echo", chat("word " * 2000, stream=True))
    other.cancel()
    assert ticks > 20


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "example"),
        (True, None),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "minLength": 10}, "examplexxx"),
        ({"type": "string", "maxLength": 3}, "exa"),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "multipleOf": 5, "minimum": 11}, 15),
        ({"type": "number"}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "example"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"default": None, "type": "string"}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "example"}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "boolean"}}}, True),
        ({"$ref": "#/nowhere"}, None),
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": 2},
        ),
    ],
)
def test_an_instance_satisfies_its_schema(schema: Any, expected: Any) -> None:
    assert instance_of(schema) == expected


def test_a_schema_that_contains_itself_ends() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert json.dumps(instance_of(schema)).count("next") <= 17
    names = [f"p{number}" for number in range(20)]
    wide = {"type": "object", "properties": {name: {"$ref": "#"} for name in names}, "required": names}
    assert len(json.dumps(instance_of(wide))) < 100_000


KEYWORDS = [
    *("type", "properties", "required", "items", "minItems", "$ref", "allOf", "anyOf", "enum"),
    *("minimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "format"),
]
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["object", "array", "integer", "#", "#/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=5),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None)
@given(json_values)
@example({"allOf": [{"$ref": None}]})
def test_any_schema_has_an_instance(schema: Any) -> None:
    json.dumps(instance_of(schema))
