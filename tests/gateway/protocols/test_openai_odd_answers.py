"""Answers of upstreams with ways of their own: all that reaches a client is billed, and nothing of who answered reaches it."""

import json
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import relay_whole
from tests.gateway.protocols.test_openai_answer import HEAD, USAGE, chunk, failure_of, relay


@pytest.mark.parametrize("first", [0, 1])
def test_what_comes_out_after_the_last_report_of_usage_is_billed_by_our_own_count(first: int) -> None:
    stream = relay(include_usage=True)
    stream.feed(chunk({"content": "x" * 4 * first}, usage={"prompt_tokens": 9, "completion_tokens": first}))
    assert stream.told_usage
    stream.feed(chunk({"content": "x" * 40}))
    assert not stream.told_usage
    assert stream.final_usage() == TokenUsage(input=9, output=first + 10)
    assert "usage_stale" in stream.flags


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"images": [{"image_url": {"url": "data:image/png;base64,AAAA"}}]}},
        {"message": {"content": "Hello"}},
        {"text": "Hello"},
        {"text": "Hello", "delta": {"content": ["odd"]}},
    ],
)
def test_output_in_an_odd_place_is_output_all_the_same(choice: dict[str, Any]) -> None:
    payload = json.dumps({**HEAD, "choices": [{"index": 0, **choice}]}).encode()
    stream = relay()
    stream.feed(payload)
    assert stream.started
    assert relay_whole(payload, response_id="i", model="m").has_output


@pytest.mark.parametrize("position", ["before", "after"])
def test_what_names_the_upstream_or_its_prices_is_taken_out(position: str) -> None:
    names = {"provider": "Secret Inc", "x_groq": {"id": "req_secret"}}
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 0}, "cost": 0.25, "cost_details": {"secret": 1}}
    choices = [{"index": 0, "delta": {"content": "Hi"}, "message": {"content": "Hi"}}]
    stream = relay(include_usage=True)
    for top in ({"choices": choices}, {"choices": choices}, {"choices": choices, "usage": usage}):
        payload = json.dumps({**HEAD, **(names | top if position == "before" else top | names)}).encode()
        for told in (stream.feed(payload), relay_whole(payload, response_id="i", model="m").body):
            assert told is not None
            assert b"ecret" not in told
            assert b"cost" not in told
    assert json.loads(told or b"")["usage"] == {**USAGE, "prompt_tokens_details": {"cached_tokens": 0}}


def test_an_error_inside_a_choice_is_a_failure_and_not_for_clients() -> None:
    payload = json.dumps({**HEAD, "choices": [{"index": 0, "delta": {}, "error": {"message": "10.0.0.7"}}]}).encode()
    assert failure_of(payload).kind is FailureKind.SERVER_ERROR
    with pytest.raises(UpstreamFailure):
        relay_whole(payload, response_id="i", model="m")


@pytest.mark.parametrize(
    "error", ["a\nERROR forged", {"message": "a\r\nERROR forged\x1b[2J"}, {"odd": "a\u2028ERROR forged"}]
)
def test_an_error_of_an_upstream_is_one_line_of_the_log(error: Any) -> None:
    detail = failure_of(json.dumps({"error": error}).encode()).detail
    assert "ERROR forged" in detail
    assert detail.isprintable()
