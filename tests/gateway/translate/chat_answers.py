"""What chat upstreams send, built small; and what a Messages client gets for it, taken apart."""

import json
from collections.abc import Iterable
from typing import Any

from billing.rating import TokenUsage
from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_request import MessagesRequest, parse_messages_request
from gateway.translate.messages_over_chat import MessagesOverChat
from tests.gateway.protocols.grammar import check_messages_stream

LABELS = Labels("msg_ours", "lumyx-plus_v1", 1_700_000_000, estimated_input=9)
HEAD = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "secret/model"}
BILLED = TokenUsage(input=10, output=5)
TOLD = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 5,
}


def messages_request(**fields: Any) -> MessagesRequest:
    """Return a small request with these fields."""
    body = {"model": "lumyx-plus_v1", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return parse_messages_request(json.dumps(body).encode())


def chunk(delta: Any = None, finish_reason: Any = None, *, choice: Any = None, **top: Any) -> bytes:
    """Return the payload of a chunk with one choice; ``choice`` holds further fields of it, ``top`` of the chunk."""
    fields = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish_reason, **(choice or {})}
    return json.dumps({**HEAD, "choices": [fields], **top}).encode()


def text(content: str) -> bytes:
    """Return a chunk of text."""
    return chunk({"content": content})


def thought(content: str) -> bytes:
    """Return a chunk of reasoning."""
    return chunk({"reasoning_content": content})


def call(arguments: Any = None, name: str | None = None, id: str | None = None, index: int | None = 0) -> bytes:
    """Return a chunk with a piece of a call."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    part = {"index": index, "id": id, "function": function}
    return chunk({"tool_calls": [{key: value for key, value in part.items() if value is not None}]})


def usage(**fields: Any) -> bytes:
    """Return a chunk with usage and no choices."""
    counts = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **fields}
    return json.dumps({**HEAD, "choices": [], "usage": counts}).encode()


STOP, LENGTH, CALLS = chunk({}, "stop"), chunk({}, "length"), chunk({}, "tool_calls")


def streamed(payloads: Iterable[bytes], request: MessagesRequest | None = None) -> list[dict[str, Any]]:
    """Return the events for the payloads of a stream, its end included; the grammar is checked."""
    stream = MessagesOverChat(request or messages_request(stream=True), LABELS)
    raw = b"".join([stream.feed(payload) for payload in payloads])
    return check_messages_stream(raw + stream.end(stream.final_usage() or stream.estimated_usage()))


def blocks(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the blocks of a stream, short: type, what its start names, and its deltas in order."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        if event["type"] == "content_block_start":
            block = event["content_block"]
            names = (block["id"], block["name"]) if block["type"] == "tool_use" else ()
            found.append((block["type"], *names, []))
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            found[-1][-1].append(delta[{"input_json_delta": "partial_json"}.get(delta["type"], delta["type"][:-6])])
    return found


def ending(events: list[dict[str, Any]]) -> tuple[Any, Any]:
    """Return stop reason and stop sequence."""
    delta = events[-2]["delta"]
    return delta["stop_reason"], delta["stop_sequence"]
