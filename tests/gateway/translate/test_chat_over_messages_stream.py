"""Messages streams as chat completion chunks: each kind of block, the end, usage, and streams that break their grammar."""

import json
from collections import deque
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.chat_over_messages import ChatOverMessages
from tests.gateway.translate.chat_calls import (
    block,
    closing,
    deltas_of,
    event,
    opening,
    payloads_in,
    stream_of,
)

FORMAT = "anthropic-claude-v1"
TEXT = {"type": "text", "text": ""}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def said(words: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": words}


def thought(words: str) -> dict[str, Any]:
    return {"type": "thinking_delta", "thinking": words}


def piece(part: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": part}


def detail(index: int, **fields: str) -> dict[str, Any]:
    return {"type": "reasoning.text", **fields, "format": FORMAT, "index": index}


def told(*blocks: list[bytes], **fields: Any) -> list[dict[str, Any]]:
    """Return the deltas for blocks, without the role's at the start and the end's."""
    payloads = [opening(), *(payload for events in blocks for payload in events), *closing()]
    first, *deltas, last = deltas_of(stream_of(**fields), payloads)
    assert first == {"role": "assistant"}
    assert last == {}
    return deltas


def failure_of(stream: ChatOverMessages, payloads: list[bytes]) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        deque(map(stream.feed, payloads), maxlen=0)
    return caught.value


def test_a_stream_is_chunks_from_the_role_to_the_reason() -> None:
    stream = stream_of()
    head = '{"id":"chatcmpl-ours","object":"chat.completion.chunk","created":1700000000,"model":"public","choices":'
    tail = ',"finish_reason":null}]}\n\n'
    assert stream.feed(opening()).decode() == f'data: {head}[{{"index":0,"delta":{{"role":"assistant"}}{tail}'
    first, second, last = block(0, TEXT, said('Hi "you" é\n'))
    assert stream.feed(first) == b""
    assert stream.feed(second).decode() == (f'data: {head}[{{"index":0,"delta":{{"content":"Hi \\"you\\" é\\n"}}{tail}')
    assert stream.feed(last) == b""
    assert not stream.finished
    reason, stop = closing()
    assert stream.feed(reason).decode() == f'data: {head}[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}\n\n'
    assert stream.finished
    assert stream.feed(stop) == b""
    assert stream.end(TokenUsage()) == b"data: [DONE]\n\n"


def test_texts_come_out_as_they_come_in() -> None:
    assert told(block(0, TEXT, said("a"), said(""), said("b")), block(1, {"type": "text", "text": "c"}, said("d"))) == [
        {"content": "a"},
        {"content": "b"},
        {"content": "c"},
        {"content": "d"},
    ]


def test_thinking_is_reasoning_and_its_details() -> None:
    redacted = {"type": "redacted_thinking", "data": "xx"}
    signed = {"type": "signature_delta", "signature": "sig"}
    assert told(
        block(0, THINKING, thought("hm"), thought(""), thought("so"), signed),
        block(1, redacted),
        block(2, TEXT, said("a")),
        block(3, THINKING, thought("more"), signed),
        block(4, THINKING, signed),
        block(5, THINKING),
        block(6, {"type": "thinking", "thinking": "all", "signature": "s"}),
        block(7, {"type": "thinking", "thinking": "", "signature": "s"}),
    ) == [
        {"reasoning_content": "hm", "reasoning_details": [detail(0, text="hm")]},
        {"reasoning_content": "so", "reasoning_details": [detail(0, text="so")]},
        {"reasoning_details": [detail(0, signature="sig")]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "xx", "format": FORMAT, "index": 1}]},
        {"content": "a"},
        {"reasoning_content": "more", "reasoning_details": [detail(2, text="more")]},
        {"reasoning_details": [detail(2, signature="sig")]},
        {"reasoning_details": [detail(3, signature="sig")]},
        {"reasoning_content": "all", "reasoning_details": [detail(5, text="all"), detail(5, signature="s")]},
        {"reasoning_details": [detail(6, text="", signature="s")]},
    ]


def arguments(index: int, part: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def begun(index: int, call_id: str, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": ""}
    return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}


def test_tool_calls_are_counted_by_themselves() -> None:
    assert told(
        block(0, TEXT, said("a")),
        block(1, TOOL, piece(""), piece('{"a"'), piece(": 1}")),
        block(2, {**TOOL, "id": "toolu_2", "name": "g"}, piece("")),
        block(3, {**TOOL, "id": "toolu_3", "input": {"b": [1.0]}}),
        block(4, {"type": "tool_use", "id": "toolu_4", "name": "h"}),
    ) == [
        {"content": "a"},
        begun(0, "toolu_1", "f"),
        arguments(0, '{"a"'),
        arguments(0, ": 1}"),
        begun(1, "toolu_2", "g"),
        arguments(1, "{}"),
        begun(2, "toolu_3", "f"),
        arguments(2, '{"b": [1.0]}'),
        begun(3, "toolu_4", "h"),
        arguments(3, "{}"),
    ]


def test_a_client_of_the_older_form_gets_its_one_call_so() -> None:
    stream = stream_of(functions=[{"name": "f"}])
    chunks = [opening(), *block(0, TOOL, piece("{}")), *closing("tool_use")]
    assert deltas_of(stream, chunks[:-2]) == [
        {"role": "assistant"},
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]
    last = json.loads(payloads_in(stream.feed(chunks[-2]))[0])
    assert last["choices"][0]["finish_reason"] == "function_call"
    two = [opening(), *block(0, TOOL, piece("{}")), *block(1, TOOL)]
    assert failure_of(stream_of(functions=[{"name": "f"}]), two).kind is FailureKind.INVALID


def test_citations_of_the_web_are_annotations_of_their_text() -> None:
    web = {"type": "web_search_result_location", "url": "https://a.test", "title": "A", "cited_text": "…"}
    found = {"type": "search_result_location", "source": "https://b.test", "title": None}
    page = {"type": "page_location", "document_index": 0, "start_page_number": 1}
    cited = [{"type": "citations_delta", "citation": citation} for citation in (web, found, page)]
    assert told(
        block(0, TEXT, said("Né. ")),
        block(1, {**TEXT, "citations": []}, said("So"), cited[0], said(" it is."), *cited[1:]),
        block(2, TEXT, cited[2], said("!")),
    ) == [
        {"content": "Né. "},
        {"content": "So"},
        {"content": " it is."},
        {
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {"start_index": 4, "end_index": 13, "url": "https://a.test", "title": "A"},
                },
                {
                    "type": "url_citation",
                    "url_citation": {"start_index": 4, "end_index": 13, "url": "https://b.test", "title": ""},
                },
            ]
        },
        {"content": "!"},
    ]


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
    ],
)
def test_each_stop_reason_has_its_finish_reason(stop_reason: str, finish_reason: str) -> None:
    stream = stream_of()
    stream.feed(opening())
    chunk = json.loads(payloads_in(stream.feed(closing(stop_reason)[0]))[0])
    assert chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": finish_reason}]


def test_the_reason_comes_once() -> None:
    stream = stream_of()
    stream.feed(opening())
    assert stream.feed(event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 3})) == b""
    assert not stream.finished
    assert stream.feed(closing()[0])
    assert stream.feed(closing("max_tokens", input_tokens=11)[0]) == b""
    assert stream.final_usage() == TokenUsage(input=11, output=5)


def test_pings_and_events_that_nobody_knows_say_nothing() -> None:
    stream = stream_of()
    assert stream.feed(event("ping")) == b""
    stream.feed(opening())
    assert stream.feed(event("ping")) == b""
    assert stream.feed(event("weather_report", index=0)) == b""
    assert stream.feed(b"[DONE]") == b""
    assert stream.life_sign() == b": keep-alive\n\n"


# --- usage -----------------------------------------------------------------------------------------------------------


def test_usage_is_put_together_from_start_and_end() -> None:
    stream = stream_of()
    stream.feed(opening(cache_read_input_tokens=30, cache_creation_input_tokens=4))
    assert stream.final_usage() is None
    for payload in block(0, TEXT, said("12345678")):
        stream.feed(payload)
    stream.feed(closing()[0])
    assert stream.final_usage() == TokenUsage(input=10, cache_read=30, cache_write=4, output=5)
    assert stream.flags == frozenset()
    assert stream.estimated_usage() == TokenUsage(input=7, output=2)


def test_the_client_who_asks_is_told_what_is_billed() -> None:
    stream = stream_of(stream_options={"include_usage": True})
    usage, done = payloads_in(stream.end(TokenUsage(input=10, cache_read=30, output=5, reasoning=2)))
    assert json.loads(usage) == {
        "id": "chatcmpl-ours",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "public",
        "choices": [],
        "usage": {
            "prompt_tokens": 40,
            "completion_tokens": 5,
            "total_tokens": 45,
            "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }
    assert done == b"[DONE]"


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_content_is_what_starts_an_answer() -> None:
    stream = stream_of()
    stream.feed(opening())
    first, second, _ = block(0, TEXT, said("a"))
    stream.feed(first)
    assert not stream.started
    stream.feed(second)
    assert stream.started


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("overloaded_error", FailureKind.RATE_LIMITED),
        ("api_error", FailureKind.SERVER_ERROR),
        ("invalid_request_error", FailureKind.CLIENT_CONTENT),
    ],
)
def test_an_error_event_is_a_failure(error: str, kind: FailureKind) -> None:
    event_of_it = event("error", error={"type": error, "message": "Ours is busy"})
    early = failure_of(stream_of(), [opening(), event_of_it])
    assert (early.kind, early.produced) == (kind, False)
    late = failure_of(stream_of(), [opening(), *block(0, TEXT, said("a")), event_of_it])
    assert (late.kind, late.produced) == (kind, True)


STARTED = [opening(), *block(0, TEXT, said("a"))]


@pytest.mark.parametrize(
    "payloads",
    [
        [b"not json"],
        [b"[]"],
        [b'{"type":"content_block_delta","delta":"\xff"}'],
        [b'{"a":' * 100_000],
        [*STARTED, opening()],
        block(0, TEXT),
        [opening(), *block(1, TEXT)],
        [opening(), *block(0, TEXT)[:1], *block(1, TEXT)],
        [opening(), event("content_block_start", index=0)],
        [opening(), event("content_block_delta", index=0, delta=said("a"))],
        [opening(), *block(0, TEXT, piece("{}"))],
        [opening(), *block(0, TEXT, {"type": "image_delta", "data": "x"})],
        [opening(), *block(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})],
        [opening(), *block(0, {"type": "web_search_tool_result", "content": []})],
        [opening(), *block(0, {"type": "tool_use", "id": "", "name": "f", "input": {}})],
        [opening(), *block(0, {"type": "tool_use", "id": "x", "input": {}})],
        [opening(), *block(0, TEXT)[:1], *closing()],
        [opening(), event("message_stop")],
        closing(),
        [*STARTED, *closing()[:1], *block(1, TEXT)],
    ],
)
def test_a_stream_that_breaks_its_grammar_is_a_failure(payloads: list[bytes]) -> None:
    stream = stream_of()
    failure = failure_of(stream, payloads)
    assert failure.kind is FailureKind.INVALID
    assert failure.produced == stream.started
