"""Chat completion requests: what is read, what is refused and in which words, and that all else passes byte for byte."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols.openai_chat import (
    ChatRequest,
    RequestShapeError,
    estimated_input,
    input_upper_bound,
    parse_chat_request,
    upstream_body,
)

USER = {"role": "user", "content": "Hello"}
PIXEL = "data:image/png;base64," + "iVBORw0KGgo" * 100


def parse(**fields: Any) -> ChatRequest:
    """Parse a small request with these fields."""
    return parse_chat_request(json.dumps({"model": "m", "messages": [USER], **fields}).encode())


def refusal(body: bytes) -> tuple[str, str, str | None]:
    """Return code, message and param of the error that a body meets."""
    with pytest.raises(RequestShapeError) as caught:
        parse_chat_request(body)
    return caught.value.code, caught.value.message, caught.value.param


def test_the_owners_sample_is_read() -> None:
    request = parse_chat_request(
        b"""{
          "model": "lumyx-plus_v1",
          "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello"}
          ],
          "stream": false, "temperature": 0.7, "max_tokens": 1024, "top_p": 1.0,
          "frequency_penalty": 0, "presence_penalty": 0
        }"""
    )
    assert (request.model, request.stream, request.max_tokens, request.n) == ("lumyx-plus_v1", False, 1024, 1)
    assert [message.role for message in request.messages] == ["system", "user"]
    assert not request.has_tools
    assert not request.images


def test_null_is_the_same_as_absent() -> None:
    request = parse(stream=None, max_tokens=None, n=None, tools=None, stop=None, stream_options=None, temperature=None)
    assert (request.stream, request.max_tokens, request.n, request.has_tools, request.stop) == (
        False,
        None,
        1,
        False,
        (),
    )


def test_what_admission_and_routing_need_is_read() -> None:
    request = parse(
        stream=True,
        stream_options={"include_usage": True},
        n=3,
        max_completion_tokens=50,
        tools=[{"type": "function", "function": {"name": "f"}}],
        stop="END",
        reasoning_effort="high",
    )
    assert request.stream
    assert request.include_usage
    assert (request.n, request.max_tokens, request.max_tokens_field) == (3, 50, "max_completion_tokens")
    assert request.has_tools
    assert request.stop == ("END",)
    assert request.reasoning_effort == "high"


def test_images_are_found_whatever_the_spelling() -> None:
    body = json.dumps(
        {
            "model": "m",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "See"},
                        {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
                        {"type": "image_url", "image_url": PIXEL},
                    ],
                }
            ],
        }
    ).replace("image_url", "im\\u0061ge_url")
    request = parse_chat_request(body.encode())
    assert [(image.kind, image.size) for image in request.images] == [("url", 0), ("data", len(PIXEL))]
    assert request.images
    assert request.has_image_urls


@pytest.mark.parametrize(
    ("body", "code", "message", "param"),
    [
        (b"", "invalid_json", "The body is empty: send a JSON object.", None),
        (b"  ", "invalid_json", "The body is empty: send a JSON object.", None),
        (b"[]", "invalid_json", "The body must be an object, it is a list.", None),
        (b'"x"', "invalid_json", "The body must be an object, it is a string.", None),
        (b"{", "invalid_json", "The body is not valid JSON: input data was truncated.", None),
        (b"{'model': 1}", "invalid_json", "The body is not valid JSON: object keys must be strings (byte 1).", None),
        (b'{"a":"\xff"}', "invalid_json", "The body is not valid UTF-8 (byte 6).", None),
        (b"{}", "missing_parameter", "model is missing.", "model"),
        (b'{"model":"m"}', "missing_parameter", "messages is missing.", "messages"),
        (b'{"model":5,"messages":[]}', "invalid_parameter", "model must be a string, it is an integer.", "model"),
        (
            b'{"model":"","messages":[{"role":"u"}]}',
            "invalid_parameter",
            "model must be 1 to 256 characters long.",
            "model",
        ),
        (
            b'{"model":"m","messages":"hi"}',
            "invalid_parameter",
            "messages must be a list of objects, it is a string.",
            "messages",
        ),
        (
            b'{"model":"m","messages":[]}',
            "invalid_parameter",
            "messages must hold at least one message.",
            "messages",
        ),
        (
            b'{"model":"m","messages":[{"role":"user"},"x"]}',
            "invalid_parameter",
            "messages[1] must be an object, it is a string.",
            "messages[1]",
        ),
        (
            b'{"model":"m","messages":[{"content":"x"}]}',
            "missing_parameter",
            "messages[0].role is missing.",
            "messages[0].role",
        ),
        (
            b'{"model":"m","messages":[{"role":"user","content":5}]}',
            "invalid_parameter",
            "messages[0].content must be a string or a list of parts, it is an integer.",
            "messages[0].content",
        ),
        (
            b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}',
            "missing_parameter",
            "messages[0].content[0].image_url.url is missing.",
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_a_malformed_body_is_refused_in_words(body: bytes, code: str, message: str, param: str | None) -> None:
    assert refusal(body) == (code, message, param)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("stream", "yes", "stream must be true or false, it is a string."),
        ("stream_options", [], "stream_options must be an object, it is a list."),
        ("max_tokens", "10", "max_tokens must be an integer, it is a string."),
        ("max_tokens", 1.5, "max_tokens must be an integer, it is a number."),
        ("max_tokens", True, "max_tokens must be an integer, it is true or false."),
        ("max_tokens", 0, "max_tokens must be at least 1, it is 0."),
        ("max_completion_tokens", -4, "max_completion_tokens must be at least 1, it is -4."),
        ("n", 0, "n must be from 1 to 128, it is 0."),
        ("n", 129, "n must be from 1 to 128, it is 129."),
        ("temperature", "hot", "temperature must be a number, it is a string."),
        ("top_p", [], "top_p must be a number, it is a list."),
        ("stop", 5, "stop must be a string or a list of strings, it is an integer."),
        ("stop", [5], "stop[0] must be a string, it is an integer."),
        ("tools", {}, "tools must be a list of objects, it is an object."),
        ("tools", ["f"], "tools[0] must be an object, it is a string."),
        ("tool_choice", 1, "tool_choice must be a string or an object, it is an integer."),
        ("response_format", "json", "response_format must be an object, it is a string."),
        ("reasoning_effort", 3, "reasoning_effort must be a string, it is an integer."),
        ("seed", "x", "seed must be an integer, it is a string."),
        ("user", {}, "user must be a string, it is an object."),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(field: str, value: Any, message: str) -> None:
    body = json.dumps({"model": "m", "messages": [USER], field: value}).encode()
    code, told, param = refusal(body)
    assert (code, told) == ("invalid_parameter", message)
    assert param is not None
    assert param.startswith(field)


def test_two_different_limits_are_refused_and_two_equal_ones_are_not() -> None:
    body = json.dumps({"model": "m", "messages": [USER], "max_tokens": 5, "max_completion_tokens": 6}).encode()
    assert refusal(body)[0] == "invalid_parameter"
    assert parse(max_tokens=5, max_completion_tokens=5).max_tokens == 5


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        json_values,
        st.dictionaries(
            st.sampled_from(["model", "messages", "stream", "stop", "n", "tools", "max_tokens", "stream_options", "x"]),
            json_values,
        ),
        st.builds(lambda messages: {"model": "m", "messages": messages}, st.lists(json_values, max_size=3)),
    )
)
def test_any_json_is_either_read_or_refused_with_a_message(value: Any) -> None:
    try:
        body = json.dumps(value).encode()
        parse_chat_request(body)
    except RequestShapeError as error:
        told = error
    else:
        return
    assert told.message.endswith(".")
    assert "`" not in told.message
    assert "$" not in (told.param or "")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_either_read_or_refused_with_a_message(body: bytes) -> None:
    with pytest.raises(RequestShapeError):
        parse_chat_request(body)


def test_an_upstreams_body_differs_only_in_what_must_change() -> None:
    body = (
        b'{"model":"public", "messages": [ {"role" : "user","content":"\\u00e9 \xc3\xa9"} ],'
        b'"x":{"y" :[1.0,1e2, null]},"x2":-0.0}'
    )
    sent = upstream_body(parse_chat_request(body), model="their/model", max_tokens=None)
    assert sent == (
        b'{"model":"their/model","messages":[ {"role" : "user","content":"\\u00e9 \xc3\xa9"} ],'
        b'"x":{"y" :[1.0,1e2, null]},"x2":-0.0}'
    )


def test_a_ceiling_is_set_in_the_field_that_is_asked_for_and_the_other_is_gone() -> None:
    for given_field in ("max_tokens", "max_completion_tokens"):
        for wanted in ("max_tokens", "max_completion_tokens"):
            sent = json.loads(
                upstream_body(parse(**{given_field: 99}), model="u", max_tokens=7, max_tokens_field=wanted)
            )
            assert {name: value for name, value in sent.items() if name.startswith("max_")} == {wanted: 7}


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "other": 1}}, {"include_usage": True, "other": 1}),
        ({"stream_options": {"include_usage": True, "other": 1}}, {"include_usage": True, "other": 1}),
    ],
)
def test_usage_is_asked_for_in_every_stream(options: dict[str, Any], sent: dict[str, Any]) -> None:
    request = parse(stream=True, **options)
    assert json.loads(upstream_body(request, model="u"))["stream_options"] == sent
    assert "stream_options" not in json.loads(upstream_body(parse(), model="u"))


def test_of_duplicate_keys_the_last_is_priced_and_it_alone_is_sent() -> None:
    request = parse_chat_request(
        b'{"model":"a","max_tokens":1,"messages":[{"role":"user"}],"model":"b","max_tokens":9}'
    )
    assert (request.model, request.max_tokens) == ("b", 9)
    assert upstream_body(request, model="u").count(b'"max_tokens"') == 1


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=6), st.booleans())
def test_the_upper_bound_is_above_the_bytes_of_all_text(texts: list[str], ascii_only: bool) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": text}} for text in texts]
    messages = [{"role": "user", "content": text} for text in texts]
    body = json.dumps({"model": "m", "messages": messages, "tools": tools}, ensure_ascii=ascii_only)
    try:
        request = parse_chat_request(body.encode())
    except (UnicodeEncodeError, RequestShapeError):
        return  # lone surrogates and NUL are refused
    assert input_upper_bound(request) >= 2 * sum(len(text.encode()) for text in texts) + 16 * len(texts)


def test_an_image_counts_by_its_maximum_and_not_by_its_bytes() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    request = parse(messages=[{"role": "user", "content": [part, part]}])
    assert 2 * 3_000 < input_upper_bound(request, image_tokens=3_000) < 2 * 3_000 + 1_000
    assert estimated_input(request) < 5_000


def test_the_estimate_is_a_token_for_four_bytes() -> None:
    request = parse()
    assert estimated_input(request) == -(-request.size // 4)


def test_every_field_is_kept_raw() -> None:
    assert all(isinstance(value, msgspec.Raw) for value in parse(x=1, y={"z": []}).fields.values())


PRICED_BY_OTHERS = (
    "models route provider plugins n_predict best_of use_beam_search web_search_options search_parameters"
)


@pytest.mark.parametrize("name", PRICED_BY_OTHERS.split())
def test_a_field_that_would_buy_more_than_was_priced_is_refused(name: str) -> None:
    body = json.dumps({"model": "m", "messages": [USER], name: 1}).encode()
    assert refusal(body)[::2] == ("unsupported_parameter", name)
    assert parse(**{name: None}).model == "m"


def test_only_the_ordinary_service_tiers_are_sold() -> None:
    body = json.dumps({"model": "m", "messages": [USER], "service_tier": "priority"}).encode()
    assert refusal(body)[::2] == ("unsupported_parameter", "service_tier")
    for tier in ("auto", "default", None):
        assert b"service_tier" in upstream_body(parse(service_tier=tier), model="up")


@pytest.mark.parametrize("name", ["Model", "MAX_TOKENS", "\u017ftream", "max_to\u212aens", "N", "N_Predict"])
def test_a_field_that_some_servers_would_read_in_place_of_ours_is_refused(name: str) -> None:
    code, message, _ = refusal(json.dumps({"model": "m", "messages": [USER], name: 5}).encode())
    assert code == "invalid_parameter"
    assert "lower case" in message


def test_a_stream_asks_for_usage_once_whatever_the_client_wrote() -> None:
    options = b'{"include_usage":false,"Include_Usage":false,"more":1,"include_usage":true}'
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":' + options + b"}"
    request = parse_chat_request(body)
    assert request.include_usage
    assert b'"stream_options":{"more":1,"include_usage":true}' in upstream_body(request, model="up")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, False),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, True),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "none"}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, False),
        ({"thinking": None}, False),
        ({"thinking": "enabled"}, False),
    ],
)
def test_thinking_is_wanted_where_it_was_asked_for(fields: Any, wanted: bool) -> None:
    assert parse(**fields).wants_reasoning is wanted


def test_what_turns_thinking_off_is_kept_from_models_that_have_none() -> None:
    request = parse(reasoning_effort="none")
    assert b'"reasoning_effort":"none"' in upstream_body(request, model="up")
    assert b"reasoning_effort" not in upstream_body(request, model="up", can_reason=False)
    assert b'"reasoning_effort":"low"' in upstream_body(parse(reasoning_effort="low"), model="up", can_reason=False)
