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
    reader = _MessageReader()
    for name, event in events_in(body):
        assert not reader.seen.complete, f"something after the end: {event}"
        assert reader.seen.error is None, f"something after an error: {event}"
        assert name == event["type"], f"event line {name!r} for type {event['type']!r}"
        reader.take(event)
    return reader.finished()


class _MessageReader:
    """How far a stream of Messages has been read."""

    def __init__(self) -> None:
        self.seen = Reading()
        self._begun = False
        self._open: dict[str, Any] | None = None
        self._pieces = ""

    def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "error":
            self.seen.error = event["error"]
        elif kind == "message_start":
            self._begin(event["message"])
        else:
            assert self._begun, f"{kind} before message_start"
            if kind.startswith("content_block_"):
                self._take_block_event(kind, event)
            elif kind == "message_delta":
                self._end(event)
            elif kind == "message_stop":
                assert self.seen.finish is not None, "message_stop without a stop_reason"
                self.seen.complete = True

    def finished(self) -> Reading:
        """Return what came; a block that was not ended counts as far as it came."""
        if self._open is not None:
            self._close()
        return self.seen

    def _begin(self, message: dict[str, Any]) -> None:
        assert not self._begun, "two message_start"
        self._begun = True
        assert message["content"] == [], message
        assert isinstance(message["usage"]["input_tokens"], int), message
        self.seen.id, self.seen.model, self.seen.usage = message["id"], message["model"], dict(message["usage"])

    def _take_block_event(self, kind: str, event: dict[str, Any]) -> None:
        count = len(self.seen.blocks)
        assert event["index"] == count, f"{kind} of block {event['index']} after {count} blocks"
        if kind == "content_block_start":
            assert self._open is None, "blocks overlap"
            assert self.seen.finish is None, "a block after message_delta"
            self._open, self._pieces = dict(event["content_block"]), ""
            return
        assert self._open is not None, f"{kind} outside of a block"
        if kind == "content_block_delta":
            self._pieces += _take_message_delta(self._open, event["delta"])
        else:
            self._close()

    def _close(self) -> None:
        assert self._open is not None
        if self._open["type"] == "tool_use" and self._pieces:
            self._open["input"] = arguments_of(self._pieces)
        _take_block(self.seen, self._open)
        self._open = None

    def _end(self, event: dict[str, Any]) -> None:
        assert self._open is None, "message_delta inside of a block"
        self.seen.finish = event["delta"]["stop_reason"] or self.seen.finish
        self.seen.stop_sequence = event["delta"].get("stop_sequence")
        self.seen.usage = {**(self.seen.usage or {}), **event["usage"]}


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
