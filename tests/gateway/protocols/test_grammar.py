"""The grammar checkers themselves: good streams pass, and each rule bites."""

import json
from typing import Any

import pytest

from tests.gateway.protocols.grammar import check_chat_stream, check_messages_stream

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 0},
    },
}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
HELLO = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
STOP_0 = {"type": "content_block_stop", "index": 0}
TOOL = {
    "type": "content_block_start",
    "index": 1,
    "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
}
ARGUMENTS = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
STOP_1 = {"type": "content_block_stop", "index": 1}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}
ERROR = {"type": "error", "error": {"type": "server_error", "code": "upstream_error", "message": "Failed."}}
GOOD = [START, PING, TEXT, HELLO, STOP_0, TOOL, ARGUMENTS, STOP_1, END, STOP]


def messages(*events: Any) -> bytes:
    """Return events as they stand in a stream."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def changed(event: Any, **fields: Any) -> Any:
    """Return an event with other fields."""
    return {**event, **fields}


def started(**fields: Any) -> Any:
    """Return a message_start with other fields in its message."""
    return {"type": "message_start", "message": {**START["message"], **fields}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "raw",
    [
        messages(*GOOD),
        b": keep-alive\n\n" + messages(*GOOD),
        messages(START, END, STOP),
        messages(START, TEXT, HELLO, ERROR),
        messages(ERROR),
        messages(START, {"type": "novelty", "x": 1}, END, STOP),
        b'event: message_start\ndata: {"type":\ndata: "message_start", "message": '
        + json.dumps(START["message"]).encode()
        + b"}\n\n"
        + messages(END, STOP),
    ],
)
def test_good_messages_streams_pass(raw: bytes) -> None:
    assert check_messages_stream(raw)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "not complete"),
        (messages(*GOOD)[:-1], "not complete"),
        (messages(*GOOD).replace(b"\n", b"\r\n"), "line ends"),
        (messages(*GOOD).replace(b"event: ping\n", b""), "without an event: line"),
        (messages(*GOOD).replace(b"event: ping", b"event: pong"), "event: line says"),
        (messages(*GOOD).replace(b"event: ping", b"event: p ng"), "odd event name"),
        (messages(*GOOD).replace(b"event: ping\n", b"event: ping\nid: 1\n"), "odd line"),
        (messages(START) + b"event: ping\n\n" + messages(END, STOP), "without data"),
        (messages(START) + b"\n\n" + messages(END, STOP), "empty event"),
        (b"event: x\ndata: 1\n\n", "no object"),
        (messages(*GOOD[:-1]), "at the end"),
        (messages(START, TEXT, HELLO), "at the end"),
        (messages(TEXT, HELLO, STOP_0, END, STOP), "before message_start"),
        (messages(PING, *GOOD), "before message_start"),
        (messages(START, *GOOD), "two message_start"),
        (messages(started(usage=None), END, STOP), "usage is no object"),
        (messages(started(usage={"input_tokens": 1}), END, STOP), "output_tokens is no count"),
        (messages(started(usage={"input_tokens": -1, "output_tokens": 1}), END, STOP), "negative"),
        (messages(started(content=[{"type": "text"}]), END, STOP), "type, role and content"),
        (messages(started(role="user"), END, STOP), "type, role and content"),
        (messages(started(id="chatcmpl-1"), END, STOP), "id chatcmpl-1"),
        (messages(started(stop_reason="end_turn"), END, STOP), "at the start"),
        (messages(START, changed(TEXT, index=1), END, STOP), "expected 0"),
        (messages(START, TEXT, TOOL), "overlap"),
        (messages(START, TEXT, STOP_0, TEXT), "expected 1"),
        (messages(START, TEXT, ARGUMENTS), "a delta for 1"),
        (messages(START, HELLO), "outside of a block"),
        (messages(START, TEXT, STOP_0, HELLO), "outside of a block"),
        (messages(START, TEXT, changed(HELLO, delta=ARGUMENTS["delta"])), "input_json_delta in a block of type text"),
        (messages(START, TEXT, changed(HELLO, delta={"type": "text_delta"})), "text_delta.text is missing"),
        (messages(START, changed(TEXT, content_block={"type": "text"})), "text.text is missing"),
        (messages(START, changed(TEXT, content_block={"type": "tool_use", "id": "t"})), "tool_use.name is missing"),
        (messages(START, STOP_0), "outside of a block"),
        (messages(START, TEXT, STOP_1), "a stop for 1"),
        (messages(START, TEXT, HELLO, END, STOP), "inside of a block"),
        (messages(START, END, TEXT), "after message_delta"),
        (messages(START, END, END), "two message_delta"),
        (messages(START, changed(END, usage={}), STOP), "output_tokens is no count"),
        (messages(START, changed(END, delta={"stop_reason": None}), STOP), "no stop_reason"),
        (messages(START, STOP), "before message_delta"),
        (messages(*GOOD, STOP), "after the end"),
        (messages(*GOOD, PING), "after the end"),
        (messages(*GOOD, ERROR), "after the end"),
        (messages(START, ERROR, ERROR), "after the end"),
        (messages({"type": "error", "error": {"type": "x", "message": "y"}}), "error.code is missing"),
        (messages({"type": "error", "error": {"type": "x", "message": "", "code": "z"}}), "error.message is empty"),
        (messages(*GOOD).replace(b'"{}"', b'"{"'), "input is no object"),
    ],
)
def test_each_rule_of_messages_streams_bites(raw: bytes, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_messages_stream(raw)


# --- chat completions -------------------------------------------------------------------------------------------------

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
DONE = "[DONE]"
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
MORE = {"index": 0, "function": {"arguments": "{}"}}


def chat(*chunks: Any) -> bytes:
    """Return chunks as they stand in a stream."""
    return b"".join(f"data: {item if item is DONE else json.dumps(item)}\n\n".encode() for item in chunks)


def chunk(delta: Any = None, finish: str | None = None, *, index: int = 0, **top: Any) -> Any:
    """Return a chunk with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {**HEAD, "choices": [choice], **top}


SAY = chunk({"role": "assistant", "content": "Hello"})
FINISH = chunk(finish="stop")
USED = {**HEAD, "choices": [], "usage": USAGE}


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (chat(SAY, FINISH, DONE), False),
        (chat(SAY, FINISH, USED, DONE), True),
        (chat(SAY, FINISH, USED, DONE), None),
        (b": keep-alive\n\n" + chat(SAY, FINISH, DONE), None),
        (chat(chunk({"tool_calls": [CALL]}), chunk({"tool_calls": [MORE]}), FINISH, DONE), None),
        (chat(chunk({"tool_calls": [CALL, {**CALL, "index": 1, "id": "call_2"}]}), FINISH, DONE), None),
        (chat(SAY, chunk({"content": "b"}, index=1), FINISH, chunk(finish="length", index=1), DONE), None),
        (chat(SAY, ERROR), True),
        (chat(ERROR), None),
    ],
)
def test_good_chat_streams_pass(raw: bytes, usage: bool | None) -> None:
    assert check_chat_stream(raw, usage=usage)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (chat(SAY, FINISH), "at the end"),
        (chat(SAY, FINISH, DONE)[:-1], "not complete"),
        (b"event: x\n" + chat(SAY, FINISH, DONE), "no event: lines"),
        (chat(SAY, FINISH, DONE, SAY), "after the end"),
        (chat(SAY, FINISH, DONE, DONE), "after the end"),
        (chat(SAY, ERROR, DONE), "after the end"),
        (chat([1]), "no object"),
        (chat({**SAY, "object": "chat.completion"}), "object chat.completion"),
        (chat({**SAY, "created": None}), "no created"),
        (chat({**SAY, "model": None}), "id and model"),
        (chat(SAY, {**SAY, "id": "other"}), "changed"),
        (chat(SAY, {**SAY, "model": "other"}), "changed"),
        (chat({**HEAD, "choices": []}), "without choices and without usage"),
        (chat(SAY, USED, FINISH), "after the one with usage"),
        (chat({**USED, "usage": {"prompt_tokens": 1}}), "completion_tokens is no count"),
        (chat(SAY, DONE), "no finish_reason"),
        (chat(USED, DONE), "no choice at all"),
        (chat(SAY, chunk({"content": "b"}, index=1), FINISH, DONE), "no finish_reason"),
        (chat(SAY, FINISH, FINISH), "two finish_reasons"),
        (chat(SAY, FINISH, SAY), "after its finish_reason"),
        (chat(chunk({"content": ["a"]})), "no text"),
        (chat(chunk([])), "delta is no object"),
        (chat(chunk({"tool_calls": [{**CALL, "index": None}]})), "without index"),
        (chat(chunk({"tool_calls": [{**CALL, "index": 1}]})), "tool call 1 before 0"),
        (chat(chunk({"tool_calls": [MORE]})), "has no id"),
        (chat(chunk({"tool_calls": [{**CALL, "function": {"arguments": ""}}]})), "has no name"),
        (chat(chunk({"tool_calls": [CALL]}), chunk({"tool_calls": [{**MORE, "id": "call_2"}]})), "changed"),
        (chat(chunk({"tool_calls": [CALL, {**CALL, "index": 1}]})), "two tool calls with the id"),
        (chat(chunk({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]})), "no text"),
        (chat({"error": {"message": "x"}}), "error.type is missing"),
        (chat({"error": "x"}), "error is no object"),
    ],
)
def test_each_rule_of_chat_streams_bites(raw: bytes, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_chat_stream(raw)


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (chat(SAY, FINISH, USED, DONE), False),
        (chat(SAY, {**FINISH, "usage": USAGE}, DONE), False),
        (chat(SAY, FINISH, DONE), True),
    ],
)
def test_usage_comes_when_it_was_asked_for_and_only_then(raw: bytes, usage: bool) -> None:
    with pytest.raises(AssertionError, match="asked for"):
        check_chat_stream(raw, usage=usage)
