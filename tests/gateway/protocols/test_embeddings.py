"""Embeddings: what a request may be, and that every vector reaches its input, in the form that was asked for."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels, WholeAnswer
from gateway.protocols.embeddings import (
    EmbeddingsRequest,
    RequestShapeError,
    answer_in_steps,
    embeddings_answer,
    embeddings_body,
    estimated_tokens,
    parse_embeddings_request,
    tokens_upper_bound,
)
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.vectors import VectorError, from_base64, from_list

LABELS = Labels(response_id="ours", model="public/model", created=1)
#: The float32 numbers 1.0, -2.0 and 0.5, little-endian: 0000803f 000000c0 0000003f.
THREE, THREE_BASE64 = [1.0, -2.0, 0.5], "AACAPwAAAMAAAAA/"
USAGE = {"prompt_tokens": 2, "total_tokens": 2}


def parse(**fields: Any) -> EmbeddingsRequest:
    """Parse a small request with these fields."""
    return parse_embeddings_request(json.dumps({"model": "m", "input": "Hello", **fields}).encode())


def refusal(body: bytes) -> tuple[str, str, str | None]:
    """Return code, message and param of the error that a body meets."""
    with pytest.raises(RequestShapeError) as caught:
        parse_embeddings_request(body)
    return caught.value.code, caught.value.message, caught.value.param


def theirs(*vectors: Any, indexes: list[int] | None = None, usage: Any = USAGE, **extra: Any) -> bytes:
    """Return an answer as an upstream sends it."""
    data = [
        {"object": "embedding", "index": at if indexes is None else indexes[at], "embedding": vector}
        for at, vector in enumerate(vectors)
    ]
    reported = {} if usage is None else {"usage": usage}
    return json.dumps({"object": "list", "data": data, "model": "secret-name", **reported, **extra}).encode()


def answered(body: bytes, **fields: Any) -> WholeAnswer:
    """Return our answer to a request with these fields, for an upstream's body."""
    return embeddings_answer(body, parse(**fields), LABELS)


def vectors_of(answer: WholeAnswer) -> list[Any]:
    """Return the vectors of an answer of ours, in order, after checking their indexes."""
    data = json.loads(answer.body)["data"]
    assert [entry["index"] for entry in data] == list(range(len(data)))
    return [entry["embedding"] for entry in data]


def failure_of(body: bytes, **fields: Any) -> UpstreamFailure:
    """Return the failure that an upstream's body is."""
    with pytest.raises(UpstreamFailure) as caught:
        answered(body, **fields)
    return caught.value


# --- requests ---------------------------------------------------------------------------------------------------------


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


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_a_vector_by_hand_in_both_forms() -> None:
    as_list, as_text = json.dumps(THREE).encode(), f'"{THREE_BASE64}"'.encode()
    assert from_list(as_list, "base64") == (as_text, 3)
    assert from_base64(as_text, "float") == (b"[1.0,-2.0,0.5]", 3)
    assert from_base64(as_text, "base64") == (as_text, 3)
    assert from_list(b"[ 1.000,\n\t-2e0, 0.5 ]", "float") == (b"[1.000,-2e0,0.5]", 3)


def test_escaped_slashes_are_read() -> None:
    assert from_base64(b'"AACAPwAAAMAAAAA\\/"', "base64") == (f'"{THREE_BASE64}"'.encode(), 3)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_from_floats_to_base64_and_back_nothing_is_lost(numbers: list[float]) -> None:
    there = from_list(json.dumps(numbers).encode(), "base64")
    back = from_base64(there.json, "float")
    assert there.dimensions == back.dimensions == len(numbers)
    packed = struct.pack(f"<{len(numbers)}f", *numbers)
    assert struct.pack(f"<{len(numbers)}f", *json.loads(back.json)) == packed


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(min_value=-1e30, max_value=1e30), min_size=1, max_size=20))
def test_doubles_become_their_nearest_float32(numbers: list[float]) -> None:
    back = json.loads(from_base64(from_list(json.dumps(numbers).encode(), "base64").json, "float").json)
    assert back == list(struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers)))


@pytest.mark.parametrize(
    "text",
    [b"[]", b"[1,null]", b'["1"]', b"[true]", b"[NaN]", b"[Infinity]", b"[1e999]", b"[[1]]", b"[1 2]", b"[1,]", b"["],
)
def test_what_is_no_list_of_numbers_is_no_vector(text: bytes) -> None:
    for encoding in ("float", "base64"):
        with pytest.raises(VectorError):
            from_list(text, encoding)


def test_a_number_beyond_float32_has_no_base64() -> None:
    with pytest.raises(VectorError, match="not finite"):
        from_list(b"[1e39]", "base64")
    assert from_list(b"[3e38]", "base64").dimensions == 1
    assert from_list(b"[1e39]", "float").json == b"[1e39]"


@pytest.mark.parametrize(
    "text",
    [
        b'""',
        b'"AACA"',  # three bytes
        b'"AACAPw="',
        b'"AACA PwAA"',
        b'"AACAPwAA%AAA"',
        b'"\xff\xff\xff\xff"',
        b'"AACA\\',
        b'"AADAfw=="',  # NaN: 0000c07f
        b'"AACAfw=="',  # infinity: 0000807f
        b'"AACA/w=="',  # minus infinity: 000080ff
    ],
)
def test_what_is_no_base64_of_finite_float32_is_no_vector(text: bytes) -> None:
    for encoding in ("float", "base64"):
        with pytest.raises(VectorError):
            from_base64(text, encoding)


def test_the_largest_float32_is_finite() -> None:
    assert json.loads(from_base64(b'"//9/fw=="', "float").json) == [3.4028234663852886e38]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_written_anew_with_our_names() -> None:
    body = theirs(THREE, id="up-1", provider="Secret", system_fingerprint="fp", usage={**USAGE, "cost": 5})
    answer = answered(body)
    assert json.loads(answer.body) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": THREE}],
        "model": "public/model",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
    assert answer.usage == TokenUsage(input=2)
    assert (answer.flags, answer.has_output, answer.output_bytes) == (frozenset(), True, 0)


@pytest.mark.parametrize("given_vector", [THREE, THREE_BASE64], ids=["floats", "base64"])
@pytest.mark.parametrize(("asked", "wanted"), [("float", THREE), ("base64", THREE_BASE64)])
def test_a_client_gets_the_form_that_it_asked_for(given_vector: Any, asked: str, wanted: Any) -> None:
    assert vectors_of(answered(theirs(given_vector), encoding_format=asked)) == [wanted]


def test_an_upstream_may_mix_forms_and_print_prettily() -> None:
    body = json.dumps(json.loads(theirs(THREE, THREE_BASE64)), indent=2).encode()
    assert vectors_of(answered(body, input=["a", "b"])) == [THREE, THREE]
    assert b" " not in answered(body, input=["a", "b"]).body


def test_a_list_keeps_every_digit() -> None:
    body = theirs([0]).replace(b"[0]", b"[-0.006929283495992422, 1E-5,0]")
    assert b'"embedding":[-0.006929283495992422,1E-5,0]}' in answered(body).body


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    body = theirs([3.0], [1.0], [2.0], indexes=[2, 0, 1])
    assert vectors_of(answered(body, input=["a", "b", "c"])) == [[1.0], [2.0], [3.0]]


def test_an_index_that_is_left_out_is_the_place() -> None:
    none = b'{"data":[{"embedding":[1.0]},{"embedding":[2.0]}]}'
    assert vectors_of(answered(none, input=["a", "b"])) == [[1.0], [2.0]]
    no_zero = b'{"data":[{"embedding":[1.0]},{"embedding":[2.0],"index":1},{"embedding":[3.0],"index":null}]}'
    assert vectors_of(answered(no_zero, input=["a", "b", "c"])) == [[1.0], [2.0], [3.0]]


def test_one_list_of_tokens_is_one_input() -> None:
    assert vectors_of(answered(theirs(THREE), input=[15339, 1070])) == [THREE]


def test_dimensions_that_were_asked_for_are_kept() -> None:
    assert vectors_of(answered(theirs(THREE), dimensions=3)) == [THREE]
    failure = failure_of(theirs(THREE), dimensions=2)
    assert (failure.kind, failure.detail) == (
        FailureKind.INVALID,
        "its answer is not valid: a vector has 3 dimensions in place of 2",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"null",
        b"[]",
        b'"embedding"',
        b"{}",
        b'{"data":null}',
        b'{"data":[]}',
        b'{"data":{"0":1}}',
        b'{"data":[1,2]}',
        b'{"data":[{"index":0},{"index":1}]}',
        b'{"data":[{"embedding":null},{"embedding":null}]}',
        b'{"data":[{"embedding":0},{"embedding":1}]}',
        b'{"data":[{"embedding":[1.0]},{"embedding":1}]}',
        b'{"data":[{"embedding":[1.0]},{"embedding":{}}]}',
        b'{"data":[{"embedding":[1.0]},{"embedding":[[1.0]]}]}',
        b'{"data":[{"embedding":[1.0]},{"embedding":[1.0',
        b'{"data":[{"embedding":[1.0]},{"embedding":"AACA',
        b'{"data":[{"embedding":[1.0]},{"embedding":[1.0]}',
        b'{"data":[{"embedding":[1.0]},{"embedding":[1.0]}]]}',
        b'{"data":[{"embedding":[1.0],"index":0.5},{"embedding":[1.0]}]}',
        b'{"data":[{"embedding":[1.0],"index":"0"},{"embedding":[1.0]}]}',
        b'{"embedding":[1.0],"data":[{"index":0},{"embedding":[2.0]}]}',
        b'{"data":' + b"[" * 5000,
        theirs([1.0]),
        theirs([1.0], [2.0], [3.0]),
        theirs([1.0], [2.0], indexes=[0, 0]),
        theirs([1.0], [2.0], indexes=[1, 2]),
        theirs([1.0], [2.0], indexes=[-1, 0]),
        theirs([1.0], [2.0], indexes=[0, 2**70]),
        theirs([1.0], [2.0, 3.0]),
        theirs([1.0], [float("nan")]),
        theirs([1.0], [float("inf")]),
        theirs([1.0], ["2.0"]),
        theirs([1.0], []),
        theirs([1.0], "AACAPw"),
        theirs([1.0], "AADAfw=="),
        theirs([1.0], "AACAPw==").replace(b'"list"', b"list"),
    ],
)
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_what_is_not_one_vector_for_each_input_is_a_failure_of_the_upstream(body: bytes, encoding: str) -> None:
    failure = failure_of(body, input=["a", "b"], encoding_format=encoding)
    assert failure.kind is FailureKind.INVALID
    assert not failure.produced


def test_an_error_object_with_status_200_is_a_failure() -> None:
    failure = failure_of(b'{"error":{"message":"The engine died.","type":"server_error"}}')
    assert failure.kind is FailureKind.SERVER_ERROR
    too_long = failure_of(b'{"error":{"message":"This model\'s maximum context length is 8192 tokens"}}')
    assert (too_long.kind, too_long.code) == (FailureKind.CLIENT_CONTENT, "context_length_exceeded")


@settings(max_examples=500, deadline=None)
@given(
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {
            "data": json_values
            | st.lists(st.fixed_dictionaries({"embedding": json_values, "index": json_values}), max_size=3),
            "usage": json_values,
        }
    ).map(lambda value: json.dumps(value).encode())
    | st.tuples(st.integers(0, 400), st.binary(max_size=3)).map(
        lambda hole: theirs(THREE, THREE_BASE64)[: hole[0]] + hole[1] + theirs(THREE, THREE_BASE64)[hole[0] + 2 :]
    )
)
def test_whatever_an_upstream_sends_is_an_answer_or_a_failure(body: bytes) -> None:
    try:
        answer = answered(body, input=["a", "b"])
    except UpstreamFailure:
        return
    assert all(isinstance(number, int | float) for vector in vectors_of(answer) for number in vector)


# --- usage ------------------------------------------------------------------------------------------------------------

#: For {"model": "m", "input": "Hello"}, which is 32 bytes long.
BOUND, ESTIMATE = 32 + 64 + 16, 2


@pytest.mark.parametrize(
    ("reported", "usage", "flags", "told"),
    [
        ({"prompt_tokens": 3, "total_tokens": 3}, 3, set(), 3),
        ({"prompt_tokens": 3.0}, 3, set(), 3),
        ({"total_tokens": 5}, 5, set(), 5),
        ({"prompt_tokens": None, "total_tokens": 5}, 5, set(), 5),
        (None, None, set(), ESTIMATE),
        ({}, None, set(), ESTIMATE),
        ([1], None, set(), ESTIMATE),
        ({"prompt_tokens": "many"}, None, {"usage_unreadable"}, ESTIMATE),
        ({"prompt_tokens": True}, None, {"usage_unreadable"}, ESTIMATE),
        ({"prompt_tokens": 0, "total_tokens": 0}, ESTIMATE, {"usage_zero_input"}, ESTIMATE),
        ({"prompt_tokens": -7}, ESTIMATE, {"usage_clamped"}, ESTIMATE),
        ({"prompt_tokens": BOUND}, BOUND, set(), BOUND),
        ({"prompt_tokens": BOUND + 1}, BOUND, {"usage_clamped"}, BOUND),
        ({"prompt_tokens": 1e300}, BOUND, {"usage_clamped"}, BOUND),
    ],
)
def test_usage_is_read_put_right_and_told_as_it_is_billed(
    reported: Any, usage: int | None, flags: set[str], told: int
) -> None:
    answer = answered(theirs(THREE, usage=reported))
    assert answer.usage == (None if usage is None else TokenUsage(input=usage))
    assert answer.flags == flags
    assert json.loads(answer.body)["usage"] == {"prompt_tokens": told, "total_tokens": told}
    assert (answer.usage or answer.estimated_usage()) == TokenUsage(input=told)


# --- others get to run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["float", "base64"])
def test_a_large_answer_is_made_in_many_steps(asked: str) -> None:
    numbers = [math.sin(number) for number in range(1536)]
    body = theirs(*[numbers] * 200)
    steps = answer_in_steps(body, parse(input=["x"] * 200, encoding_format=asked), LABELS)
    pauses = 0
    try:
        while True:
            next(steps)
            pauses += 1
    except StopIteration as done:
        answer = done.value
    assert pauses >= len(body) // (300 * 1024)
    assert len(json.loads(answer.body)["data"]) == 200
