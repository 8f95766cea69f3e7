"""The sandbox's embedding model: deterministic, of unit length, exact in its usage, the same in both forms."""

import asyncio
import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols.embeddings import parse_embeddings_request, tokens_upper_bound
from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure, open_embeddings
from gateway.upstreams.sandbox_embeddings import vector_of
from tests.gateway.upstreams.calls import Collector, route_to, upstream_at

SANDBOX = upstream_at("", protocol="sandbox", provider="sandbox")


async def embedded(given_input: Any, *, model: str = "embedding", **fields: Any) -> dict[str, Any]:
    """Return the sandbox's answer, after checking that its usage is within our bound."""
    body = json.dumps({"model": model, "input": given_input, **fields}).encode()
    call = open_embeddings(UpstreamClient(), route_to(SANDBOX, model), body)
    await call.start()
    answer: dict[str, Any] = json.loads(await call.read())
    await call.aclose()
    assert answer["usage"]["prompt_tokens"] <= tokens_upper_bound(parse_embeddings_request(body))
    return answer


async def vectors(given_input: Any, **fields: Any) -> list[Any]:
    """Return the vectors of an answer."""
    return [entry["embedding"] for entry in (await embedded(given_input, **fields))["data"]]


async def test_the_same_text_has_the_same_vector_and_another_has_another() -> None:
    first, again, other = await vectors(["Hello there", "hello  THERE", "Goodbye"])
    assert first == again
    assert first != other
    assert [first] == await vectors("Hello there")
    assert len(first) == 256


async def test_a_vector_is_the_same_in_every_process_and_whatever_the_order_of_the_words() -> None:
    # SHAKE-128 of "a" is 85c8 de88 d288 66bf 0868 090b 3961 162b f823 92f6 90d9 e473 0910 f4af 7c6a b3ee. Halved, these numbers
    # are 0, 0, 0, 3, 0, 1, 0, 1, 1, 3, 0, 1, 0, 3, 1 and 3 modulo 4; the odd ones count as 1, the
    # even ones as -1: -3, 3, 0 and 0.
    (vector,) = await vectors("A", dimensions=4)
    assert vector == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5), 0, 0], abs=1e-7)
    assert await vectors("Hello there") == await vectors("there hello")


async def test_both_forms_hold_the_same_numbers() -> None:
    (numbers,) = await vectors("Hello there")
    (text,) = await vectors("Hello there", encoding_format="base64")
    assert list(struct.unpack("<256f", base64.b64decode(text))) == numbers


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.integers(1, 300))
def test_vectors_have_unit_length_and_the_dimensions_that_were_asked_for(words: list[str], dimensions: int) -> None:
    vector = vector_of(words, dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [("one two  three", 3), (["one two", "three"], 3), ([5, 6, 7], 3), ([[5], [6, 7]], 3), (" ", 1), (["x" * 500], 1)],
)
async def test_a_word_or_a_token_id_is_a_token(given_input: Any, tokens: int) -> None:
    answer = await embedded(given_input)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


async def test_what_it_cannot_do_is_the_clients_mistake() -> None:
    with pytest.raises(UpstreamFailure) as caught:
        await embedded("x", dimensions=4097)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CLIENT_CONTENT, "")
    with pytest.raises(UpstreamFailure) as caught:
        await embedded("word " * 8193)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CLIENT_CONTENT, "context_length_exceeded")
    assert len(await vectors("word " * 8192)) == 1


async def test_a_model_that_fails_fails_before_it_answers() -> None:
    with pytest.raises(UpstreamFailure) as caught:
        await embedded("x", model="error-before-first-byte")
    assert caught.value.kind is FailureKind.SERVER_ERROR


async def test_it_streams_nothing() -> None:
    call = open_embeddings(UpstreamClient(), route_to(SANDBOX), b'{"model":"m","input":"x"}')
    await call.start()
    with pytest.raises(UpstreamFailure):
        await call.pour(Collector([]))


def test_other_protocols_have_no_embeddings() -> None:
    with pytest.raises(UpstreamFailure):
        open_embeddings(UpstreamClient(), route_to(upstream_at("", protocol="anthropic_messages")), b"{}")


async def test_many_inputs_let_others_run() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    other = asyncio.create_task(tick())
    await embedded(["word " * 100] * 100)
    other.cancel()
    assert ticks >= 4
