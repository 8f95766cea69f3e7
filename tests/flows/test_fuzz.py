"""Fuzz of the chat endpoint: whatever comes, the answer is no 5xx, has the error shape and echoes no key."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import error_type
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.wire import Answer, post

#: The long version runs 10,000 structured and 5,000 byte-level bodies.
STRUCTURED, BYTES = 250, 120
MODELS = [
    "sandbox/paid",
    "sandbox/echo",
    "lumyx-plus_v1",
    "sandbox/tool-call",
    "vision-model-id",
    "embedding-model-id",
    "none",
    "",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(max_size=60)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts | json_values}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": json_values
            | st.fixed_dictionaries(
                {
                    "url": st.sampled_from(
                        ["https://example.com/a.png", "data:image/png;base64,AAAA", "data:,", "file:///etc/passwd"]
                    )
                    | texts
                }
            ),
        }
    ),
    json_values,
)
messages = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "king"]) | json_values},
        optional={
            "content": texts | st.lists(parts, max_size=3) | json_values,
            "name": json_values,
            "tool_call_id": json_values,
            "tool_calls": json_values,
        },
    ),
    json_values,
)
tools = st.fixed_dictionaries(
    {"type": st.just("function") | json_values},
    optional={
        "function": st.fixed_dictionaries({"name": texts | json_values}, optional={"parameters": json_values})
        | json_values
    },
)
bodies = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS) | json_values,
        "messages": st.just([{"role": "user", "content": "hi"}]) | st.lists(messages, max_size=4) | json_values,
    },
    optional={
        "stream": st.booleans() | json_values,
        "stream_options": st.just({"include_usage": True}) | json_values,
        "max_tokens": st.integers(-2, 5000) | json_values,
        "max_completion_tokens": st.integers(-2, 5000) | json_values,
        "temperature": st.floats(-1, 3) | json_values,
        "top_p": json_values,
        "n": st.integers(-1, 3) | json_values,
        "stop": json_values,
        "tools": st.lists(tools, max_size=3) | json_values,
        "tool_choice": st.sampled_from(["auto", "none", "required"]) | json_values,
        "response_format": st.just({"type": "json_object"}) | json_values,
        "reasoning_effort": st.sampled_from(["low", "high", "extreme"]) | json_values,
        "logit_bias": json_values,
        "metadata": json_values,
        "user": json_values,
    },
)


@pytest.fixture(scope="module")
def fuzzed(installation: Installation) -> Tenant:
    """One workspace that takes it all."""
    tenant = installation.new_tenant(credits_usd="1000")
    installation.manage("workspace", "limits", tenant.slug, "--daily", "0")
    return tenant


def _assert_is_civil(answer: Answer, tenant: Tenant) -> None:
    text = answer.body.decode()
    assert tenant.key not in text + str(answer.headers)
    assert answer.headers["x-request-id"]
    assert answer.status < 500, text
    if answer.status == 200:
        assert '"internal_error"' not in text
        return
    body = answer.json()
    assert set(body) == {"type", "error", "request_id"}
    assert set(body["error"]) == {"message", "type", "code"}
    assert body["error"]["type"] == error_type(answer.status)
    assert body["error"]["code"]
    assert body["error"]["message"]


def fuzz(examples: int) -> settings:
    """Return settings for so many examples, the same ones in every run."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


@fuzz(STRUCTURED)
@given(body=bodies)
def test_no_structured_body_breaks_it(gateway: Gateway, fuzzed: Tenant, body: dict[str, Any]) -> None:
    raw = json.dumps(body, allow_nan=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    _assert_is_civil(post(gateway.port, raw, key=fuzzed.key), fuzzed)


@fuzz(BYTES)
@given(data=st.data())
def test_no_damaged_body_breaks_it(gateway: Gateway, fuzzed: Tenant, data: st.DataObject) -> None:
    whole = json.dumps(
        {"model": "sandbox/paid", "messages": [{"role": "user", "content": "hällo 🦊"}], "stream": True}
    ).encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    damaged = whole[:start] + data.draw(st.binary(max_size=12)) + whole[end:]
    _assert_is_civil(post(gateway.port, damaged, key=fuzzed.key), fuzzed)
