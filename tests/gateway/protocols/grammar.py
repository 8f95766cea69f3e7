"""The grammar of both protocols' streams as clients need it, asserted on raw bytes: for every test that sees a stream."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_EVENT_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
#: The delta types that a client's library can add to a block of each type.
_DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "redacted_thinking": set[str](),
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
}
_DELTA_FIELDS = {
    "text_delta": ("text", str),
    "thinking_delta": ("thinking", str),
    "signature_delta": ("signature", str),
    "input_json_delta": ("partial_json", str),
    "citations_delta": ("citation", dict),
}
_BLOCK_FIELDS: dict[str, dict[str, type]] = {
    "text": {"text": str},
    "thinking": {"thinking": str},
    "redacted_thinking": {"data": str},
    "tool_use": {"id": str, "name": str, "input": dict},
}


def check_messages_stream(raw: bytes) -> list[dict[str, Any]]:
    """Assert that ``raw`` is a stream that every client of the Messages protocol takes; return the data of its events."""
    events = []
    checker = _Messages()
    for name, text in _events_in(raw):
        assert name is not None, f"an event without an event: line: {text}"
        data = json.loads(text)
        assert isinstance(data, dict), f"data is no object: {text}"
        assert data.get("type") == name, f"the event: line says {name}, the data {data.get('type')}"
        checker.take(name, data)
        events.append(data)
    assert checker.is_over, "neither message_stop nor an error event at the end"
    return events


def check_chat_stream(raw: bytes, *, usage: bool | None = None) -> list[dict[str, Any]]:
    """Assert that ``raw`` is a stream that every client of chat completions takes; return its chunks.

    ``usage`` True: the client asked for it, so it comes, at the end; False: it did not, so none comes; None: either.
    """
    checker = _Chat()
    chunks = []
    for name, text in _events_in(raw):
        assert name is None, f"chat completions have no event: lines: {name}"
        assert not checker.is_over, f"something after the end: {text}"
        if text == "[DONE]":
            checker.finish()
            continue
        data = json.loads(text)
        assert isinstance(data, dict), f"data is no object: {text}"
        checker.take(data)
        chunks.append(data)
    assert checker.is_over, "neither [DONE] nor an error event at the end"
    if usage is not None and not checker.has_failed:
        assert checker.has_usage == usage, f"usage came: {checker.has_usage}, asked for: {usage}"
    return chunks


def _events_in(raw: bytes) -> list[tuple[str | None, str]]:
    """Return name and data of each event; comments are checked and left out."""
    assert b"\r" not in raw, "line ends are LF"
    assert raw.endswith(b"\n\n"), "the last event is not complete"
    events = []
    for event in raw[:-2].decode().split("\n\n"):
        lines = event.split("\n")
        assert event, "an empty event"
        if all(line.startswith(":") for line in lines):
            continue
        name = None
        if lines[0].startswith("event: "):
            name = lines.pop(0).removeprefix("event: ")
            assert _EVENT_NAME.fullmatch(name), f"an odd event name: {name!r}"
        assert lines, f"an event without data: {name}"
        for line in lines:
            assert line.startswith("data: "), f"an odd line: {line!r}"
        events.append((name, "\n".join(line.removeprefix("data: ") for line in lines)))
    return events


def _check_error(data: dict[str, Any]) -> None:
    error = data["error"]
    assert isinstance(error, dict), f"error is no object: {error}"
    for name in ("message", "type", "code"):
        assert isinstance(error.get(name), str), f"error.{name} is missing"
        assert error[name], f"error.{name} is empty"


def _check_counts(usage: Any, *names: str) -> None:
    assert isinstance(usage, dict), f"usage is no object: {usage}"
    for name in names:
        assert type(usage.get(name)) is int, f"usage.{name} is no count"
        assert usage[name] >= 0, f"usage.{name} is negative"


@dataclass
class _Messages:
    """How far a Messages stream has come."""

    has_begun: bool = False
    has_ended: bool = False
    is_over: bool = False
    next_index: int = 0
    block: dict[str, Any] | None = None
    json_input: str = ""
    broken_inputs: list[str] = field(default_factory=list)

    def take(self, name: str, data: dict[str, Any]) -> None:
        assert not self.is_over, f"{name} after the end"
        if name == "error":
            _check_error(data)
            self.is_over = True
            return
        if name != "message_start":
            assert self.has_begun, f"{name} before message_start"
        step = getattr(self, f"_{name}", None)
        if step is not None:
            step(data)

    def _message_start(self, data: dict[str, Any]) -> None:
        assert not self.has_begun, "two message_start"
        self.has_begun = True
        message = data["message"]
        head = (message["type"], message["role"], message["content"])
        assert head == ("message", "assistant", []), f"type, role and content at the start: {head}"
        assert message["id"].startswith("msg_"), f"id {message['id']}"
        assert isinstance(message["model"], str), f"model {message['model']}"
        assert message.get("stop_reason") is None, "a stop_reason at the start"
        _check_counts(message["usage"], "input_tokens", "output_tokens")

    def _content_block_start(self, data: dict[str, Any]) -> None:
        assert not self.has_ended, "a block after message_delta"
        assert self.block is None, "blocks overlap"
        assert data["index"] == self.next_index, f"index {data['index']}, expected {self.next_index}"
        self.next_index += 1
        self.block = data["content_block"]
        self.json_input = ""
        for name, kind in _BLOCK_FIELDS.get(self.block["type"], {}).items():
            assert isinstance(self.block.get(name), kind), f"{self.block['type']}.{name} is missing"

    def _content_block_delta(self, data: dict[str, Any]) -> None:
        assert self.block is not None, "a delta outside of a block"
        assert data["index"] == self.next_index - 1, f"a delta for {data['index']}, open is {self.next_index - 1}"
        delta, kind = data["delta"], self.block["type"]
        if kind in _DELTAS:
            assert delta["type"] in _DELTAS[kind], f"{delta['type']} in a block of type {kind}"
        if delta["type"] in _DELTA_FIELDS:
            name, wanted = _DELTA_FIELDS[delta["type"]]
            assert isinstance(delta.get(name), wanted), f"{delta['type']}.{name} is missing"
        self.json_input += delta.get("partial_json", "")

    def _content_block_stop(self, data: dict[str, Any]) -> None:
        assert self.block is not None, "content_block_stop outside of a block"
        assert data["index"] == self.next_index - 1, f"a stop for {data['index']}, open is {self.next_index - 1}"
        self.block = None
        if self.json_input and not _is_object(self.json_input):
            self.broken_inputs.append(self.json_input)

    def _message_delta(self, data: dict[str, Any]) -> None:
        assert self.block is None, "message_delta inside of a block"
        assert not self.has_ended, "two message_delta"
        self.has_ended = True
        assert isinstance(data["delta"]["stop_reason"], str), "no stop_reason"
        _check_counts(data["usage"], "output_tokens")
        if data["delta"]["stop_reason"] != "max_tokens":
            assert not self.broken_inputs, f"a tool's input is no object: {self.broken_inputs}"

    def _message_stop(self, data: dict[str, Any]) -> None:
        assert self.has_ended, "message_stop before message_delta"
        self.is_over = True


@dataclass
class _Chat:
    """How far a stream of chat completions has come."""

    head: tuple[Any, Any] | None = None
    is_over: bool = False
    has_failed: bool = False
    has_usage: bool = False
    usage_was_last: bool = False
    finished: dict[int, bool] = field(default_factory=dict)
    #: The ids of the tool calls of each choice, by index.
    calls: dict[int, list[str]] = field(default_factory=dict)

    def take(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            _check_error(chunk)
            self.is_over = self.has_failed = True
            return
        assert not self.usage_was_last, "a chunk after the one with usage"
        assert chunk["object"] == "chat.completion.chunk", f"object {chunk['object']}"
        assert isinstance(chunk["created"], int), "no created"
        head = (chunk["id"], chunk["model"])
        assert all(isinstance(value, str) for value in head), f"id and model: {head}"
        assert self.head in (None, head), f"id and model changed from {self.head} to {head}"
        self.head = head
        if chunk.get("usage") is not None:
            _check_counts(chunk["usage"], "prompt_tokens", "completion_tokens", "total_tokens")
            self.has_usage = True
        if not chunk["choices"]:
            assert chunk.get("usage") is not None, "a chunk without choices and without usage"
            self.usage_was_last = True
        for choice in chunk["choices"]:
            self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        index, delta = choice["index"], choice["delta"]
        assert isinstance(delta, dict), f"delta is no object: {delta}"
        has_content = any(delta.get(name) for name in ("content", "reasoning_content", "tool_calls", "refusal"))
        assert not (self.finished.get(index) and has_content), f"content of choice {index} after its finish_reason"
        for name in ("content", "reasoning_content"):
            assert isinstance(delta.get(name), str | None), f"delta.{name} is no text"
        for call in delta.get("tool_calls") or ():
            self._take_call(self.calls.setdefault(index, []), call)
        if choice.get("finish_reason") is not None:
            assert not self.finished.get(index), f"two finish_reasons of choice {index}"
        self.finished[index] = self.finished.get(index, False) or choice.get("finish_reason") is not None

    def _take_call(self, calls: list[str], call: dict[str, Any]) -> None:
        index = call.get("index")
        assert type(index) is int, "a tool call without index"
        assert index <= len(calls), f"tool call {index} before {len(calls)}"
        function = call.get("function") or {}
        if index == len(calls):
            assert call.get("id"), "the first delta of a tool call has no id"
            assert function.get("name"), "the first delta of a tool call has no name"
            assert call["id"] not in calls, f"two tool calls with the id {call['id']}"
            calls.append(call["id"])
        else:
            assert call.get("id") in (None, "", calls[index]), f"the id of tool call {index} changed"
        assert isinstance(function.get("arguments", ""), str), "arguments are no text"

    def finish(self) -> None:
        assert self.finished, "no choice at all"
        assert all(self.finished.values()), f"no finish_reason: {self.finished}"
        self.is_over = True


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
