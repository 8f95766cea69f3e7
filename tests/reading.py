"""Reads answers of both protocols as a careful client does, and checks the grammar of their streams on the way.

Written for tests, apart from the gateway's own readers: what it returns is compared with values written by hand. A fault of the
grammar is an AssertionError that says which.
"""

import json
from dataclasses import dataclass, field
from typing import Any

BLOCK_DELTAS = {
    "text": {"text_delta": "text", "citations_delta": "citation"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "redacted_thinking": {},
    "tool_use": {"input_json_delta": "partial_json"},
    "server_tool_use": {"input_json_delta": "partial_json"},
}


@dataclass
class Reading:
    """What an answer amounts to."""

    id: str = ""
    model: str = ""
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    #: (id, name, arguments): arguments decoded, or their text where that is no JSON.
    tools: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    stop_sequence: str | None = None
    signatures: list[str] = field(default_factory=list)
    redacted: list[str] = field(default_factory=list)
    #: Kinds of content in the order in which they came.
    order: list[str] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    #: The error object that ended the stream.
    error: dict[str, Any] | None = None
    #: The stream said that it is over.
    complete: bool = False
    #: The content as it would be sent back in the next turn.
    blocks: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)

    def note(self, kind: str) -> None:
        """Remember that content of that kind came."""
        if not self.order or self.order[-1] != kind:
            self.order.append(kind)

    def classes(self) -> dict[str, int] | None:
        """Return the usage in disjoint classes, whichever protocol told it."""
        usage = self.usage
        if usage is None:
            return None
        if "prompt_tokens" in usage:
            asked = usage.get("prompt_tokens_details") or {}
            read, written = asked.get("cached_tokens") or 0, asked.get("cache_write_tokens") or 0
            return {
                "input": usage["prompt_tokens"] - read - written,
                "cache_read": read,
                "cache_write": written,
                "output": usage["completion_tokens"],
            }
        return {
            "input": usage["input_tokens"],
            "cache_read": usage.get("cache_read_input_tokens") or 0,
            "cache_write": usage.get("cache_creation_input_tokens") or 0,
            "output": usage["output_tokens"],
        }


def arguments_of(text: str) -> Any:
    """Return decoded arguments, or their text where that is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def events_in(body: bytes) -> list[tuple[str | None, Any]]:
    """Return the events of a stream: name and data, decoded; the text [DONE] stays a text. Comments are left out."""
    text = body.decode()
    assert not text or text.endswith("\n\n"), f"the stream ends in the middle of an event: {text[-80:]!r}"
    events = []
    for block in text.split("\n\n"):
        name, data = None, []
        for line in block.splitlines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            else:
                assert line.startswith(":"), f"a line that is no field: {line!r}"
        if data:
            joined = "\n".join(data)
            events.append((name, joined if joined == "[DONE]" else json.loads(joined)))
    return events


# --- chat completions -----------------------------------------------------------------------------------------------------


def read_chat_whole(body: bytes) -> Reading:
    """Return a whole chat completion."""
    answer = json.loads(body)
    assert answer["object"] == "chat.completion", answer
    (choice,) = answer["choices"]
    message = choice["message"]
    assert message["role"] == "assistant"
    seen = Reading(id=answer["id"], model=answer["model"], finish=choice["finish_reason"], complete=True)
    seen.usage = answer.get("usage")
    seen.reasoning = message.get("reasoning_content") or ""
    assert isinstance(message.get("content"), str | None), f"content that is no text: {message['content']}"
    seen.text, seen.refusal = message.get("content") or "", message.get("refusal") or ""
    _take_details(seen, message.get("reasoning_details") or [])
    for call in message.get("tool_calls") or []:
        arguments = arguments_of(call["function"]["arguments"])
        seen.tools.append({"id": call["id"], "name": call["function"]["name"], "arguments": arguments})
    return seen


def _take_details(seen: Reading, details: list[dict[str, Any]]) -> None:
    for detail in details:
        known = next((one for one in seen.details if one["index"] == detail["index"]), None)
        if known is None:
            seen.details.append(dict(detail))
        else:
            known.update({name: value for name, value in detail.items() if name != "text"})
            if "text" in detail:
                known["text"] = known.get("text", "") + detail["text"]
    seen.signatures = [detail["signature"] for detail in seen.details if detail.get("signature")]
    seen.redacted = [detail["data"] for detail in seen.details if detail["type"] == "reasoning.encrypted"]


def read_chat_stream(body: bytes, *, usage_asked: bool = True) -> Reading:
    """Return what a stream of chunks amounts to, having checked its grammar. One choice is expected."""
    seen = Reading()
    calls: dict[int, dict[str, Any]] = {}
    for name, event in events_in(body):
        assert name is None, f"an event line in a chat stream: {name}"
        assert not seen.complete, f"something after the end: {event}"
        assert seen.error is None, f"something after an error: {event}"
        if event == "[DONE]":
            seen.complete = True
        elif "error" in event:
            seen.error = event["error"]
        else:
            _take_chunk(seen, event, calls, usage_asked=usage_asked)
    assert list(calls) == list(range(len(calls))), f"indexes of calls: {list(calls)}"
    for call in calls.values():
        seen.tools.append({"id": call["id"], "name": call["name"], "arguments": arguments_of(call["arguments"])})
    assert not seen.complete or seen.finish is not None, "the stream ends without a finish_reason"
    return seen


def _take_chunk(seen: Reading, chunk: dict[str, Any], calls: dict[int, dict[str, Any]], *, usage_asked: bool) -> None:
    assert chunk["object"] in ("chat.completion.chunk", ""), chunk
    assert seen.id in ("", chunk["id"]), "two ids in one stream"
    seen.id, seen.model = chunk["id"], chunk["model"]
    if chunk.get("usage") is not None:
        assert usage_asked, "usage that nobody asked for"
        seen.usage = chunk["usage"]
    for choice in chunk["choices"]:
        assert choice["index"] == 0
        delta = choice.get("delta") or {}
        has_content = any(
            delta.get(name) for name in ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")
        )
        assert seen.finish is None or not has_content, f"content after the finish_reason: {choice}"
        _take_delta(seen, delta, calls)
        if choice.get("finish_reason") is not None:
            assert seen.finish in (None, choice["finish_reason"]), "two finish reasons"
            seen.finish = choice["finish_reason"]


def _take_delta(seen: Reading, delta: dict[str, Any], calls: dict[int, dict[str, Any]]) -> None:
    if thoughts := delta.get("reasoning_content"):
        seen.reasoning += thoughts
        seen.note("reasoning")
    _take_details(seen, delta.get("reasoning_details") or [])
    assert isinstance(delta.get("content"), str | None), f"content that is no text: {delta['content']}"
    if delta.get("content"):
        seen.text += delta["content"]
        seen.note("text")
    seen.refusal += delta.get("refusal") or ""
    for part in delta.get("tool_calls") or []:
        assert isinstance(part.get("index"), int), f"a tool call delta without its index: {part}"
        seen.note("tool")
        function = part.get("function") or {}
        if part["index"] not in calls:
            assert part.get("id"), f"a call begins without its id: {part}"
            assert function.get("name"), f"a call begins without its name: {part}"
            calls[part["index"]] = {"id": part["id"], "name": function["name"], "arguments": ""}
        calls[part["index"]]["arguments"] += function.get("arguments") or ""


# --- Messages -----------------------------------------------------------------------------------------------------------------


def read_messages_whole(body: bytes) -> Reading:
    """Return a whole message."""
    answer = json.loads(body)
    assert answer["type"] == "message", answer
    assert answer["role"] == "assistant"
    seen = Reading(id=answer["id"], model=answer["model"], finish=answer["stop_reason"], complete=True)
    seen.stop_sequence, seen.usage = answer.get("stop_sequence"), answer.get("usage")
    for block in answer["content"]:
        _take_block(seen, block)
    return seen


def _take_block(seen: Reading, block: dict[str, Any]) -> None:
    seen.blocks.append(block)
    match block["type"]:
        case "text":
            seen.text += block["text"]
            seen.note("text")
        case "thinking":
            seen.reasoning += block["thinking"]
            seen.signatures.append(block["signature"])
            seen.note("reasoning")
        case "redacted_thinking":
            seen.redacted.append(block["data"])
            seen.note("redacted")
        case "tool_use":
            seen.tools.append({"id": block["id"], "name": block["name"], "arguments": block["input"]})
            seen.note("tool")


def read_messages_stream(body: bytes) -> Reading:
    """Return what the events of a message amount to, having checked their grammar."""
    seen = Reading()
    begun = False
    open_block: dict[str, Any] | None = None
    pieces = ""
    for name, event in events_in(body):
        assert not seen.complete, f"something after the end: {event}"
        assert seen.error is None, f"something after an error: {event}"
        kind = event["type"]
        assert name == kind, f"event line {name!r} for type {kind!r}"
        if kind == "error":
            seen.error = event["error"]
            continue
        if kind == "message_start":
            assert not begun, "two message_start"
            begun = True
            message = event["message"]
            assert message["content"] == [], message
            assert isinstance(message["usage"]["input_tokens"], int), message
            seen.id, seen.model, seen.usage = message["id"], message["model"], dict(message["usage"])
            continue
        assert begun, f"{kind} before message_start"
        if kind == "content_block_start":
            assert open_block is None, "blocks overlap"
            assert seen.finish is None, "a block after message_delta"
            assert event["index"] == len(seen.blocks), f"block {event['index']} after {len(seen.blocks)} blocks"
            open_block, pieces = dict(event["content_block"]), ""
        elif kind == "content_block_delta":
            assert open_block is not None, "a delta outside of a block"
            assert event["index"] == len(seen.blocks), "a delta of another block"
            pieces += _take_message_delta(open_block, event["delta"])
        elif kind == "content_block_stop":
            assert open_block is not None, "a block ends that is not open"
            assert event["index"] == len(seen.blocks), "another block ends"
            if open_block["type"] == "tool_use":
                open_block["input"] = arguments_of(pieces) if pieces else open_block["input"]
            _take_block(seen, open_block)
            open_block = None
        elif kind == "message_delta":
            assert open_block is None, "message_delta inside of a block"
            seen.finish = event["delta"]["stop_reason"] or seen.finish
            seen.stop_sequence = event["delta"].get("stop_sequence")
            seen.usage = {**(seen.usage or {}), **event["usage"]}
        elif kind == "message_stop":
            assert seen.finish is not None, "message_stop without a stop_reason"
            seen.complete = True
    if open_block is not None:
        _take_block(
            seen, {**open_block, "input": arguments_of(pieces)} if open_block["type"] == "tool_use" else open_block
        )
    return seen


def _take_message_delta(block: dict[str, Any], delta: dict[str, Any]) -> str:
    """Add a delta to its block; return a piece of arguments."""
    kinds = BLOCK_DELTAS.get(block["type"], {})
    assert delta["type"] in kinds, f"a {delta['type']} in a block of {block['type']}"
    place = kinds[delta["type"]]
    if place == "partial_json":
        return str(delta[place])
    if place == "citation":
        block.setdefault("citations", []).append(delta[place])
    else:
        block[place] = (block.get(place) or "") + delta[place]
    return ""
