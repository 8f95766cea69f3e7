"""What the sandbox's models answer: one function a behaviour, from a request to a reply. Deterministic, no network."""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import ChatRequest, Image
from gateway.protocols.openai_request import Message
from gateway.upstreams.sandbox_schema import instance_of

SLOW_WORDS = "one two three four five six seven eight nine ten"
SLOW_PAUSE = 0.5


@dataclass(slots=True)
class Reply:
    """What a model answers, before limits are applied."""

    content: str = ""
    reasoning: str = ""
    #: Name and arguments of each call, in order.
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reports_usage: bool = True
    #: Seconds before each word.
    pause: float = 0.0
    #: Fail before the first byte, or after this many words.
    fails_at: int | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client offers."""

    name: str
    description: str
    parameters: dict[str, Any]


def text_of(message: Message) -> str:
    """Return the text of a message, its parts joined by a blank."""
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return " ".join(part.text for part in message.content if part.text)


def last_user_text(request: ChatRequest) -> str:
    """Return the text of the last message of the user."""
    for message in reversed(request.messages):
        if message.role == "user":
            return text_of(message)
    return ""


def tools_of(request: ChatRequest) -> list[Tool]:
    """Return the functions that may be called: all that are given, the one that is forced, or none."""
    choice = _field(request, "tool_choice")
    if choice == "none":
        return []
    tools = []
    for tool in _field(request, "tools") or []:
        function = tool.get("function")
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            schema = function.get("parameters")
            tools.append(
                Tool(
                    name=function["name"],
                    description=str(function.get("description") or ""),
                    parameters=schema if isinstance(schema, dict) else {},
                )
            )
    if isinstance(choice, dict):
        forced = choice.get("function")
        name = forced.get("name") if isinstance(forced, dict) else None
        tools = [tool for tool in tools if tool.name == name]
    return tools


def reply_of(behaviour: str, request: ChatRequest) -> Reply:
    """Return what the model of that name answers; a name without a behaviour of its own is an echo."""
    return BEHAVIOURS.get(behaviour, _echo)(request)


def _echo(request: ChatRequest) -> Reply:
    return Reply(last_user_text(request) or "You sent no text.")


def _no_usage(request: ChatRequest) -> Reply:
    return Reply(_echo(request).content, reports_usage=False)


def _slow(_request: ChatRequest) -> Reply:
    return Reply(SLOW_WORDS, pause=SLOW_PAUSE)


def _fails_first(_request: ChatRequest) -> Reply:
    return Reply(fails_at=0)


def _fails_midway(_request: ChatRequest) -> Reply:
    return Reply("This answer breaks off here because you asked for it.", fails_at=4)


def _one_call(request: ChatRequest) -> Reply:
    return _calls(request, 1)


def _three_calls(request: ChatRequest) -> Reply:
    return _calls(request, 3)


def _calls(request: ChatRequest, count: int) -> Reply:
    if request.messages[-1].role == "tool":
        return Reply(f"The tool answered: {text_of(request.messages[-1])}")
    tools = tools_of(request)
    if not tools:
        return Reply("You gave no tools, so there is nothing to call.")
    chosen = [tools[index % len(tools)] for index in range(count)]
    return Reply(calls=[(tool.name, _arguments(tool)) for tool in chosen])


def _arguments(tool: Tool) -> dict[str, Any]:
    arguments = instance_of(tool.parameters)
    return arguments if isinstance(arguments, dict) else {}


def _reasoning(request: ChatRequest) -> Reply:
    steps = {"low": 1, "medium": 2, "high": 3}.get(request.reasoning_effort or "medium", 2)
    thoughts = ["The user wrote something.", "An echo is what the sandbox gives.", "So that is the answer."]
    return Reply(_echo(request).content, reasoning=" ".join(thoughts[:steps]))


def _json_schema(request: ChatRequest) -> Reply:
    wanted = _field(request, "response_format") or {}
    schema = (wanted.get("json_schema") or {}).get("schema") if isinstance(wanted.get("json_schema"), dict) else None
    if schema is None:
        return Reply(msgspec.json.encode({"echo": last_user_text(request)}).decode())
    return Reply(msgspec.json.encode(instance_of(schema)).decode())


def _vision(request: ChatRequest) -> Reply:
    if not request.images:
        return Reply("You sent no image.")
    seen = [f"Image {number}: {_seen(image)}." for number, image in enumerate(request.images, start=1)]
    return Reply(" ".join(seen))


def _seen(image: Image) -> str:
    if image.kind == "url":
        return image.url
    head, _, data = image.url[5:].partition(",")
    kind, *options = head.split(";")
    try:
        size = len(base64.b64decode(data, validate=True)) if "base64" in options else len(data)
    except (binascii.Error, ValueError):
        raise UpstreamFailure(FailureKind.CLIENT_CONTENT, "an image's data is not base64", status=400) from None
    return f"{kind or 'text/plain'}, {size} bytes"


_GREETING = re.compile(r"(hello|hi|hey)\b", re.IGNORECASE)


def _plus(request: ChatRequest) -> Reply:
    """Answer plainly; call a tool where the text asks for one, see images, return JSON by schema, reason when told to."""
    text = last_user_text(request)
    asked = _asked_tool(request, text)
    if asked is not None:
        return Reply(calls=[(asked.name, _arguments(asked))])
    if request.messages[-1].role == "tool":
        return _calls(request, 1)
    wanted = _field(request, "response_format") or {}
    if request.images:
        reply = _vision(request)
    elif wanted.get("type") in ("json_schema", "json_object"):
        reply = _json_schema(request)
    elif _GREETING.match(text.strip()):
        reply = Reply("Hi! How can I help?")
    else:
        reply = Reply(f"You said: {text}" if text else "You sent no text.")
    if request.reasoning_effort not in (None, "none"):
        reply.reasoning = _reasoning(request).reasoning
    return reply


def _asked_tool(request: ChatRequest, text: str) -> Tool | None:
    """Return the first tool whose name or description shares a word of four letters or more with the user's text."""
    if request.messages[-1].role == "tool":
        return None
    tools = tools_of(request)
    choice = _field(request, "tool_choice")
    if tools and (choice == "required" or isinstance(choice, dict)):
        return tools[0]
    words = _long_words(text)
    return next((tool for tool in tools if words & _long_words(f"{tool.name} {tool.description}")), None)


def _long_words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if len(word) >= 4}


def _field(request: ChatRequest, name: str) -> Any:
    raw = request.fields.get(name)
    return None if raw is None else msgspec.json.decode(raw)


BEHAVIOURS: dict[str, Callable[[ChatRequest], Reply]] = {
    "echo": _echo,
    "paid": _echo,
    "slow": _slow,
    "tool-call": _one_call,
    "three-tool-calls": _three_calls,
    "reasoning": _reasoning,
    "json-schema": _json_schema,
    "vision": _vision,
    "error-before-first-byte": _fails_first,
    "error-mid-stream": _fails_midway,
    "no-usage": _no_usage,
    "plus": _plus,
}
