"""What the strict upstream answers, said once in neutral form, and its two renderings: chat completions and Messages."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.refusal import MARK
from tests.fakes.signing import REDACTED, signature_of

CREATED = 1_700_000_123
CHAT_STOPS = {
    "end": "stop",
    "length": "length",
    "tools": "tool_calls",
    "sequence": "stop",
    "refusal": "content_filter",
    "pause": "stop",
}
MESSAGE_STOPS = {
    "end": "end_turn",
    "length": "max_tokens",
    "tools": "tool_use",
    "sequence": "stop_sequence",
    "refusal": "refusal",
    "pause": "pause_turn",
}


@dataclass(frozen=True)
class Block:
    """A piece of an answer: ``text``, ``thinking``, ``redacted``, or ``tool`` (then ``text`` holds the arguments)."""

    kind: Literal["text", "thinking", "redacted", "tool"]
    text: str = ""
    name: str = ""
    id: str = ""


@dataclass(frozen=True)
class Counts:
    """Usage in disjoint classes; ``raw`` replaces the fields of the report where it lies."""

    input: int = 11
    cache_read: int = 0
    cache_write: int = 0
    output: int = 7
    reasoning: int = 0


@dataclass(frozen=True)
class Turn:
    """One answer."""

    blocks: tuple[Block, ...]
    stop: str = "end"
    usage: Counts = field(default_factory=Counts)
    #: Into how many pieces text and arguments are cut; 0: arguments come whole, in one last piece after all else.
    pieces: int = 4
    #: Replaces the usage object, None leaves it out; the string "honest" is the truth.
    told: Any = "honest"

    def thinking(self, wanted: bool) -> "Turn":
        """Return the answer without its thinking, unless it is wanted."""
        if wanted:
            return self
        kept = tuple(block for block in self.blocks if block.kind not in ("thinking", "redacted"))
        return Turn(kept, self.stop, self.usage, self.pieces, self.told)


def cut(text: str, pieces: int) -> list[str]:
    """Return the text in about so many pieces."""
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{MARK}", "object": kind, "created": CREATED, "model": model}


def _details(block: Block, index: int) -> dict[str, Any]:
    if block.kind == "redacted":
        return {"type": "reasoning.encrypted", "data": REDACTED, "format": "anthropic-claude-v1", "index": index}
    return {
        "type": "reasoning.text",
        "text": block.text,
        "signature": signature_of(block.text),
        "format": "anthropic-claude-v1",
        "index": index,
    }


def chat_usage(turn: Turn) -> Any:
    """Return the usage object of the chat completions API."""
    if turn.told != "honest":
        return turn.told
    counts = turn.usage
    prompt = counts.input + counts.cache_read + counts.cache_write
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": counts.output,
        "total_tokens": prompt + counts.output,
    }
    usage["prompt_tokens_details"] = {"cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write}
    usage["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning}
    return usage


def chat_whole(turn: Turn, model: str, *, router: bool = False) -> dict[str, Any]:
    """Return the whole chat completion; ``router``: with reasoning_details, as the aggregator has it."""
    text = "".join(block.text for block in turn.blocks if block.kind == "text")
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if thoughts := "".join(block.text for block in turn.blocks if block.kind == "thinking"):
        message["reasoning" if router else "reasoning_content"] = thoughts
    thinking = [block for block in turn.blocks if block.kind in ("thinking", "redacted")]
    if router and thinking:
        message["reasoning_details"] = [_details(block, index) for index, block in enumerate(thinking)]
    if calls := [block for block in turn.blocks if block.kind == "tool"]:
        message["tool_calls"] = [
            {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.text}}
            for block in calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": CHAT_STOPS[turn.stop]}
    answer: dict[str, Any] = {**_head(model, "chat.completion"), "choices": [choice]}
    if router:
        answer["provider"] = MARK
    usage = chat_usage(turn)
    return answer if usage is None else {**answer, "usage": usage}


def chat_chunks(turn: Turn, model: str, *, usage: bool, router: bool = False) -> Iterator[bytes]:
    """Yield the payloads of a chat completion's stream, without [DONE]."""
    head = _head(model, "chat.completion.chunk")
    if router:
        head["provider"] = MARK

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return json.dumps({**head, "choices": [choice]}, ensure_ascii=False, separators=(",", ":")).encode()

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    calls = thoughts = 0
    for block in turn.blocks:
        if block.kind == "tool":
            for delta in _call_deltas(block, calls, turn.pieces):
                yield chunk({"tool_calls": [delta]})
            calls += 1
        elif block.kind == "text":
            for piece in cut(block.text, turn.pieces):
                yield chunk({"content": piece})
        else:
            for delta in _thinking_deltas(block, thoughts, turn.pieces, router=router):
                yield chunk(delta)
            thoughts += 1
    if not turn.pieces:
        for index, block in enumerate(block for block in turn.blocks if block.kind == "tool"):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": block.text}}]})
    yield chunk({}, CHAT_STOPS[turn.stop])
    report = chat_usage(turn)
    if usage and report is not None:
        yield json.dumps({**head, "choices": [], "usage": report}, separators=(",", ":")).encode()


def _call_deltas(block: Block, index: int, pieces: int) -> Iterator[dict[str, Any]]:
    first = {"index": index, "id": block.id, "type": "function"}
    if pieces == 1:
        yield {**first, "function": {"name": block.name, "arguments": block.text}}
        return
    yield {**first, "function": {"name": block.name, "arguments": ""}}
    for piece in cut(block.text, pieces) if pieces else []:
        yield {"index": index, "function": {"arguments": piece}}


def _thinking_deltas(block: Block, index: int, pieces: int, *, router: bool) -> Iterator[dict[str, Any]]:
    if not router:
        for piece in cut(block.text, pieces) if block.kind == "thinking" else []:
            yield {"reasoning_content": piece}
        return
    whole = _details(block, index)
    if block.kind == "redacted":
        yield {"content": "", "reasoning_details": [whole]}
        return
    for piece in cut(block.text, pieces):
        part = {"type": "reasoning.text", "text": piece, "format": whole["format"], "index": index}
        yield {"content": "", "reasoning": piece, "reasoning_details": [part]}
    signed = {"type": "reasoning.text", "signature": whole["signature"], "format": whole["format"], "index": index}
    yield {"content": "", "reasoning_details": [signed]}


# --- Messages -----------------------------------------------------------------------------------------------------------


def message_usage(turn: Turn) -> Any:
    """Return the usage object of the Messages API."""
    if turn.told != "honest":
        return turn.told
    counts = turn.usage
    return {
        "input_tokens": counts.input,
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cache_read,
        "output_tokens": counts.output,
        "service_tier": "standard",
    }


def _message(turn: Turn, model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{MARK}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _block_of(block: Block) -> dict[str, Any]:
    match block.kind:
        case "text":
            return {"type": "text", "text": block.text}
        case "thinking":
            return {"type": "thinking", "thinking": block.text, "signature": signature_of(block.text)}
        case "redacted":
            return {"type": "redacted_thinking", "data": REDACTED}
        case _:
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": json.loads(block.text)}


def message_whole(turn: Turn, model: str) -> dict[str, Any]:
    """Return the whole message."""
    answer = {**_message(turn, model), "content": [_block_of(block) for block in turn.blocks]}
    answer["stop_reason"] = MESSAGE_STOPS[turn.stop]
    answer["stop_sequence"] = "END" if turn.stop == "sequence" else None
    usage = message_usage(turn)
    return answer if usage is None else {**answer, "usage": usage}


def message_events(turn: Turn, model: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a message's stream, with pings where the provider puts them."""
    usage = message_usage(turn)
    begun = {**usage, "output_tokens": 1} if turn.told == "honest" else usage
    message = _message(turn, model)
    yield {"type": "message_start", "message": message if begun is None else {**message, "usage": begun}}
    for index, block in enumerate(turn.blocks):
        whole = _block_of(block)
        yield {"type": "content_block_start", "index": index, "content_block": _empty(whole)}
        if not index:
            yield {"type": "ping"}
        for delta in _deltas_of(block, turn.pieces):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": MESSAGE_STOPS[turn.stop], "stop_sequence": "END" if turn.stop == "sequence" else None}
    ended = {"type": "message_delta", "delta": delta}
    if turn.told == "honest":
        yield {**ended, "usage": {name: usage[name] for name in usage if name.endswith("_tokens")}}
    else:
        yield ended if usage is None else {**ended, "usage": usage}
    yield {"type": "message_stop"}


def _empty(whole: dict[str, Any]) -> dict[str, Any]:
    emptied = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: emptied.get(name, value) for name, value in whole.items()}


def _deltas_of(block: Block, pieces: int) -> Iterator[dict[str, Any]]:
    match block.kind:
        case "text":
            for piece in cut(block.text, pieces):
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            for piece in cut(block.text, pieces):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": signature_of(block.text)}
        case "tool":
            yield {"type": "input_json_delta", "partial_json": ""}
            for piece in cut(block.text, max(1, pieces)):
                yield {"type": "input_json_delta", "partial_json": piece}
        case _:
            return
