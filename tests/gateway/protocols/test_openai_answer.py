"""Answers on their way to the client: ids and models are ours, forced usage is out, and billing knows what came out."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating import TokenUsage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import ChunkRelay, fold_chunks, relay_whole, stream_error, whole_to_chunks

HEAD = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "secret/model"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chunk(delta: Any = None, finish_reason: str | None = None, *, index: int = 0, **top: Any) -> bytes:
    """Return the payload of a chunk with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish_reason}
    return json.dumps({**HEAD, "choices": [choice], **top}, separators=(",", ":")).encode()


def usage_chunk(usage: Any = None) -> bytes:
    """Return the payload of a chunk with usage and no choices."""
    return json.dumps({**HEAD, "choices": [], "usage": usage or USAGE}).encode()


def relay(*, include_usage: bool = False) -> ChunkRelay:
    """Return a new relay."""
    return ChunkRelay("chatcmpl-ours", "public", include_usage)


def fed(payload: bytes, *, include_usage: bool = False) -> Any:
    """Return what a new relay makes of one payload, decoded; None if nothing is left."""
    out = relay(include_usage=include_usage).feed(payload)
    return None if out is None else json.loads(out)


def failure_of(payload: bytes, at: ChunkRelay | None = None) -> UpstreamFailure:
    """Return the failure that a payload is."""
    with pytest.raises(UpstreamFailure) as caught:
        (at or relay()).feed(payload)
    return caught.value


def test_id_and_model_are_replaced_and_the_rest_is_kept() -> None:
    told = fed(chunk({"content": "Hi", "odd": [1]}, system_fingerprint="fp", x={"y": 1}))
    assert told == {
        **HEAD,
        "id": "chatcmpl-ours",
        "model": "public",
        "choices": [{"index": 0, "delta": {"content": "Hi", "odd": [1]}, "finish_reason": None}],
        "system_fingerprint": "fp",
        "x": {"y": 1},
    }


def test_the_second_chunk_goes_through_byte_for_byte_behind_its_head() -> None:
    stream = relay()
    stream.feed(chunk({"content": "a"}))
    tail = b'[{"index":0, "delta" :{"content":"\\u00e9 1.0"},"n":1.0}],"z":1e2}'
    head = b'{"id":"up-1","object":"chat.completion.chunk","created":1,"model":"secret/model","choices":'
    ours = b'{"id":"chatcmpl-ours","object":"chat.completion.chunk","created":1,"model":"public","choices":'
    assert stream.feed(head + tail) == ours + tail


@pytest.mark.parametrize(
    "payload",
    [
        b'{"choices":[{"index":0,"delta":{"content":"x"}}],"model":"secret/model","id":"up-1"}',
        b'{"model":"secret/model","choices":[{"index":0,"delta":{"content":"x"}}],"id":"up-1"}',
        b'{"choices":[{"index":0,"delta":{"content":"x"}}]}',
        b'{ "id" : "up-1" , "model" : "secret/model" , "choices" : [{"index":0,"delta":{"content":"x"}}] }',
        b'{"id":5,"model":null,"choices":[{"index":0,"delta":{"content":"x"}}]}',
    ],
)
def test_an_unusual_order_of_fields_hides_nothing(payload: bytes) -> None:
    stream = relay()
    for _ in range(3):
        told = json.loads(stream.feed(payload) or b"")
        assert (told["id"], told["model"]) == ("chatcmpl-ours", "public")
        assert told["choices"][0]["delta"] == {"content": "x"}


def test_text_that_looks_like_a_head_is_left_alone() -> None:
    text = '"choices":[{"id":"up-1","model":"secret/model","usage":null'
    stream = relay()
    for _ in range(2):
        told = json.loads(stream.feed(chunk({"content": text}, usage=None)) or b"")
        assert told["choices"][0]["delta"]["content"] == text
        assert "usage" not in told


def test_usage_that_only_we_asked_for_does_not_reach_the_client() -> None:
    stream = relay()
    assert "usage" not in json.loads(stream.feed(chunk({"content": "a"}, usage=None)) or b"")
    assert "usage" not in json.loads(stream.feed(chunk({}, "stop", usage=USAGE)) or b"")
    assert stream.feed(usage_chunk()) is None
    assert stream.usage == TokenUsage(input=10, output=5)
    assert not stream.told_usage


def test_usage_that_the_client_asked_for_reaches_it() -> None:
    stream = relay(include_usage=True)
    assert json.loads(stream.feed(chunk({"content": "a"}, usage=None)) or b"")["usage"] is None
    assert not stream.told_usage
    told = json.loads(stream.feed(usage_chunk()) or b"")
    assert (told["choices"], told["usage"], told["id"]) == ([], USAGE, "chatcmpl-ours")
    assert stream.told_usage


def test_a_chunk_without_choices_or_usage_is_not_for_clients() -> None:
    assert fed(b'{"type":"ping"}') is None


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"refusal": "x"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"data": "AAAA"}},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
    ],
)
def test_any_kind_of_content_is_the_start(delta: Any) -> None:
    stream = relay()
    stream.feed(chunk({"role": "assistant", "content": ""}))
    assert not stream.started
    stream.feed(chunk(delta))
    assert stream.started
    assert stream.estimated_usage().output > 0


@pytest.mark.parametrize("name", ["function_call", "audio", "images", "tool_calls", "refusal", "reasoning_content"])
@pytest.mark.parametrize("nothing", [None, [], {}, ""])
def test_an_empty_field_is_no_content(name: str, nothing: Any) -> None:
    stream = relay()
    stream.feed(chunk({"role": "assistant", "content": "", name: nothing}))
    assert not stream.started


def test_a_stream_is_finished_when_every_choice_is() -> None:
    stream = relay()
    assert not stream.finished
    stream.feed(chunk({"content": "a"}, index=0))
    stream.feed(chunk({"content": "b"}, index=1))
    stream.feed(chunk({}, "stop", index=0))
    assert not stream.finished
    stream.feed(chunk({}, "length", index=1))
    assert stream.finished


def test_our_own_count_is_a_token_for_four_bytes() -> None:
    stream = ChunkRelay("i", "m", False, estimated_input=7)
    stream.feed(chunk({"content": "12345678"}))
    stream.feed(chunk({"content": "é"}))
    assert stream.estimated_usage() == TokenUsage(input=7, output=3)


@pytest.mark.parametrize(
    ("usage", "expected", "flags"),
    [
        (USAGE, TokenUsage(input=10, output=5), set()),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            TokenUsage(input=10, cache_read=60, cache_write=30, output=50, reasoning=20),
            set(),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 40},
            TokenUsage(input=60, cache_read=40, output=5),
            set(),
        ),
        (
            {"prompt_tokens": 7, "completion_tokens": 15, "total_tokens": 1022},
            TokenUsage(input=7, output=1015, reasoning=1000),
            {"reasoning_outside"},
        ),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 15,
                "total_tokens": 52,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            TokenUsage(input=7, output=45, reasoning=30),
            {"reasoning_outside"},
        ),
        ({"prompt_tokens": -5, "completion_tokens": 5}, TokenUsage(output=5), {"usage_clamped"}),
        ({"prompt_tokens": 5, "completion_tokens": 1e30}, TokenUsage(input=5, output=100_000_000), {"usage_clamped"}),
        (
            {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}},
            TokenUsage(cache_read=5, output=5),
            {"usage_clamped"},
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 9}},
            TokenUsage(input=5, output=5, reasoning=5),
            {"usage_clamped"},
        ),
        ({"prompt_tokens": 5.0, "completion_tokens": 5}, TokenUsage(input=5, output=5), set()),
        ({"prompt_tokens": 5, "completion_tokens": "5"}, TokenUsage(input=5), {"usage_clamped"}),
        ({"prompt_tokens": "5", "completion_tokens": "5"}, None, {"usage_unreadable"}),
        ({"prompt_tokens": True, "completion_tokens": False}, None, {"usage_unreadable"}),
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": [1]},
            TokenUsage(input=5, output=2),
            set(),
        ),
        ({"prompt_tokens": None}, None, set()),
        ({"seconds": 3}, None, set()),
    ],
)
def test_reported_usage_becomes_disjoint_classes(usage: Any, expected: TokenUsage | None, flags: set[str]) -> None:
    stream = relay()
    stream.feed(usage_chunk(usage))
    assert (stream.usage, set(stream.flags)) == (expected, flags)
    answer = {"choices": [{"index": 0, "message": {"content": ""}}], "usage": usage}
    whole = relay_whole(json.dumps(answer).encode(), response_id="i", model="m")
    assert (whole.usage, set(whole.flags)) == (expected, flags)


def test_zero_output_reported_for_text_that_came_is_our_own_count() -> None:
    stream = relay()
    stream.feed(chunk({"content": "x" * 40}))
    stream.feed(usage_chunk({"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}))
    assert (stream.usage, set(stream.flags)) == (TokenUsage(input=5, output=10), {"usage_zero_output"})


def test_the_last_report_of_usage_counts() -> None:
    stream = relay()
    for count in (1, 2, 3):
        stream.feed(chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": count}))
    assert stream.usage == TokenUsage(input=9, output=3)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"message": "boom", "type": "server_error"}, FailureKind.SERVER_ERROR, ""),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, FailureKind.RATE_LIMITED, ""),
        ({"message": "busy", "code": 429}, FailureKind.RATE_LIMITED, ""),
        ({"message": "x", "code": "context_length_exceeded"}, FailureKind.CLIENT_CONTENT, "context_length_exceeded"),
        ("plain text", FailureKind.SERVER_ERROR, ""),
    ],
)
def test_an_error_in_the_stream_is_a_failure(error: Any, kind: FailureKind, code: str) -> None:
    payload = json.dumps({"error": error}).encode()
    failure = failure_of(payload)
    assert (failure.kind, failure.code, failure.produced) == (kind, code, False)
    with pytest.raises(UpstreamFailure):
        relay_whole(payload, response_id="i", model="m")


def test_a_failure_after_content_says_so_and_may_not_be_retried() -> None:
    stream = relay()
    stream.feed(chunk({"content": "a"}))
    failure = failure_of(b'{"error":{"message":"boom"}}', stream)
    assert failure.produced
    assert not failure.may_retry


@pytest.mark.parametrize(
    "payload", [b"garbage", b"", b"[1]", b'"x"', b"{", b'{"choices":[{"delta":{"content":"\xff"}}]}', b"5"]
)
def test_what_is_no_chunk_is_invalid(payload: bytes) -> None:
    assert failure_of(payload).kind is FailureKind.INVALID


def test_nesting_without_end_is_a_failure_and_not_a_crash() -> None:
    for field in (b"x", b"error", b"usage", b"choices"):
        payload = b'{"choices":[{"index":0,"delta":{}}],"%b":' % field + b"[" * 500_000 + b"]" * 500_000 + b"}"
        assert failure_of(payload).kind is FailureKind.INVALID


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":"x"}',
        b'{"choices":[{}],"x":"\xff"}',
    ],
)
def test_what_is_no_answer_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        relay_whole(body, response_id="i", model="m")
    assert caught.value.kind is FailureKind.INVALID


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "model", "choices", "usage", "error", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["index", "delta", "message", "content", "tool_calls", "finish_reason", "prompt_tokens"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=15,
        ),
    )
)
def test_any_object_is_relayed_dropped_or_a_failure_and_never_a_crash(value: dict[str, Any]) -> None:
    payload = json.dumps(value).encode()
    for include_usage in (True, False):
        try:
            told = relay(include_usage=include_usage).feed(payload)
            relay_whole(payload, response_id="chatcmpl-ours", model="public")
        except UpstreamFailure:
            continue
        if told is not None:
            assert json.loads(told)["model"] == "public"


def test_a_whole_answer_keeps_all_but_id_and_model() -> None:
    rest = b'"choices":[{"index":0, "message":{"content":"hi"}}],"x":{"y": 1.0}}'
    answer = relay_whole(
        b'{"id":"up","created":1,"model":"secret",' + rest, response_id="chatcmpl-1", model="public", estimated_input=3
    )
    assert answer.body == b'{"id":"chatcmpl-1","created":1,"model":"public",' + rest
    assert answer.has_output
    assert (answer.usage, answer.estimated_usage()) == (None, TokenUsage(input=3, output=1))


def test_an_answer_with_nothing_in_it_has_no_output() -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":null},"finish_reason":"stop"}]}'
    assert not relay_whole(body, response_id="i", model="m").has_output


def test_an_error_event_is_one_event() -> None:
    assert stream_error(b'{"error":{}}') == b'data: {"error":{}}\n\n'


# --- the law ----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
calls = st.lists(
    st.fixed_dictionaries(
        {"index": st.integers(0, 2)},
        optional={
            "id": st.sampled_from(["call_a", "call_b"]),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"arguments": texts}, optional={"name": st.sampled_from(["f", "g"])}),
        },
    ),
    max_size=3,
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": st.none() | texts,
        "reasoning_content": texts,
        "refusal": st.none() | texts,
        "tool_calls": calls,
        "annotations": st.lists(st.just({"type": "url"}), max_size=2),
    },
)
choices = st.fixed_dictionaries(
    {"index": st.integers(0, 2), "delta": deltas},
    optional={
        "finish_reason": st.sampled_from([None, "stop", "length"]),
        "logprobs": st.none() | st.fixed_dictionaries({"content": st.lists(st.just({"token": "a"}), max_size=2)}),
    },
)
chunks = st.fixed_dictionaries(
    {
        "id": st.just("up-1"),
        "object": st.just("chat.completion.chunk"),
        "created": st.integers(1, 2),
        "model": st.sampled_from(["secret", "secret-2"]),
        "choices": st.lists(choices, min_size=1, max_size=2),
    },
    optional={
        "system_fingerprint": st.none() | st.just("fp"),
        "usage": st.none() | st.just({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    },
)


def encoded(payload: Any, *, ascii_only: bool, compact: bool) -> bytes:
    """Return a payload as one of the spellings that providers use."""
    separators = (",", ":") if compact else None
    return json.dumps(payload, ensure_ascii=ascii_only, separators=separators).encode()


@settings(max_examples=120, deadline=None)
@given(st.lists(chunks, min_size=1, max_size=8), st.booleans(), st.booleans(), st.booleans())
def test_folding_the_relayed_stream_is_relaying_the_folded_stream(
    stream: list[dict[str, Any]], include_usage: bool, ascii_only: bool, compact: bool
) -> None:
    payloads = [encoded(payload, ascii_only=ascii_only, compact=compact) for payload in stream]
    relayer = ChunkRelay("chatcmpl-ours", "public", include_usage)
    relayed = fold_chunks([out for payload in payloads if (out := relayer.feed(payload)) is not None])
    whole = relay_whole(json.dumps(fold_chunks(payloads)).encode(), response_id="chatcmpl-ours", model="public")
    expected = json.loads(whole.body)
    if not include_usage:
        expected.pop("usage", None)
    assert relayed == expected
    assert relayer.usage == whole.usage
    assert relayer.started == (whole.output_bytes > 0 or relayer.output_bytes > 0)


def test_a_folded_stream_is_the_answer_it_stands_for() -> None:
    answer = fold_chunks(
        [
            chunk({"role": "assistant", "content": None}),
            chunk({"reasoning_content": "Hm"}),
            chunk({"reasoning_content": "."}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk(
                {
                    "tool_calls": [
                        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
                    ]
                }
            ),
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ]
                }
            ),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]}),
            chunk(
                {
                    "tool_calls": [
                        {"index": 1, "function": {"arguments": "{}"}},
                        {"index": 0, "function": {"arguments": ":1}"}},
                    ]
                }
            ),
            chunk({}, "tool_calls"),
            usage_chunk(),
        ]
    )
    assert answer == {
        "id": "up-1",
        "object": "chat.completion",
        "created": 1,
        "model": "secret/model",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "reasoning_content": "Hm.",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USAGE,
    }


@settings(max_examples=80, deadline=None)
@given(st.lists(chunks, min_size=1, max_size=5))
def test_a_whole_answer_as_chunks_folds_back(stream: list[dict[str, Any]]) -> None:
    answer = fold_chunks([json.dumps(payload).encode() for payload in stream])
    assert fold_chunks(whole_to_chunks(answer)) == answer


@pytest.mark.parametrize("choices", [["x"], [{"message": "x"}], [{"message": {"tool_calls": ["x"]}}], "x", [None], 5])
def test_a_malformed_whole_answer_makes_chunks_and_no_crash(choices: Any) -> None:
    for payload in whole_to_chunks({"choices": choices, "usage": "x"}):
        json.loads(payload)
