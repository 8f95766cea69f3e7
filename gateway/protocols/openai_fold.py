"""A stream folded into the whole answer that it amounts to, and a whole answer as the chunks of a stream.

Law, held by a property test: folding relayed chunks equals relaying the folded whole.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

#: Fields of a chunk that speak of the chunk and not of the answer.
_CHUNK_ONLY = frozenset({"object", "choices", "usage", "obfuscation"})


def fold_chunks(payloads: Iterable[bytes]) -> dict[str, Any]:
    """Return the whole answer that the payloads of a stream amount to."""
    whole: dict[str, Any] = {"object": "chat.completion"}
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for payload in payloads:
        chunk = msgspec.json.decode(payload)
        for name, value in chunk.items():
            if name not in _CHUNK_ONLY and (value is not None or name not in whole):
                whole[name] = value
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            choice = choices.setdefault(index, {"index": index, "message": {"role": "assistant", "content": None}})
            _add_choice(choice, part)
        usage = chunk.get("usage") or usage
    for choice in choices.values():
        choice.setdefault("finish_reason", None)
        if "tool_calls" in choice["message"]:
            choice["message"]["tool_calls"] = _ordered_calls(choice["message"]["tool_calls"])
    whole["choices"] = [choices[index] for index in sorted(choices)]
    if usage is not None:
        whole["usage"] = usage
    return whole


def whole_to_chunks(answer: dict[str, Any]) -> list[bytes]:
    """Return the payloads of a stream that amount to ``answer``: one for the content of each choice, one for its end, usage."""
    head = {name: value for name, value in answer.items() if name not in _CHUNK_ONLY}
    head["object"] = "chat.completion.chunk"
    payloads = []
    for choice in objects_in(answer.get("choices")):
        given = choice.get("message")
        message = dict(given) if isinstance(given, dict) else {}
        if message.get("tool_calls"):
            calls = objects_in(message["tool_calls"])
            message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
        end = {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice.get("finish_reason")}
        payloads.append(msgspec.json.encode({**head, "choices": [{**rest, "delta": message, "finish_reason": None}]}))
        payloads.append(msgspec.json.encode({**head, "choices": [end]}))
    if answer.get("usage"):
        payloads.append(msgspec.json.encode({**head, "choices": [], "usage": answer["usage"]}))
    return payloads


def objects_in(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list: this comes from upstreams, who may send anything."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _add_choice(choice: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        if name == "delta":
            _add_delta(choice["message"], value or {})
        elif name == "logprobs":
            _add_logprobs(choice, value)
        elif name != "index" and (value is not None or name not in choice):
            choice[name] = value


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if value is None:
            message.setdefault(name, None)
        elif name == "tool_calls":
            calls = message.setdefault("tool_calls", None) or {}
            message["tool_calls"] = calls
            for position, call in enumerate(value):
                _add_call(calls.setdefault(call.get("index", position), {}), call)
        elif name == "function_call":
            message[name] = _joined(message.get(name) or {}, value)
        elif name != "role" and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif isinstance(value, list):
            message[name] = (message.get(name) or []) + value
        else:
            message[name] = value


def _add_call(call: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        if name == "function":
            call["function"] = _joined(call.get("function") or {}, value or {})
        elif name != "index" and (value is not None or name not in call):
            call[name] = value


def _joined(function: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return a function call with the next part of its name and arguments added."""
    for name, value in part.items():
        if isinstance(value, str):
            function[name] = (function.get(name) or "") + value
        elif value is not None:
            function[name] = value
    return function


def _add_logprobs(choice: dict[str, Any], value: dict[str, Any] | None) -> None:
    known = choice.get("logprobs")
    if value is None or known is None:
        choice["logprobs"] = value if known is None else known
        return
    for name, tokens in value.items():
        if isinstance(tokens, list):
            known[name] = (known.get(name) or []) + tokens


def _ordered_calls(calls: dict[int, dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if calls is None else [calls[index] for index in sorted(calls)]
