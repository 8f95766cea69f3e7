"""Messages answers on their way to a Messages client: what is replaced, what is kept back, what is counted, what is refused."""

import json
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.answers import AnswerStream, Labels, WholeAnswer
from gateway.protocols.anthropic_answer import MessagesRelay, relay_whole_message
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.anthropic_told import messages_usage_object, tell_messages_usage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from tests.gateway.protocols.grammar import check_messages_stream

LABELS = Labels(response_id="msg_ours", model="public", created=1, estimated_input=7)
REQUEST = parse_messages_request(b'{"model":"public","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}')
MESSAGE: Any = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "secret-model",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 1},
}
START = {"type": "message_start", "message": MESSAGE}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP_0 = {"type": "content_block_stop", "index": 0}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 5},
}
STOP = {"type": "message_stop"}


def started(**fields: Any) -> Any:
    """Return a message_start with other fields in its message."""
    return {"type": "message_start", "message": {**MESSAGE, **fields}}


def says(text: str = "Hello", *, index: int = 0) -> Any:
    """Return a delta of text."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def adds(delta: Any, *, index: int = 0) -> Any:
    """Return a delta of any type."""
    return {"type": "content_block_delta", "index": index, "delta": delta}


def opens(block: Any, *, index: int = 0) -> Any:
    """Return the start of a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def ends(usage: Any = None, **delta: Any) -> Any:
    """Return a message_delta; usage ... leaves it out."""
    return {"type": "message_delta", "delta": delta or END["delta"], **({} if usage is ... else {"usage": usage})}


def encoded(event: Any) -> bytes:
    """Return an event as the payload that an upstream sends."""
    return event if isinstance(event, bytes) else json.dumps(event).encode()


def fed(*events: Any) -> tuple[MessagesRelay, bytes]:
    """Return a relay to which these events were fed, and what came out."""
    relay = MessagesRelay(LABELS)
    return relay, b"".join(relay.feed(encoded(event)) for event in events)


def failure_of(*events: Any) -> UpstreamFailure:
    """Return the failure that the last of these events is."""
    relay, _ = fed(*events[:-1])
    with pytest.raises(UpstreamFailure) as caught:
        relay.feed(encoded(events[-1]))
    return caught.value


def whole(**fields: Any) -> WholeAnswer:
    """Return a relayed whole message with these fields."""
    message = {**MESSAGE, "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", **fields}
    return relay_whole_message(json.dumps(message).encode(), REQUEST, LABELS)


def test_a_stream_comes_out_as_the_protocol_wants_it() -> None:
    relay: AnswerStream
    relay, out = fed(START, {"type": "ping"}, TEXT, says("Hel"), says("lo"), STOP_0)
    assert not relay.finished
    relay, out = fed(START, {"type": "ping"}, TEXT, says("Hel"), says("lo"), STOP_0, END, STOP)
    assert relay.finished
    assert relay.final_usage() == TokenUsage(input=10, output=5)
    events = check_messages_stream(out + relay.end(TokenUsage(input=10, output=5)))
    counts = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    usage = {"input_tokens": 10, **counts, "output_tokens": 1}
    assert events == [
        started(id="msg_ours", model="public", usage=usage),
        TEXT,
        says("Hel"),
        says("lo"),
        STOP_0,
        {**END, "usage": {**usage, "output_tokens": 5}},
        STOP,
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\u00e9 1.0"},"x":1.0}',
        b'{ "index" : 0 , "delta" : {"text":"a", "type":"text_delta"} , "type" : "content_block_delta" }',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"é\u2028"}}'.encode(),
    ],
)
def test_content_goes_through_byte_for_byte(payload: bytes) -> None:
    relay, _ = fed(START, TEXT)
    assert relay.feed(payload) == b"event: content_block_delta\ndata: " + payload + b"\n\n"


def test_a_payload_of_several_lines_stays_one_event() -> None:
    relay, _ = fed(START, TEXT)
    out = relay.feed(b'{"type":"content_block_delta","index":0,\n"delta":{"type":"text_delta","text":"a"}}')
    assert out == (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,\n'
        b'data: "delta":{"type":"text_delta","text":"a"}}\n\n'
    )


def test_events_that_we_do_not_know_pass_once_the_message_has_begun() -> None:
    relay, out = fed({"type": "novelty"}, START)
    assert b"novelty" not in out
    assert relay.feed(b'{"type":"novelty","x":1.0}') == b'event: novelty\ndata: {"type":"novelty","x":1.0}\n\n'


@pytest.mark.parametrize("name", ["x\n\nevent: message_stop", "x y", "", "x" * 65, "\u00e9"])
def test_no_event_name_can_forge_events(name: str) -> None:
    assert failure_of(START, {"type": name}).kind is FailureKind.INVALID


def test_what_names_the_upstream_does_not_reach_the_client() -> None:
    names = {"provider": "Secret Inc", "x_groq": {"id": "secret"}}
    usage = {"input_tokens": 1, "output_tokens": 1, "cost": 0.5, "service_tier": "secret"}
    relay, out = fed(
        started(usage=usage, **names), TEXT, says(), STOP_0, {**END, **names}, {**STOP, "metrics": "secret"}
    )
    out += relay.end(TokenUsage(input=1, output=5))
    assert check_messages_stream(out)
    for told in (out, whole(usage=usage, **names).body):
        assert b"ecret" not in told
        assert b"cost" not in told


def test_the_end_is_kept_back_with_all_that_it_says() -> None:
    relay, out = fed(
        START,
        {"type": "message_delta", "delta": {"stop_sequence": "END"}, "context_management": {"applied_edits": []}},
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence"}, "usage": {"output_tokens": 5}},
        STOP,
    )
    assert b"message_delta" not in out
    told, stop = check_messages_stream(out + relay.end(TokenUsage(input=10, cache_read=2, cache_write=3, output=9)))[1:]
    assert told == {
        "type": "message_delta",
        "context_management": {"applied_edits": []},
        "delta": {"stop_sequence": "END", "stop_reason": "stop_sequence"},
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 2,
            "output_tokens": 9,
        },
    }
    assert stop == STOP


def test_a_message_start_without_usage_gets_zeros() -> None:
    message = {name: value for name, value in MESSAGE.items() if name not in ("usage", "type", "role", "content")}
    relay, out = fed({"type": "message_start", "message": message}, END)
    start = check_messages_stream(out + relay.end(TokenUsage(output=1)))[0]["message"]
    assert (start["usage"]["input_tokens"], start["usage"]["output_tokens"]) == (0, 0)


def test_the_parts_of_cache_writes_are_told_as_long_as_they_add_up() -> None:
    parts = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 7, "cache_creation": parts, "output_tokens": 1}
    relay, out = fed(started(usage=usage), END)
    assert json.loads(out.split(b"data: ")[1])["message"]["usage"]["cache_creation"] == parts
    assert b"ephemeral" in relay.end(TokenUsage(input=1, cache_write=7, output=5))
    assert b"ephemeral" not in relay.end(TokenUsage(input=1, cache_write=6, output=5))
    assert json.loads(whole(usage=usage).body)["usage"]["cache_creation"] == parts
    odd = {**usage, "cache_creation": {**parts, "ephemeral_5m_input_tokens": "3"}}
    assert "cache_creation" not in json.loads(whole(usage=odd).body)["usage"]


def test_signs_of_life_are_pings_once_the_client_has_its_message_start() -> None:
    relay, _ = fed(START, TEXT)
    assert relay.life_sign() == b": keep-alive\n\n"
    relay.feed(encoded(says()))
    assert relay.life_sign() == b'event: ping\ndata: {"type": "ping"}\n\n'


def test_a_sentinel_of_the_other_protocol_is_no_failure() -> None:
    relay, _ = fed(START, END, STOP)
    assert relay.feed(b"[DONE]") == b""
    assert relay.feed(encoded({"type": "ping"})) == b""


# --- what is counted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "size"),
    [
        ([TEXT, says("12345678")], 8),
        ([TEXT, says("é")], 2),
        ([opens({"type": "text", "text": "abc"})], 3),
        ([opens({"type": "thinking", "thinking": ""}), adds({"type": "thinking_delta", "thinking": "Hm."})], 3),
        ([opens({"type": "redacted_thinking", "data": "12345"})], 5),
        ([opens({"type": "tool_use", "id": "t", "name": "get", "input": {}})], 3),
        (
            [
                opens({"type": "tool_use", "id": "t", "name": "get", "input": {}}),
                adds({"type": "input_json_delta", "partial_json": '{"a":'}),
                adds({"type": "input_json_delta", "partial_json": "1}"}),
            ],
            10,
        ),
        ([TEXT, adds({"type": "citations_delta", "citation": {"a": 1}})], 8),
        ([opens({"type": "web_search_tool_result", "tool_use_id": "s", "content": [1, 2]})], 6),
    ],
)
def test_all_that_comes_out_is_counted(events: list[Any], size: int) -> None:
    relay, _ = fed(START, *events)
    assert (relay.started, relay.output_bytes) == (True, size)
    assert relay.estimated_usage() == TokenUsage(input=7, output=-(-size // 4))


def test_nothing_has_come_out_before_the_first_content() -> None:
    relay, _ = fed(START, {"type": "ping"}, TEXT, says(""), STOP_0)
    assert not relay.started
    assert relay.estimated_usage() == TokenUsage(input=7)


def test_a_signature_alone_is_content_but_no_output() -> None:
    relay, _ = fed(
        START, opens({"type": "thinking", "thinking": ""}), adds({"type": "signature_delta", "signature": "s"})
    )
    assert (relay.started, relay.output_bytes) == (True, 0)


def test_what_an_unknown_delta_brings_counts_by_its_size() -> None:
    relay, _ = fed(START, opens({"type": "hologram"}), adds({"type": "hologram_delta", "beam": "x" * 100}))
    assert relay.output_bytes > 100


@pytest.mark.parametrize(
    ("usage", "expected", "flags"),
    [
        ({"input_tokens": 10, "output_tokens": 5}, TokenUsage(input=10, output=5), set()),
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 30,
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 20},
            },
            TokenUsage(input=10, cache_read=60, cache_write=30, output=50, reasoning=20),
            set(),
        ),
        ({"input_tokens": -5, "output_tokens": 5}, TokenUsage(output=5), {"usage_clamped"}),
        ({"input_tokens": 5, "output_tokens": 1e30}, TokenUsage(input=5, output=100_000_000), {"usage_clamped"}),
        (
            {"input_tokens": 5, "output_tokens": 5, "cache_read_input_tokens": "9"},
            TokenUsage(input=5, output=5),
            {"usage_clamped"},
        ),
        (
            {"input_tokens": 5, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}},
            TokenUsage(input=5, output=5, reasoning=5),
            {"usage_clamped"},
        ),
        ({"input_tokens": 5.0, "output_tokens": 5, "output_tokens_details": [1]}, TokenUsage(input=5, output=5), set()),
        ({"input_tokens": 5, "output_tokens": 0}, TokenUsage(input=5, output=2), {"usage_zero_output"}),
        ({"input_tokens": "5", "output_tokens": "5"}, None, {"usage_unreadable"}),
        ({"input_tokens": True, "output_tokens": False}, None, {"usage_unreadable"}),
        (5, None, {"usage_unreadable"}),
        ([5], None, {"usage_unreadable"}),
        ({}, None, set()),
        (None, None, set()),
    ],
)
def test_reported_usage_becomes_disjoint_classes(usage: Any, expected: TokenUsage | None, flags: set[str]) -> None:
    relay, _ = fed(started(usage=None), TEXT, says("Hello"), STOP_0, ends(usage))
    assert (relay.final_usage(), set(relay.flags)) == (expected, flags)
    answer = whole(usage=usage)
    assert (answer.usage, set(answer.flags)) == (expected, flags)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        # Counts are totals: the later stands.
        ({"input_tokens": 10, "output_tokens": 1}, {"output_tokens": 5}, TokenUsage(input=10, output=5)),
        (
            {"input_tokens": 10, "output_tokens": 1},
            {"input_tokens": 12, "output_tokens": 5},
            TokenUsage(input=12, output=5),
        ),
        (
            {"input_tokens": 100, "output_tokens": 1},
            {"input_tokens": 20, "cache_read_input_tokens": 80, "output_tokens": 5},
            TokenUsage(input=20, cache_read=80, output=5),
        ),
        # Zero input at the end is no report of input.
        (
            {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1},
            {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5},
            TokenUsage(input=10, cache_read=4, output=5),
        ),
        (
            {"input_tokens": 0, "output_tokens": 0},
            {"input_tokens": 9, "output_tokens": 5},
            TokenUsage(input=9, output=5),
        ),
        (None, {"input_tokens": 9, "output_tokens": 5}, TokenUsage(input=9, output=5)),
    ],
)
def test_the_reports_of_a_stream_are_one(first: Any, last: Any, expected: TokenUsage) -> None:
    relay, _ = fed(started(usage=first), TEXT, says("Hello"), STOP_0, ends(last))
    assert (relay.final_usage(), set(relay.flags)) == (expected, set())


def test_a_stream_that_reports_nothing_has_no_usage() -> None:
    relay, _ = fed(started(usage=None), TEXT, says("12345678"), STOP_0, ends(...))
    assert relay.final_usage() is None
    assert relay.estimated_usage() == TokenUsage(input=7, output=2)


def test_a_report_at_the_start_of_an_answer_that_never_came_is_no_usage() -> None:
    relay, _ = fed(START, TEXT)
    assert relay.final_usage() is None
    relay, _ = fed(START, ends(...))
    assert relay.final_usage() == TokenUsage(input=10, output=1)


def test_output_that_no_report_knew_of_is_our_own_count() -> None:
    relay, _ = fed(START, TEXT, says("x" * 40))
    assert (relay.final_usage(), set(relay.flags)) == (TokenUsage(input=10, output=10), {"usage_stale"})
    relay, _ = fed(START, ends({"output_tokens": 3}, stop_sequence=None), TEXT, says("x" * 40))
    assert (relay.final_usage(), set(relay.flags)) == (TokenUsage(input=10, output=13), {"usage_stale"})


# --- whole messages ---------------------------------------------------------------------------------------------------


def test_a_whole_message_keeps_all_but_what_is_ours() -> None:
    rest = b'"content":[{"type":"text", "text":"hi","x":1.0}],"stop_reason":"end_turn"'
    answer = relay_whole_message(
        b'{"id":"up","type":"message","role":"assistant","model":"secret",'
        + rest
        + b',"usage":{"input_tokens":3,"output_tokens":1}}',
        REQUEST,
        LABELS,
    )
    assert answer.body == (
        b'{"id":"msg_ours","type":"message","role":"assistant","model":"public",'
        + rest
        + b',"usage":{"input_tokens":3,'
        b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}'
    )
    assert (answer.has_output, answer.output_bytes, answer.usage) == (True, 2, TokenUsage(input=3, output=1))


def test_a_whole_message_without_usage_is_counted_by_us() -> None:
    answer = whole(usage=None)
    assert answer.usage is None
    assert answer.estimated_usage() == TokenUsage(input=7, output=2)
    told = json.loads(tell_messages_usage(answer.body, answer.estimated_usage()))
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (7, 2)


def test_usage_is_told_as_it_was_billed() -> None:
    usage = TokenUsage(input=1, cache_read=2, cache_write=3, output=5, reasoning=4)
    assert messages_usage_object(usage) == {
        "input_tokens": 1,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 2,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    body = b'{"id":"a", "x":1.0,"usage":{"input_tokens":3,"output_tokens":1,"cost":1}}'
    assert tell_messages_usage(body, usage) == (
        b'{"id":"a","x":1.0,"usage":{"input_tokens":1,"cache_creation_input_tokens":3,"cache_read_input_tokens":2,'
        b'"output_tokens":5,"output_tokens_details":{"thinking_tokens":4}}}'
    )


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{"type": "text", "text": ""}],
    ],
)
def test_an_answer_with_nothing_in_it_has_no_output(content: Any) -> None:
    assert not whole(content=content, usage=None).has_output
