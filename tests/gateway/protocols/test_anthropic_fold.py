"""Folding a Messages stream, taking a message apart, and the law: folding relayed events is relaying the folded whole."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_answer import MessagesRelay, relay_whole_message
from gateway.protocols.anthropic_fold import fold_events, message_to_events
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.anthropic_told import tell_messages_usage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.sse import SseParser
from tests.gateway.protocols.grammar import check_messages_stream

LABELS = Labels(response_id="msg_ours", model="public", created=1, estimated_input=7)
REQUEST = parse_messages_request(b'{"model":"public","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}')
HEAD = {"id": "msg_up", "type": "message", "role": "assistant", "model": "secret"}


def payloads_of(*events: Any) -> list[bytes]:
    """Return events as the payloads that an upstream sends."""
    return [json.dumps(event).encode() for event in events]


def delta(index: int, **fields: Any) -> Any:
    """Return a content_block_delta."""
    return {"type": "content_block_delta", "index": index, "delta": fields}


def block(index: int, deltas: Any = (), **fields: Any) -> list[Any]:
    """Return the events of a block."""
    start = {"type": "content_block_start", "index": index, "content_block": fields}
    return [start, *deltas, {"type": "content_block_stop", "index": index}]


#: One of each.
EVENTS = [
    {
        "type": "message_start",
        "message": {**HEAD, "content": [], "stop_reason": None, "usage": {"input_tokens": 9}},
    },
    {"type": "ping"},
    *block(
        0,
        [
            delta(0, type="thinking_delta", thinking="H"),
            delta(0, type="thinking_delta", thinking="m."),
            delta(0, type="signature_delta", signature="sig"),
        ],
        type="thinking",
        thinking="",
        signature="",
    ),
    *block(1, type="redacted_thinking", data="xyz"),
    *block(
        2,
        [
            delta(2, type="text_delta", text="See "),
            delta(2, type="citations_delta", citation={"cited_text": "a"}),
            delta(2, type="text_delta", text="this."),
            delta(2, type="citations_delta", citation={"cited_text": "b"}),
        ],
        type="text",
        text="",
    ),
    *block(
        3,
        [
            delta(3, type="input_json_delta", partial_json=""),
            delta(3, type="input_json_delta", partial_json='{"city": "P'),
            delta(3, type="input_json_delta", partial_json='aris", "n": 1}'),
        ],
        type="tool_use",
        id="t1",
        name="f",
        input={},
    ),
    *block(4, [delta(4, type="input_json_delta", partial_json="")], type="tool_use", id="t2", name="g", input={}),
    *block(
        5,
        [delta(5, type="hologram_delta", beam="a", n=1), delta(5, type="hologram_delta", beam="b", n=2)],
        type="hologram",
    ),
    {"type": "novelty"},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}, "extra": 1},
    {"type": "message_stop"},
]


def test_a_folded_stream_is_the_message_it_stands_for() -> None:
    assert fold_events(payloads_of(*EVENTS)) == {
        **HEAD,
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "See this.", "citations": [{"cited_text": "a"}, {"cited_text": "b"}]},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"city": "Paris", "n": 1}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            {"type": "hologram", "beam": "ab", "n": 2},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 9, "output_tokens": 5},
        "extra": 1,
    }


def test_the_parts_of_an_older_total_go_with_it() -> None:
    parts = {"ephemeral_5m_input_tokens": 3}
    first = {"input_tokens": 9, "cache_creation_input_tokens": 3, "cache_creation": parts, "output_tokens": 1}
    start = {"type": "message_start", "message": {**HEAD, "content": [], "usage": first}}
    same = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5, "cache_creation_input_tokens": 3}}
    other = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5, "cache_creation_input_tokens": 4}}
    assert fold_events(payloads_of(start, same))["usage"] == {**first, "output_tokens": 5}
    assert fold_events(payloads_of(start, other))["usage"] == {
        "input_tokens": 9,
        "cache_creation_input_tokens": 4,
        "output_tokens": 5,
    }


def test_parts_that_add_up_stand_against_later_ones_that_do_not() -> None:
    parts = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1}
    first = {"input_tokens": 2, "cache_creation_input_tokens": 1, "cache_creation": parts, "output_tokens": 0}
    payloads = payloads_of(
        {"type": "message_start", "message": {**HEAD, "content": [], "usage": first}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 3, "cache_creation": dict.fromkeys(parts, 0)},
        },
        {"type": "message_stop"},
    )
    assert fold_events(payloads)["usage"] == {**first, "output_tokens": 3}
    relay = MessagesRelay(LABELS)
    raw = b"".join(relay.feed(payload) for payload in payloads)
    usage = relay.final_usage()
    assert usage is not None
    assert fold_events(SseParser().feed(raw + relay.end(usage)))["usage"]["cache_creation"] == parts


def test_a_stream_against_the_grammar_cannot_be_folded() -> None:
    start = {"type": "message_start", "message": {**HEAD, "content": []}}
    with pytest.raises(UpstreamFailure):
        fold_events(payloads_of(start, start))
    use = block(0, [delta(0, type="input_json_delta", partial_json='{"a')], type="tool_use", id="t", name="f", input={})
    with pytest.raises(UpstreamFailure) as caught:
        fold_events(payloads_of(start, *use))
    assert caught.value.kind is FailureKind.INVALID


def test_a_message_becomes_a_stream() -> None:
    message = {
        **HEAD,
        "content": [
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 5},
    }
    start: dict[str, Any] = {**HEAD, "content": [], "stop_reason": None, "stop_sequence": None}
    assert [json.loads(payload) for payload in message_to_events(message)] == [
        {"type": "message_start", "message": {**start, "usage": {"input_tokens": 9, "output_tokens": 0}}},
        *block(0, [delta(0, type="text_delta", text="Hi")], type="text", text=""),
        *block(
            1, [delta(1, type="input_json_delta", partial_json='{"a":1}')], type="tool_use", id="t", name="f", input={}
        ),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"input_tokens": 9, "output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("message", [{}, {"content": "x"}, {"content": ["x"]}, {"content": None}])
def test_what_is_no_message_becomes_no_stream(message: Any) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        message_to_events(message)
    assert caught.value.kind is FailureKind.INVALID


def test_an_error_becomes_a_failure_and_no_stream() -> None:
    with pytest.raises(UpstreamFailure) as caught:
        message_to_events({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}})
    assert caught.value.kind is FailureKind.RATE_LIMITED


# --- laws -------------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
counts = st.integers(0, 1000)
citations = st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": texts})
inputs = st.dictionaries(
    texts, st.none() | st.booleans() | st.integers(-9, 9) | texts | st.lists(texts, max_size=2), max_size=3
)
cache_parts = st.fixed_dictionaries({"ephemeral_5m_input_tokens": counts, "ephemeral_1h_input_tokens": counts})
usages = st.fixed_dictionaries(
    {"output_tokens": counts},
    optional={
        "input_tokens": counts,
        "cache_read_input_tokens": st.none() | counts,
        "cache_creation_input_tokens": st.none() | counts,
        "cache_creation": st.none() | cache_parts,
        "output_tokens_details": st.fixed_dictionaries({"thinking_tokens": st.just(0)}),
        "service_tier": st.just("standard"),
    },
)


def pieces(text: str, cuts: list[int]) -> list[str]:
    """Return a text in pieces, some of them empty."""
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw the start of a block and its deltas."""
    cuts = draw(st.lists(st.integers(0, 20), max_size=3))
    match draw(st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "hologram"])):
        case "text":
            deltas: list[dict[str, Any]] = [
                {"type": "text_delta", "text": piece} for piece in pieces(draw(texts), cuts)
            ]
            deltas += [{"type": "citations_delta", "citation": one} for one in draw(st.lists(citations, max_size=2))]
            optional: dict[str, Any] = draw(st.sampled_from([{}, {"citations": None}, {"citations": []}]))
            return {"type": "text", "text": draw(texts), **optional}, draw(st.permutations(deltas))
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(draw(texts), cuts)]
            deltas += [{"type": "signature_delta", "signature": draw(texts)}] * draw(st.integers(0, 1))
            return {"type": "thinking", "thinking": "", **draw(st.sampled_from([{}, {"signature": ""}]))}, deltas
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": draw(texts)}, []
        case "tool_use":
            text = json.dumps(draw(inputs), ensure_ascii=draw(st.booleans()))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(text, cuts)]
            start = {"type": "tool_use", "id": draw(texts), "name": draw(texts), "input": {}}
            return start, deltas if draw(st.booleans()) else []
        case _:
            return {"type": "hologram"}, [
                {"type": "hologram_delta", "beam": piece} for piece in pieces(draw(texts), cuts)
            ]


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw the events of a stream that keeps the grammar, with the freedoms that upstreams take."""
    message: dict[str, Any] = {**HEAD, "content": [], "stop_reason": None, "stop_sequence": None}
    for name in draw(st.sets(st.sampled_from(["type", "role", "stop_sequence"]))):
        del message[name]
    if draw(st.booleans()):
        message["usage"] = draw(usages)
    if draw(st.booleans()):
        message["container"] = None
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, (start, deltas) in enumerate(draw(st.lists(blocks(), max_size=4))):
        events += block(index, [delta(index, **fields) for fields in deltas], **start)
    if draw(st.booleans()):
        events.append({"type": "message_delta", "delta": {"stop_sequence": "x"}, "usage": draw(usages)})
    end: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    if draw(st.booleans()):
        end["delta"]["stop_sequence"] = None
    if draw(st.integers(0, 4)):
        end["usage"] = draw(usages)
    if draw(st.booleans()):
        end["context_management"] = {"applied_edits": []}
    events += [end, {"type": "message_stop"}]
    for place in draw(st.lists(st.integers(0, len(events)), max_size=2)):
        events.insert(place, draw(st.sampled_from([{"type": "ping"}, {"type": "novelty", "x": 1}])))
    return events


@settings(max_examples=1200, deadline=None)
@given(streams(), st.booleans(), st.booleans())
def test_folding_the_relayed_stream_is_relaying_the_folded_stream(
    stream: list[dict[str, Any]], ascii_only: bool, compact: bool
) -> None:
    separators = (",", ":") if compact else None
    payloads = [json.dumps(event, ensure_ascii=ascii_only, separators=separators).encode() for event in stream]
    relay = MessagesRelay(LABELS)
    raw = b"".join(relay.feed(payload) for payload in payloads)
    usage = relay.final_usage() or relay.estimated_usage()
    raw += relay.end(usage)
    check_messages_stream(raw)
    whole = relay_whole_message(json.dumps(fold_events(payloads)).encode(), REQUEST, LABELS)
    assert fold_events(SseParser().feed(raw)) == json.loads(tell_messages_usage(whole.body, usage))
    assert relay.finished
    if "usage_stale" not in relay.flags:
        assert (relay.final_usage() is None) == (whole.usage is None)
        if "usage_zero_output" not in relay.flags:
            assert (relay.final_usage(), relay.flags) == (whole.usage, whole.flags)


@st.composite
def wholes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a whole message."""
    content = []
    for start, deltas in draw(st.lists(blocks(), max_size=4)):
        if start["type"] == "tool_use":
            start["input"] = draw(inputs)
        elif start["type"] == "text" and deltas and start.get("citations") == []:
            start["citations"] = draw(st.lists(citations, max_size=2))
        elif start["type"] == "thinking":
            start = {**start, "thinking": draw(texts), "signature": draw(texts)}
        content.append(start)
    end = {"stop_reason": draw(st.sampled_from(["end_turn", "tool_use"])), "stop_sequence": draw(st.none() | texts)}
    return {**HEAD, "content": content, **end, "usage": draw(usages)}


@settings(max_examples=300, deadline=None)
@given(wholes())
def test_a_message_taken_apart_and_folded_is_the_message(message: dict[str, Any]) -> None:
    payloads = message_to_events(message)
    assert fold_events(payloads) == message
    relay = MessagesRelay(LABELS)
    raw = b"".join(relay.feed(payload) for payload in payloads)
    check_messages_stream(raw + relay.end(relay.final_usage() or relay.estimated_usage()))


_odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(["text", "text_delta", "end_turn", "tool_use", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "usage", "input_tokens", "stop_reason", "citation", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
_odd_events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "novelty",
            ]
        )
    },
    optional=dict.fromkeys(("index", "delta", "content_block", "message", "usage", "x"), _odd),
)


@settings(max_examples=500, deadline=None)
@given(streams(), st.lists(_odd_events, max_size=3), st.data())
def test_any_stream_is_relayed_or_a_failure_and_never_a_crash(
    stream: list[dict[str, Any]], odd: list[dict[str, Any]], data: st.DataObject
) -> None:
    for event in odd:
        stream[data.draw(st.integers(0, len(stream) - 1))] = event
    payloads = payloads_of(*stream)
    relay = MessagesRelay(LABELS)
    try:
        for payload in payloads:
            relay.feed(payload)
        fold_events(payloads)
    except UpstreamFailure:
        pass
    relay.final_usage()
    relay.end(relay.estimated_usage())
    for event in odd:
        try:
            relay_whole_message(json.dumps(event.get("message")).encode(), REQUEST, LABELS)
        except UpstreamFailure:
            continue
