"""Embedding requests: the four forms of input, what is refused and in which words, and what the upstream gets."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols.embeddings import (
    EmbeddingsRequest,
    RequestShapeError,
    embeddings_body,
    estimated_tokens,
    parse_embeddings_request,
    tokens_upper_bound,
)


def parse(**fields: Any) -> EmbeddingsRequest:
    """Parse a small request with these fields."""
    return parse_embeddings_request(json.dumps({"model": "m", "input": "Hello", **fields}).encode())


def refusal(body: bytes) -> tuple[str, str, str | None]:
    """Return code, message and param of the error that a body meets."""
    with pytest.raises(RequestShapeError) as caught:
        parse_embeddings_request(body)
    return caught.value.code, caught.value.message, caught.value.param


def test_the_owners_sample_is_read() -> None:
    request = parse_embeddings_request(
        b'{"model": "embedding-model-id", "input": "Text to embed", "encoding_format": "float"}'
    )
    assert (request.model, request.inputs, request.encoding_format) == (
        "embedding-model-id",
        ["Text to embed"],
        "float",
    )
    assert (request.dimensions, request.user, request.token_count) == (None, None, None)


@pytest.mark.parametrize(
    ("given_input", "inputs", "tokens"),
    [
        ("Hello", ["Hello"], None),
        (["Hello", "there"], ["Hello", "there"], None),
        ([15339, 1070], [[15339, 1070]], 2),
        ([0], [[0]], 1),
        ([[15339], [1070, 11, 220]], [[15339], [1070, 11, 220]], 4),
        ([" "], [" "], None),
        (["x"] * 2048, ["x"] * 2048, None),
        (list(range(3000)), [list(range(3000))], 3000),
    ],
)
def test_input_comes_in_four_forms(given_input: Any, inputs: Any, tokens: int | None) -> None:
    request = parse(input=given_input)
    assert request.inputs == inputs
    assert request.token_count == tokens


def test_what_the_answer_needs_is_read_and_null_is_absent() -> None:
    request = parse(encoding_format="base64", dimensions=256, user="u-1")
    assert (request.encoding_format, request.dimensions, request.user) == ("base64", 256, "u-1")
    plain = parse(encoding_format=None, dimensions=None, user=None)
    assert (plain.encoding_format, plain.dimensions, plain.user) == ("float", None, None)


FORMS = "a string, a list of strings, a list of token ids (integers from 0), or a list of lists of token ids"


@pytest.mark.parametrize(
    ("body", "code", "message", "param"),
    [
        (b"", "invalid_json", "The body is empty: send a JSON object.", None),
        (b"[]", "invalid_json", "The body must be an object, it is a list.", None),
        (b'{"model":"m","input":"\xff"}', "invalid_json", "The body is not valid UTF-8 (byte 22).", None),
        (b'{"model":"m","input":[1e999]}', "invalid_json", "The body holds a number out of range (byte 22).", None),
        (b"{}", "missing_parameter", "model is missing.", "model"),
        (b'{"model":"m"}', "missing_parameter", "input is missing.", "input"),
        (
            b'{"model":"","input":"x"}',
            "invalid_parameter",
            "model must be 1 to 256 characters long.",
            "model",
        ),
        (
            b'{"model":"m","input":""}',
            "invalid_parameter",
            "input is empty: send at least one text to embed.",
            "input",
        ),
        (
            b'{"model":"m","input":[]}',
            "invalid_parameter",
            "input is empty: send at least one text to embed.",
            "input",
        ),
        (b'{"model":"m","input":["a",""]}', "invalid_parameter", "input[1] is empty: leave it out.", "input[1]"),
        (b'{"model":"m","input":[[1],[]]}', "invalid_parameter", "input[1] is empty: leave it out.", "input[1]"),
        (
            b'{"model":"m","input":null}',
            "invalid_parameter",
            f"input must be {FORMS}; input is none of these.",
            "input",
        ),
        (
            b'{"model":"m","input":{"text":"x"}}',
            "invalid_parameter",
            f"input must be {FORMS}; input is none of these.",
            "input",
        ),
        (
            b'{"model":"m","input":["a",{"text":"x"}]}',
            "invalid_parameter",
            f"input must be {FORMS}; input[1] is none of these.",
            "input[1]",
        ),
        (
            b'{"model":"m","input":[1,2.5]}',
            "invalid_parameter",
            f"input must be {FORMS}; input[1] is none of these.",
            "input[1]",
        ),
        (
            b'{"model":"m","input":[true]}',
            "invalid_parameter",
            f"input must be {FORMS}; input[0] is none of these.",
            "input[0]",
        ),
        (
            b'{"model":"m","input":[-1]}',
            "invalid_parameter",
            f"input must be {FORMS}; input[0] is none of these.",
            "input[0]",
        ),
        (
            b'{"model":"m","input":[[1],["x"]]}',
            "invalid_parameter",
            f"input must be {FORMS}; input[1][0] is none of these.",
            "input[1][0]",
        ),
        (
            b'{"model":"m","input":[99999999999]}',
            "invalid_parameter",
            f"input must be {FORMS}; input[0] is none of these.",
            "input[0]",
        ),
        (
            b'{"model":"m","input":[1,"a"]}',
            "invalid_parameter",
            f"input must be {FORMS}, and no mixture of these.",
            "input",
        ),
        (
            b'{"model":"m","input":["a",[1]]}',
            "invalid_parameter",
            f"input must be {FORMS}, and no mixture of these.",
            "input",
        ),
        (
            b'{"model":"m","input":"x","encoding_format":"int8"}',
            "invalid_parameter",
            'encoding_format must be "float" or "base64", it is "int8".',
            "encoding_format",
        ),
        (
            b'{"model":"m","input":"x","encoding_format":1}',
            "invalid_parameter",
            "encoding_format must be a string, it is an integer.",
            "encoding_format",
        ),
        (
            b'{"model":"m","input":"x","dimensions":0}',
            "invalid_parameter",
            "dimensions must be from 1 to 65536, it is 0.",
            "dimensions",
        ),
        (
            b'{"model":"m","input":"x","dimensions":"256"}',
            "invalid_parameter",
            "dimensions must be an integer, it is a string.",
            "dimensions",
        ),
        (
            b'{"model":"m","input":"x","user":5}',
            "invalid_parameter",
            "user must be a string, it is an integer.",
            "user",
        ),
        (
            b'{"model":"m","input":"x","messages":[{"role":"user"}]}',
            "unsupported_parameter",
            "messages is not supported. Leave it out.",
            "messages",
        ),
        (
            b'{"model":"m","input":"x","provider":{}}',
            "unsupported_parameter",
            "provider is not supported. Leave it out.",
            "provider",
        ),
        (
            b'{"model":"m","input":"x","stream":true}',
            "unsupported_parameter",
            "stream is not supported. Leave it out.",
            "stream",
        ),
        (
            b'{"model":"m","input":"x","Input":"y"}',
            "invalid_parameter",
            "input must be written in lower case.",
            "input",
        ),
    ],
)
def test_a_malformed_request_is_told_what_is_wrong(body: bytes, code: str, message: str, param: str | None) -> None:
    assert refusal(body) == (code, message, param)


@pytest.mark.parametrize("one", ["x", [1]])
def test_more_inputs_than_one_request_may_hold_are_refused(one: Any) -> None:
    code, message, param = refusal(json.dumps({"model": "m", "input": [one] * 2049}).encode())
    assert (code, param) == ("invalid_parameter", "input")
    assert message == "input holds 2049 inputs, and one request may hold 2048. Send several requests."


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("model", "input", "encoding_format", "dimensions", "user", "stream", "x"), json_values),
    )
)
def test_any_object_is_a_request_or_is_told_what_is_wrong(fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    try:
        request = parse_embeddings_request(body)
    except RequestShapeError:
        return
    assert 1 <= len(request.inputs) <= 2048
    assert all(request.inputs)


def test_the_upstreams_body_differs_in_model_and_form_alone() -> None:
    body = b'{"input": ["a", "b"], "model":"m" , "dimensions":3, "input_type": "query","x":{"y":1.50}}'
    sent = embeddings_body(parse_embeddings_request(body), model="up/model")
    assert sent == (
        b'{"input":["a", "b"],"model":"up/model","dimensions":3,"input_type":"query","x":{"y":1.50},'
        b'"encoding_format":"float"}'
    )


@pytest.mark.parametrize(
    ("asked", "gives_base64", "sent"),
    [
        ({}, False, "float"),
        ({"encoding_format": None}, False, "float"),
        ({"encoding_format": "base64"}, False, "float"),
        ({}, True, "base64"),
        ({"encoding_format": "float"}, True, "base64"),
        ({"encoding_format": "base64"}, True, "base64"),
    ],
)
def test_an_upstream_is_always_told_a_form_that_it_knows(asked: dict[str, Any], gives_base64: bool, sent: str) -> None:
    body = json.loads(embeddings_body(parse(**asked), model="up", gives_base64=gives_base64))
    assert body == {"model": "up", "input": "Hello", "encoding_format": sent}


def test_token_ids_are_counted_and_text_is_bounded_by_its_bytes() -> None:
    tokens = parse(input=[[1, 2, 3], [4]])
    assert estimated_tokens(tokens) == 4
    assert tokens_upper_bound(tokens) == 4 + 64 + 2 * 16
    text = parse_embeddings_request(b'{"model":"m","input":"abcdefghij"}')
    assert estimated_tokens(text) == 3
    assert tokens_upper_bound(text) == 34 + 64 + 16
    assert estimated_tokens(parse(input=["a"] * 8)) == 10
    assert estimated_tokens(parse(input="a")) == 1
