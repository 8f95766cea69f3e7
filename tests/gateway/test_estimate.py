"""Bills without a report of usage: counted by a tokenizer and by size, and never above what was set aside."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating import TokenUsage, charge_for
from billing.types import Admission, Admitted
from gateway.limits.minute import MinuteLimiter
from gateway.pipeline.admit import admit
from gateway.pipeline.estimate import own_count
from gateway.protocols.embeddings import parse_embeddings_request
from gateway.store import Store
from tests.gateway.asgi import Client
from tests.gateway.exchanges import RATES, make_exchange, make_model

EXAMPLES = settings(max_examples=300, deadline=None)


class Purse:
    """Grants any hold up to what is in it."""

    def __init__(self, available: int) -> None:
        self._available = available

    async def admit(self, admission: Admission) -> Admitted:
        held = max(admission.floor, min(admission.amount, self._available))
        return Admitted(admission.request_id, held=held, available=self._available)


def by_size(output: int) -> TokenUsage:
    """Return an estimate by bytes, its input far off."""
    return TokenUsage(input=10**9, output=output)


def test_the_input_is_what_a_tokenizer_counts() -> None:
    # "Hello" is one token; 4 stand around it, and 3 before the answer.
    assert own_count(make_exchange(Client()), by_size(12)) == TokenUsage(input=8, output=12)


def test_escapes_are_not_billed() -> None:
    cyrillic = own_count(
        make_exchange(Client(), messages=[{"role": "user", "content": "Привет, мир! " * 50}]), by_size(1)
    )
    latin = own_count(
        make_exchange(Client(), messages=[{"role": "user", "content": "Hello, world! " * 50}]), by_size(1)
    )
    assert cyrillic.input == pytest.approx(latin.input, rel=0.5)


@pytest.mark.parametrize(
    ("fields", "lowered", "output"),
    [
        ({}, None, 1_000),  # the model's own limit
        ({"max_tokens": 100}, None, 100),
        ({"max_tokens": 100, "n": 3}, None, 300),
        ({}, 40, 40),  # what the balance covered
        ({"n": 2}, 40, 80),
    ],
)
def test_the_output_is_at_most_what_was_set_aside(fields: dict[str, Any], lowered: int | None, output: int) -> None:
    exchange = make_exchange(Client(), **fields)
    exchange.max_tokens = lowered
    assert own_count(exchange, by_size(10**6)).output == output
    assert own_count(exchange, by_size(5)).output == 5


def test_the_input_of_embeddings_is_what_their_answer_says_already() -> None:
    exchange = make_exchange(Client())
    exchange.request = parse_embeddings_request(b'{"model": "our-name", "input": "Hello there"}')
    assert own_count(exchange, TokenUsage(input=4)) == TokenUsage(input=4)


def test_the_input_is_at_most_what_was_set_aside() -> None:
    model = make_model(context_window=500)
    long = make_exchange(Client(), model=model, messages=[{"role": "user", "content": "word " * 5_000}])
    assert own_count(long, by_size(1)).input == 500


PARTS = st.one_of(
    st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=60).map(
        lambda text: {"type": "text", "text": text}
    ),
    st.just({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}),
    st.integers(0, 200_000).map(
        lambda size: {"type": "input_audio", "input_audio": {"data": "A" * size, "format": "mp3"}}
    ),
    st.just({"type": "file", "file": {"file_id": "f"}}),
)


@EXAMPLES
@given(
    parts=st.lists(PARTS, max_size=4),
    size=st.integers(1, 10**7),
    max_tokens=st.none() | st.integers(1, 3_000),
    n=st.integers(1, 4),
    available=st.integers(0, 10**8),
)
async def test_no_count_of_ours_costs_more_than_the_hold(
    parts: list[Any], size: int, max_tokens: int | None, n: int, available: int
) -> None:
    fields: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    exchange = make_exchange(Client(), messages=[{"role": "user", "content": parts}], n=n, **fields)
    await admit(exchange, store=cast(Store, Purse(available)), minute=cast(MinuteLimiter, None), lease=45.0)
    assert charge_for(own_count(exchange, by_size(size)), RATES) <= exchange.held
