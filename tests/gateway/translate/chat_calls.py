"""Chat requests as Messages bodies, and answers as chat completions, in a line each."""

import json
from typing import Any

import pytest

from gateway.protocols.answers import Labels
from gateway.protocols.generation import Target
from gateway.protocols.openai_request import ChatRequest, parse_chat_request
from gateway.protocols.wording import RequestShapeError
from gateway.translate.chat_over_messages import ChatOverMessages, messages_body_for_chat
from gateway.types import Profile
from tests.gateway.translate.messages_rules import check_body

LABELS = Labels(response_id="chatcmpl-ours", model="public", created=1_700_000_000, estimated_input=7)
HELLO = {"role": "user", "content": "Hello"}
PNG = "iVBORw0KGgo="
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


def request_of(**fields: Any) -> ChatRequest:
    """Return a parsed request; a greeting, where nothing else is said."""
    return parse_chat_request(json.dumps({"model": "public", "messages": [HELLO], **fields}).encode())


def body_of(*, target: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the body for the upstream, found to be one that it takes."""
    aim = Target(**{"model": "upstream-model", "profile": Profile(), **(target or {})})
    body: dict[str, Any] = json.loads(messages_body_for_chat(request_of(**fields), aim))
    check_body(body)
    return body


def turns_of(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Return the turns that messages become."""
    turns: list[dict[str, Any]] = body_of(messages=list(messages), **fields)["messages"]
    return turns


def refusal_of(**fields: Any) -> tuple[str, str | None, str]:
    """Return code, field and words of the refusal of a request."""
    with pytest.raises(RequestShapeError) as caught:
        body_of(**fields)
    return caught.value.code, caught.value.param, caught.value.message


def text(words: str, **more: Any) -> dict[str, Any]:
    """Return a text block."""
    return {"type": "text", "text": words, **more}


def call(call_id: str, name: str = "get_weather", arguments: str = "{}") -> dict[str, Any]:
    """Return a tool call, as chat completions write it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an assistant's message that asks for tools."""
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(call_id: str, content: Any = "sunny") -> dict[str, Any]:
    """Return a tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def event(kind: str, **fields: Any) -> bytes:
    """Return an event of a Messages stream."""
    return json.dumps({"type": kind, **fields}).encode()


def opening(**usage: int) -> bytes:
    """Return the start of a stream."""
    message = {"id": "msg_theirs", "type": "message", "role": "assistant", "model": "claude-secret", "content": []}
    counts = {"input_tokens": 10, "output_tokens": 1, **usage}
    return event("message_start", message={**message, "stop_reason": None, "usage": counts})


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    """Return the events of a content block."""
    return [
        event("content_block_start", index=index, content_block=start),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def closing(stop_reason: str = "end_turn", **usage: int) -> list[bytes]:
    """Return the end of a stream."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [event("message_delta", delta=delta, usage={"output_tokens": 5, **usage}), event("message_stop")]


def stream_of(**fields: Any) -> ChatOverMessages:
    """Return the relay for a request."""
    return ChatOverMessages(request_of(stream=True, **fields), LABELS)


def payloads_in(framed: bytes) -> list[bytes]:
    """Return the payloads of what went to a client, found to be framed as events."""
    assert not framed or framed.endswith(b"\n\n")
    events = framed.split(b"\n\n")[:-1]
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in events)
    return [line[6:] for line in events]


def deltas_of(stream: ChatOverMessages, payloads: list[bytes]) -> list[dict[str, Any]]:
    """Return the deltas that come out for the payloads."""
    chunks = [json.loads(chunk) for payload in payloads for chunk in payloads_in(stream.feed(payload))]
    for chunk in chunks:
        head = {name: value for name, value in chunk.items() if name != "choices"}
        assert head == {
            "id": "chatcmpl-ours",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "public",
        }
        assert len(chunk["choices"]) == 1
        assert chunk["choices"][0]["index"] == 0
    return [chunk["choices"][0]["delta"] for chunk in chunks]
