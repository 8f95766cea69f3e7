"""Chat streams as Messages streams: texts, reasoning, refusals, ends, usage, and what no client may be told in silence."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from billing.rating import TokenUsage
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate.messages_over_chat import MessagesOverChat
from tests.gateway.protocols.grammar import check_messages_stream
from tests.gateway.translate.chat_answers import (
    BILLED,
    CALLS,
    LABELS,
    LENGTH,
    STOP,
    TOLD,
    blocks,
    call,
    chunk,
    ending,
    messages_request,
    streamed,
    text,
    thought,
    usage,
)

#: "lumyx.1." and "{}" in base64.
BARE = "lumyx.1.e30"
FIRST = chunk({"role": "assistant", "content": ""})


def signed(content: str) -> str:
    """Return a signature of ours that holds this JSON."""
    return "lumyx.1." + urlsafe_b64encode(content.encode()).decode().rstrip("=")


def stream(**fields: Any) -> MessagesOverChat:
    """Return a new stream for a small request with these fields."""
    return MessagesOverChat(messages_request(stream=True, **fields), LABELS)


def failure_of(payload: bytes, at: MessagesOverChat | None = None) -> UpstreamFailure:
    """Return the failure that a payload is."""
    with pytest.raises(UpstreamFailure) as caught:
        (at or stream()).feed(payload)
    return caught.value


def test_a_stream_of_text_is_told_event_by_event() -> None:
    relay = stream()
    assert relay.feed(FIRST) == (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_ours","type":"message",'
        b'"role":"assistant","model":"lumyx-plus_v1","content":[],"stop_reason":null,"stop_sequence":null,'
        b'"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
    )
    assert not relay.started
    hello = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"%b"}}\n\n'
    )
    assert relay.feed(text("Hé")) == (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n' + hello % "Hé".encode()
    )
    assert relay.started
    assert relay.feed(text('l"l\no')) == hello % b'l\\"l\\no'
    assert not relay.finished
    assert relay.feed(STOP) == b""
    assert relay.finished
    assert relay.feed(usage()) == b""
    assert relay.final_usage() == BILLED
    assert relay.flags == frozenset()
    assert relay.end(TokenUsage(input=7, cache_read=2, cache_write=1, output=5, reasoning=3)) == (
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"input_tokens":7,"cache_creation_input_tokens":1,"cache_read_input_tokens":2,"output_tokens":5,'
        b'"output_tokens_details":{"thinking_tokens":3}}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_nothing_of_the_upstream_is_told() -> None:
    payloads = [chunk({"content": "a"}, provider="Host", x_groq={"id": "r"}, system_fingerprint="fp"), usage(), STOP]
    raw = json.dumps(streamed(payloads))
    for word in ("chatcmpl-up", "secret", "Host", "fp", "x_groq"):
        assert word not in raw


def test_reasoning_is_a_block_of_thinking_that_is_signed_before_it_ends() -> None:
    events = streamed([FIRST, thought("Let me "), thought("see."), text("Rome"), STOP])
    assert blocks(events) == [("thinking", ["Let me ", "see.", BARE]), ("text", ["Rome"])]
    kinds = [(event["type"], event.get("delta", {}).get("type")) for event in events[1:7]]
    assert kinds == [
        ("content_block_start", None),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "signature_delta"),
        ("content_block_stop", None),
        ("content_block_start", None),
    ]
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm"},
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}]}]},
        {"content": [{"type": "thinking", "thinking": "Hm"}]},
        {"content": [{"type": "reasoning", "text": "Hm"}]},
    ],
)
def test_reasoning_is_found_wherever_an_upstream_puts_it(delta: Any) -> None:
    assert blocks(streamed([chunk(delta), text("Yes"), STOP])) == [("thinking", ["Hm", BARE]), ("text", ["Yes"])]


def test_reasoning_details_are_told_once_and_kept_in_the_signature() -> None:
    def detail(**fields: Any) -> dict[str, Any]:
        return {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, **fields}

    payloads = [
        chunk({"content": "", "reasoning": "Let ", "reasoning_details": [detail(text="Let ")]}),
        chunk({"content": "", "reasoning": "me", "reasoning_details": [detail(text="me")]}),
        chunk({"content": "", "reasoning_details": [detail(signature="abc")]}),
        text("Rome"),
        STOP,
    ]
    signature = signed(
        '{"details":[{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":"Let me","signature":"abc"}]}'
    )
    assert blocks(streamed(payloads)) == [("thinking", ["Let ", "me", signature]), ("text", ["Rome"])]


def test_details_alone_are_text_or_nothing_to_read() -> None:
    summary = {"type": "reasoning.summary", "summary": "Hm", "index": 0}
    encrypted = {"type": "reasoning.encrypted", "data": "Enc", "index": 1}
    told = blocks(streamed([chunk({"reasoning_details": [summary, encrypted]}), text("Yes"), STOP]))
    one = '{"type":"reasoning.summary","summary":"Hm","index":0}'
    two = '{"type":"reasoning.encrypted","data":"Enc","index":1}'
    signature = signed(f'{{"details":[{one},{two}]}}')
    assert told == [("thinking", ["Hm", signature]), ("text", ["Yes"])]
    told = blocks(streamed([text("Yes"), chunk({"reasoning_details": [encrypted]}), STOP]))
    signature = signed(f'{{"details":[{two}]}}')
    assert told == [("text", ["Yes"]), ("thinking", [signature])]


def test_reasoning_text_and_calls_that_come_by_turns_keep_their_order() -> None:
    payloads = [
        thought("a"),
        text("b"),
        thought("c"),
        call("{}", "f", "call_1"),
        text("d"),
        call("{}", "g", "call_2", 1),
        CALLS,
    ]
    assert blocks(streamed(payloads)) == [
        ("thinking", ["a", BARE]),
        ("text", ["b"]),
        ("thinking", ["c", BARE]),
        ("tool_use", "call_1", "f", ["{}"]),
        ("text", ["d"]),
        ("tool_use", "call_2", "g", ["{}"]),
    ]


def test_one_delta_may_hold_everything() -> None:
    delta = {
        "reasoning": "a",
        "content": "b",
        "tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}],
    }
    assert blocks(streamed([chunk(delta, "tool_calls")])) == [
        ("thinking", ["a", BARE]),
        ("text", ["b"]),
        ("tool_use", "call_1", "f", ["{}"]),
    ]


@pytest.mark.parametrize(
    ("content", "deltas"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], ["a", "b"]),
        ([{"type": "output_text", "text": "a"}, "b"], ["a", "b"]),
        (5, ["5"]),
        ({"a": 1}, ['{"a":1}']),
    ],
)
def test_content_of_odd_types_is_text(content: Any, deltas: list[str]) -> None:
    assert blocks(streamed([chunk({"content": content}), STOP])) == [("text", deltas)]


@pytest.mark.parametrize(
    ("delta", "told"),
    [
        ({"images": [{"type": "image_url", "image_url": {"url": "data:x"}}]}, ["[The model made an image here"]),
        ({"audio": {"data": "AAA"}}, ["[The model spoke here"]),
        ({"content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}, ["[The model made an image here"]),
        ({"content": [{"type": "reference", "reference_ids": [1]}, 5]}, ["[The model's answer held something here"]),
    ],
)
def test_what_cannot_be_told_is_said_to_have_been_there(delta: Any, told: list[str]) -> None:
    events = streamed([text("See:"), chunk(delta), chunk(delta), STOP])
    first, note = blocks(events)
    assert first == ("text", ["See:"])
    assert [piece[: len(want)] for piece, want in zip(note[1], told, strict=True)] == told
    assert note[1][0].endswith(" that the Messages protocol cannot carry.]") or "which the Messages" in note[1][0]


def test_what_was_spoken_is_text() -> None:
    told = blocks(streamed([chunk({"audio": {"transcript": "Hello"}}), STOP]))
    assert told[0] == ("text", ["Hello"])
    assert len(told) == 2


def test_a_refusal_is_text_and_a_reason_to_stop() -> None:
    events = streamed([text("Well. "), chunk({"refusal": "I "}), chunk({"refusal": "cannot."}), STOP])
    assert blocks(events) == [("text", ["Well. "]), ("text", ["I ", "cannot."])]
    assert ending(events) == ("refusal", None)


def test_empty_answers_have_no_blocks() -> None:
    for payloads in (
        [FIRST, STOP],
        [STOP],
        [],
        [chunk({"content": None, "reasoning_content": "", "tool_calls": []}), STOP],
    ):
        events = streamed(payloads)
        assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
        assert ending(events) == ("end_turn", None)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "end_turn"),
        ("function_call", "end_turn"),
        ("model_length", "model_context_window_exceeded"),
        ("STOP", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "refusal"),
        ("eos", "end_turn"),
        ("stop_sequence", "end_turn"),
        (7, "end_turn"),
    ],
)
def test_every_finish_reason_is_a_stop_reason(reason: Any, told: str) -> None:
    events = streamed([text("a"), chunk({}, reason)])
    assert ending(events) == (told, None)


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "tool_use"])
def test_an_answer_with_calls_stops_for_them(reason: str) -> None:
    assert ending(streamed([call("{}", "f", "call_1"), chunk({}, reason)])) == ("tool_use", None)


def test_an_answer_with_calls_that_was_cut_says_so() -> None:
    assert ending(streamed([call('{"a', "f", "call_1"), LENGTH])) == ("max_tokens", None)


@pytest.mark.parametrize("name", ["stop_reason", "matched_stop"])
def test_the_stop_sequence_is_told_where_the_upstream_says_which(name: str) -> None:
    request = messages_request(stream=True, stop_sequences=["END", "\n"])
    told = streamed([text("a"), chunk({}, "stop", choice={name: "END"})], request)
    assert ending(told) == ("stop_sequence", "END")
    for other in ("</s>", 128_001, None):
        assert ending(streamed([text("a"), chunk({}, "stop", choice={name: other})], request)) == ("end_turn", None)
    assert ending(streamed([text("a"), chunk({}, "length", choice={name: "END"})], request)) == ("max_tokens", None)


def test_an_empty_finish_reason_is_none() -> None:
    relay = stream()
    relay.feed(chunk({"content": "a"}, ""))
    relay.feed(chunk({"content": "b"}, ""))
    assert not relay.finished


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_broke_off_is_a_failure(reason: str) -> None:
    relay = stream()
    relay.feed(text("a"))
    failure = failure_of(chunk({}, reason), relay)
    assert (failure.kind, failure.produced) == (FailureKind.SERVER_ERROR, True)


def test_a_finish_reason_may_come_with_the_last_content_and_content_after_it() -> None:
    events = streamed([text("a"), chunk({"content": "b"}, "stop"), text("c"), usage()])
    assert blocks(events) == [("text", ["a", "b", "c"])]


def test_only_the_first_choice_is_told() -> None:
    other = chunk({"content": "no"}, choice={"index": 1})
    both = chunk({"content": "b"}).replace(b'"choices": [', b'"choices": [{"index": 1, "delta": {"content": "no"}}, ')
    relay = stream()
    assert relay.feed(other).startswith(b"event: message_start")
    assert not relay.started
    relay.feed(text("a"))
    assert b'"text":"b"' in relay.feed(both)
    relay.feed(chunk({}, "stop", choice={"index": 1}))
    assert not relay.finished


def test_chunks_without_choices_say_nothing() -> None:
    relay = stream()
    for payload in (b'{"type":"ping"}', b'{"choices":[]}', b'{"choices":null}', b"{}", usage()):
        assert relay.feed(payload) == b""
    assert check_messages_stream(relay.end(BILLED))[-2]["usage"] == TOLD


def test_whole_messages_and_plain_texts_in_a_stream_are_read_too() -> None:
    whole = chunk(None, None, choice={"delta": None, "message": {"role": "assistant", "content": "a"}})
    assert blocks(streamed([whole, chunk(None, "stop", choice={"text": "b"})])) == [("text", ["a", "b"])]


# --- usage ------------------------------------------------------------------------------------------------------------


def test_usage_is_made_disjoint_and_told_as_billed() -> None:
    relay = stream()
    relay.feed(text("a"))
    relay.feed(STOP)
    cached = {"cached_tokens": 80, "cache_write_tokens": 5}
    relay.feed(usage(prompt_tokens=100, prompt_tokens_details=cached))
    assert relay.final_usage() == TokenUsage(input=15, cache_read=80, cache_write=5, output=5)
    told = streamed([text("a"), STOP, usage(prompt_tokens=100, prompt_tokens_details=cached)])
    assert told[-2]["usage"] == {
        "input_tokens": 15,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 80,
        "output_tokens": 5,
    }


def test_usage_that_is_known_at_the_start_is_told_there() -> None:
    counts = {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}
    start = streamed([chunk({"content": "a"}, usage=counts), STOP])[0]
    assert start["message"]["usage"] == {**TOLD, "output_tokens": 0}


def test_usage_that_never_came_is_counted_by_us() -> None:
    relay = stream()
    relay.feed(text("abcdefgh"))
    relay.feed(thought("ijé"))
    relay.feed(call('{"a":1}', "get", "call_1"))
    assert relay.final_usage() is None
    # 8 + 4 + 3 + 7 bytes.
    assert relay.estimated_usage() == TokenUsage(input=9, output=6)


def test_output_after_the_last_report_is_added() -> None:
    relay = stream()
    relay.feed(chunk({"content": "abcd"}, usage={"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}))
    relay.feed(text("abcdefgh"))
    assert relay.final_usage() == TokenUsage(input=10, output=3)
    assert relay.flags == {"usage_stale"}


@pytest.mark.parametrize(
    ("reported", "counted", "flags"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10},
            TokenUsage(input=10, output=1),
            "usage_zero_output",
        ),
        ({"prompt_tokens": -5, "completion_tokens": 5, "total_tokens": 0}, TokenUsage(output=5), "usage_clamped"),
        ({"prompt_tokens": "x", "completion_tokens": "y"}, None, "usage_unreadable"),
    ],
)
def test_nonsense_in_usage_is_put_right_and_flagged(reported: Any, counted: TokenUsage | None, flags: str) -> None:
    relay = stream()
    relay.feed(text("abcd"))
    relay.feed(chunk({}, "stop", usage=reported))
    assert relay.final_usage() == counted
    assert relay.flags == {flags}


@pytest.mark.parametrize("odd", [5, "x", [], {}, None, True])
def test_odd_usage_is_no_report_and_breaks_nothing(odd: Any) -> None:
    relay = stream()
    relay.feed(chunk({"content": "a"}, usage=odd))
    assert relay.final_usage() is None


# --- life and failures ------------------------------------------------------------------------------------------------


def test_a_sign_of_life_is_a_ping_only_after_the_client_has_a_message() -> None:
    relay = stream()
    assert relay.life_sign() == b": keep-alive\n\n"
    relay.feed(FIRST)
    # The pipeline holds the start back until there is content.
    assert relay.life_sign() == b": keep-alive\n\n"
    relay.feed(text("a"))
    assert relay.life_sign() == b'event: ping\ndata: {"type": "ping"}\n\n'


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"[]",
        b'"x"',
        b'{"choices":5}',
        b'{"choices":[5]}',
        b'{"choices":[{"delta":5}]}',
        b'{"choices":[{"delta":{"tool_calls":5}}]}',
        b'{"choices":[{"delta":{"tool_calls":[5]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":5}]}}]}',
        b'{"choices":[{"delta":{"reasoning_details":["x"]}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
        b'{"choices":[{"delta":{"content":"a"}}]',
        b'{"choices":[{"delta":{"content":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}",
    ],
)
def test_what_is_no_chunk_is_a_failure(payload: bytes) -> None:
    failure = failure_of(payload)
    assert (failure.kind, failure.produced, failure.may_retry) == (FailureKind.INVALID, False, True)
    relay = stream()
    relay.feed(text("a"))
    assert failure_of(payload, relay).produced


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"error":{"message":"boom","code":500}}', FailureKind.SERVER_ERROR),
        (b'{"error":{"message":"slow down","type":"rate_limit_error"}}', FailureKind.RATE_LIMITED),
        (b'{"error":"maximum context length is 8"}', FailureKind.CLIENT_CONTENT),
        (chunk({}, "error", choice={"error": {"message": "boom"}}), FailureKind.SERVER_ERROR),
    ],
)
def test_errors_in_a_stream_are_failures(payload: bytes, kind: FailureKind) -> None:
    assert (failure_of(payload).kind, failure_of(payload).produced) == (kind, False)
    relay = stream()
    relay.feed(text("a"))
    assert failure_of(payload, relay).produced


def test_text_that_an_upstream_says_twice_in_a_chunk_is_written_once() -> None:
    relay = stream()
    out = relay.feed(b'{"choices":[{"index":0,"text":"Two","delta":{"content":"Two"},"finish_reason":null}]}')
    assert out.count(b'"text":"Two"') == 1
    assert b"TwoTwo" not in out


def test_flags_of_an_early_report_go_where_a_later_one_is_sound() -> None:
    relay = stream()
    relay.feed(b'{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":5,"completion_tokens":-1}}')
    assert relay.flags == {"usage_clamped", "usage_zero_output"}
    relay.feed(b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}')
    assert relay.flags == frozenset()
