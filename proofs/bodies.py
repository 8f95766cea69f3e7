"""Bodies for the chat endpoint, sound and unsound: what tests/flows/test_fuzz.py and the proof ``fuzz`` throw at it.

Strategies of Hypothesis, so that a test can shrink what it found; ``draw`` takes a fixed number from one by a seed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

type Body = Mapping[str, Any]

_json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_texts = st.text(max_size=60)
_urls = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,AAAA", "data:,", "file:///etc/passwd"])
_parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": _texts | _json_values}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": _json_values | st.fixed_dictionaries({"url": _urls | _texts}),
        }
    ),
    _json_values,
)
_messages = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "king"]) | _json_values},
        optional={
            "content": _texts | st.lists(_parts, max_size=3) | _json_values,
            "name": _json_values,
            "tool_call_id": _json_values,
            "tool_calls": _json_values,
        },
    ),
    _json_values,
)
_tools = st.fixed_dictionaries(
    {"type": st.just("function") | _json_values},
    optional={
        "function": st.fixed_dictionaries({"name": _texts | _json_values}, optional={"parameters": _json_values})
        | _json_values
    },
)

# Text that JSON, UTF-8 and PostgreSQL can hold.
_sound_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
_sound_messages = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "developer"]),
        "content": _sound_texts
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": _sound_texts}), min_size=1, max_size=3),
    },
    optional={"name": _sound_texts},
)


def sound(models: Sequence[str]) -> st.SearchStrategy[Body]:
    """Return bodies that deserve an answer, whole or streamed, from a model among ``models`` that can do no more than chat."""
    return st.fixed_dictionaries(
        {
            "model": st.sampled_from(models),
            "messages": st.lists(_sound_messages, min_size=1, max_size=4),
            "stream": st.booleans(),
        },
        optional={
            "stream_options": st.none() | st.fixed_dictionaries({"include_usage": st.booleans()}),
            "max_tokens": st.integers(1, 5000),
            "temperature": st.floats(0, 2),
            "top_p": st.floats(0, 1),
            "stop": st.none() | _sound_texts | st.lists(_sound_texts, max_size=4),
            "seed": st.integers(0, 2**31),
            "user": _sound_texts,
            "metadata": st.dictionaries(_sound_texts, _sound_texts, max_size=3),
            "response_format": st.just({"type": "json_object"}),
        },
    )


def wild(models: Sequence[str]) -> st.SearchStrategy[Body]:
    """Return bodies with the right fields and anything in them."""
    return st.fixed_dictionaries(
        {
            "model": st.sampled_from(models) | _json_values,
            "messages": st.just([{"role": "user", "content": "hi"}]) | st.lists(_messages, max_size=4) | _json_values,
        },
        optional={
            "stream": st.booleans() | _json_values,
            "stream_options": st.just({"include_usage": True}) | _json_values,
            "max_tokens": st.integers(-2, 5000) | _json_values,
            "max_completion_tokens": st.integers(-2, 5000) | _json_values,
            "temperature": st.floats(-1, 3) | _json_values,
            "top_p": _json_values,
            "n": st.integers(-1, 3) | _json_values,
            "stop": _json_values,
            "tools": st.lists(_tools, max_size=3) | _json_values,
            "tool_choice": st.sampled_from(["auto", "none", "required"]) | _json_values,
            "response_format": st.just({"type": "json_object"}) | _json_values,
            "reasoning_effort": st.sampled_from(["low", "high", "extreme"]) | _json_values,
            "logit_bias": _json_values,
            "metadata": _json_values,
            "user": _json_values,
        },
    )


@st.composite
def spoilt(draw: st.DrawFn, models: Sequence[str]) -> Body:
    """Return sound bodies with one field that is anything."""
    body = dict(draw(sound(models)))
    body[draw(st.sampled_from(sorted(body)) | _texts)] = draw(_json_values)
    return body


@st.composite
def damaged(draw: st.DrawFn, model: str) -> bytes:
    """Return encoded bodies of which a piece was replaced by other bytes."""
    message = {"role": "user", "content": "hällo 🦊"}
    whole = encode({"model": model, "messages": [message], "stream": draw(st.booleans())})
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, len(whole)))
    return whole[:start] + draw(st.binary(max_size=12)) + whole[end:]


def encode(body: Body) -> bytes:
    """Return a body as a client sends it that checks nothing: NaN and half surrogate pairs included."""
    return json.dumps(body, allow_nan=True, ensure_ascii=False).encode("utf-8", "surrogatepass")


def draw[T](strategy: st.SearchStrategy[T], count: int, *, seed: int) -> list[T]:
    """Return ``count`` values of a strategy, the same ones for the same seed."""
    drawn: list[T] = []
    while len(drawn) < count:  # Hypothesis stops early when it meets the same values again and again

        @hypothesis.seed(seed + len(drawn))
        @hypothesis.settings(
            max_examples=count - len(drawn),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(strategy)
        def keep(value: T) -> None:
            drawn.append(value)

        keep()
    return drawn[:count]
