"""A Messages stream folded into the whole message that it amounts to, and a whole message as the events of a stream.

Law, held by a property test: folding relayed events equals relaying the folded whole.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.protocols.answers import Labels
from gateway.protocols.anthropic_errors import failure_from_messages_error
from gateway.protocols.anthropic_reader import MessagesReader
from gateway.protocols.anthropic_told import known_cache_parts
from gateway.protocols.counts import MAX_TOKENS, clamped
from gateway.protocols.failures import FailureKind, UpstreamFailure

_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_CACHE_PARTS = "cache_creation"
#: What ``message_start`` says of the end, and ``message_delta`` then says for good.
_STOP_FIELDS = ("stop_reason", "stop_sequence", "stop_details")
_TOOL_USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_NOBODY = Labels(response_id="", model="", created=0)
_encode = msgspec.json.encode


def fold_events(payloads: Iterable[bytes]) -> dict[str, Any]:
    """Return the whole message that the payloads of a stream amount to. Raises UpstreamFailure for a breach of the grammar."""
    reader = MessagesReader(_NOBODY)
    message: dict[str, Any] = {}
    blocks: list[dict[str, Any]] = []
    reports: list[dict[str, Any]] = []
    json_input = ""
    for payload in payloads:
        if reader.read(payload) is None:
            continue
        event = msgspec.json.decode(payload)
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": blocks}
                reports = _reports_in(message)
            case "content_block_start":
                blocks.append(event["content_block"])
                json_input = ""
            case "content_block_delta":
                delta = event["delta"]
                json_input += delta.get("partial_json") or ""
                _add(blocks[-1], delta)
            case "content_block_stop" if json_input:
                blocks[-1]["input"] = _input_of(json_input)
            case "message_delta":
                _add_end(message, event)
                reports += _reports_in(event)
    if reports:
        message["usage"] = _merged_usage(reports)
    return message


def message_to_events(message: dict[str, Any]) -> list[bytes]:
    """Return the payloads of a stream that amounts to ``message``. Raises UpstreamFailure for an error, or what is no message."""
    if message.get("error") or message.get("type") == "error":
        raise failure_from_messages_error(message)
    content = message.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise UpstreamFailure(FailureKind.INVALID, "its answer has no content")
    end = {name: message[name] for name in _STOP_FIELDS if name in message}
    start = {**message, **dict.fromkeys(end), "content": []}
    last = {"type": "message_delta", "delta": end}
    if isinstance(usage := message.get("usage"), dict):
        start["usage"] = {**usage, "output_tokens": 0}
        last["usage"] = usage
    payloads = [_encode({"type": "message_start", "message": start})]
    for index, block in enumerate(content):
        first, deltas = _taken_apart(block)
        payloads.append(_encode({"type": "content_block_start", "index": index, "content_block": first}))
        payloads += [_encode({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
        payloads.append(_encode({"type": "content_block_stop", "index": index}))
    return [*payloads, _encode(last), _encode({"type": "message_stop"})]


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] = _text(block.get("text")) + delta["text"]
        case "thinking_delta":
            block["thinking"] = _text(block.get("thinking")) + delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            known = block.get("citations")
            block["citations"] = [*(known if isinstance(known, list) else ()), delta["citation"]]
        case "input_json_delta":
            pass
        case _:
            for name, value in delta.items():
                if name != "type":
                    block[name] = _text(block.get(name)) + value if isinstance(value, str) else value


def _add_end(message: dict[str, Any], event: dict[str, Any]) -> None:
    for name, value in event.items():
        if name == "delta" and isinstance(value, dict):
            message.update(value)
        elif name not in ("type", "delta", "usage"):
            message[name] = value


def _reports_in(fields: dict[str, Any]) -> list[dict[str, Any]]:
    usage = fields.get("usage")
    return [usage] if isinstance(usage, dict) else []


def _merged_usage(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return reports as one, by the rules of ``merged_reports``; of the parts of cache writes, those that add up stand."""
    merged = dict(reports[0])
    for later in reports[1:]:
        keeps_input = any(merged.get(name) for name in _INPUT_COUNTS) and not any(
            later.get(name) for name in _INPUT_COUNTS
        )
        for name, value in later.items():
            if value is None:
                merged.setdefault(name, None)
            elif not (keeps_input and name in _INPUT_COUNTS):
                merged[name] = value
    given = [report[_CACHE_PARTS] for report in reports if _CACHE_PARTS in report]
    total = clamped(merged.get(_INPUT_COUNTS[2]), MAX_TOKENS, set())
    for parts in (given[-1], given[0]) if given else ():
        if _adds_up(parts, total):
            return merged | {_CACHE_PARTS: parts}
    if given and _CACHE_PARTS not in reports[-1]:
        # The parts of an older total go with it.
        del merged[_CACHE_PARTS]
    return merged


def _adds_up(parts: object, total: int) -> bool:
    try:
        return known_cache_parts(msgspec.convert(parts, dict[str, int]), total) is not None
    except msgspec.ValidationError:
        return False


def _taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the start of a block, and the deltas that make it whole."""
    first, deltas = dict(block), []
    match block.get("type"):
        case "text":
            citations = block.get("citations")
            if isinstance(citations, list) and citations:
                first["citations"] = []
                deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
            deltas += _moved(first, "text", "text_delta")
        case "thinking":
            deltas += _moved(first, "thinking", "thinking_delta")
            deltas += _moved(first, "signature", "signature_delta")
        case kind if kind in _TOOL_USES and block.get("input"):
            first["input"] = {}
            deltas.append({"type": "input_json_delta", "partial_json": _encode(block["input"]).decode()})
    return first, deltas


def _moved(first: dict[str, Any], name: str, delta: str) -> list[dict[str, Any]]:
    """Take a text out of the start of a block; return the delta that brings it, if there is any."""
    text = first.get(name)
    if not text or not isinstance(text, str):
        return []
    first[name] = ""
    return [{"type": delta, name: text}]


def _input_of(json_input: str) -> Any:
    try:
        return msgspec.json.decode(json_input)
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamFailure(FailureKind.INVALID, "the input of a tool use in its stream is not JSON") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
