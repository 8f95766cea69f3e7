"""Embedding answers: every vector reaches its input, in the form that was asked for, or none does."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels, WholeAnswer
from gateway.protocols.embeddings import (
    EmbeddingsRequest,
    answer_in_steps,
    embeddings_answer,
    parse_embeddings_request,
)
from gateway.protocols.failures import FailureKind, UpstreamFailure

LABELS = Labels(response_id="ours", model="public/model", created=1)
#: The float32 numbers 1.0, -2.0 and 0.5, little-endian: 0000803f 000000c0 0000003f.
THREE, THREE_BASE64 = [1.0, -2.0, 0.5], "AACAPwAAAMAAAAA/"
USAGE = {"prompt_tokens": 2, "total_tokens": 2}


def parse(**fields: Any) -> EmbeddingsRequest:
    """Parse a small request with these fields."""
    return parse_embeddings_request(json.dumps({"model": "m", "input": "Hello", **fields}).encode())


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


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


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
        theirs([1.0], [0.25] * 400_000),
        theirs([1.0], "AACA" * 600_000),
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
