"""Chat completion answers in forms of their provider's own, brought into the one form that clients are promised.

Put right: reasoning in a field ``reasoning`` (Groq, Ollama, OpenRouter) and content as a list of parts (Mistral) become
``reasoning_content`` and text; a tool call's delta without its ``index`` (older Gemini) gets one. Such answers are taken apart
whole, so all others are told from them by a look at what was decoded anyway.
"""

from typing import Any

import msgspec

from gateway.protocols.openai_fold import objects_in
from gateway.protocols.openai_shapes import Choice, Delta

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode


def is_odd(choice: Choice) -> bool:
    """Return whether a choice is in a form that needs repair. Lists of parts are another type, and seen by the decode."""
    part = choice.delta or choice.message
    return part is not None and _is_odd(part, is_delta=choice.delta is not None)


def _is_odd(part: Delta, *, is_delta: bool) -> bool:
    if part.reasoning and part.reasoning_content is None:
        return True
    # Inside of arguments the quotes would be escaped.
    return is_delta and part.tool_calls is not None and any(b'"index"' not in bytes(call) for call in part.tool_calls)


class Repair:
    """Repairs the chunks of one stream, or one whole answer; it remembers the calls that it has numbered."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        #: The ids of calls, by choice.
        self._calls: dict[int, list[Any]] = {}

    def payload(self, payload: bytes) -> bytes:
        """Return a chunk or a whole answer, repaired. Raises msgspec.DecodeError for numbers that we cannot hold."""
        answer = _decode(payload)
        choices = answer.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._repair(choice)
        return _encode(answer)

    def _repair(self, choice: dict[str, Any]) -> None:
        for name in ("delta", "message"):
            part = choice.get(name)
            if isinstance(part, dict):
                _mend_content(part)
                _mend_reasoning(part)
                calls = part.get("tool_calls")
                if name == "delta" and isinstance(calls, list):
                    self._number(choice.get("index", 0), calls)

    def _number(self, choice: int, calls: list[Any]) -> None:
        known = self._calls.setdefault(choice, [])
        for call in calls:
            if not isinstance(call, dict) or type(call.get("index")) is int:
                continue
            identity = call.get("id")
            if identity and identity not in known:
                known.append(identity)
            # Without an id, it goes on with the last one.
            call["index"] = known.index(identity) if identity else max(0, len(known) - 1)


def _mend_content(part: dict[str, Any]) -> None:
    content = part.get("content")
    if not isinstance(content, list):
        return
    thoughts = "".join(_text_of(item.get("thinking")) for item in objects_in(content) if item.get("type") == "thinking")
    text = "".join(_text_of(item.get("text")) for item in objects_in(content) if item.get("type") != "thinking")
    part["content"] = text
    if thoughts and not part.get("reasoning_content"):
        part["reasoning_content"] = thoughts


def _mend_reasoning(part: dict[str, Any]) -> None:
    if isinstance(part.get("reasoning"), str) and part.get("reasoning_content") is None:
        part["reasoning_content"] = part.pop("reasoning")


def _text_of(value: Any) -> str:
    """Return text, or that of a list of parts."""
    if isinstance(value, str):
        return value
    return "".join(_text_of(item.get("text")) for item in objects_in(value))
