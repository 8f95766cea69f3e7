"""Tools and the choice among them: functions of chat completions, and their older form, as tools of Messages."""

import re
from typing import Any, NamedTuple

from msgspec import Raw

from gateway.protocols.openai_request import ChatRequest
from gateway.protocols.wording import RequestShapeError
from gateway.translate.chat_over_messages import shapes
from gateway.translate.chat_over_messages.shapes import CacheControl, Choice, Function, invalid, missing

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_OBJECT = Raw(b'"object"')
#: The schema of a tool that takes nothing, or of which we know only its name.
EMPTY_SCHEMA = {"type": "object", "properties": {}}


class Offer(NamedTuple):
    """The tools offered to the model."""

    tools: list[dict[str, Any]]
    choice: dict[str, Any] | None

    @property
    def is_forced(self) -> bool:
        """Whether the model has to use a tool."""
        return self.choice is not None and self.choice["type"] in ("any", "tool")


#: The fields that speak of tools.
_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})
_NOTHING = Offer([], None)


def is_legacy(request: ChatRequest) -> bool:
    """Whether the client knows only ``functions``: it reads ``function_call``, which is one call at most."""
    return "functions" in request.fields and "tools" not in request.fields


def offer_of(request: ChatRequest, named_before: dict[str, None]) -> Offer:
    """Return the tools and the choice. Raises RequestShapeError.

    Args:
        request: the client's.
        named_before: the tools that the conversation used. A Messages upstream refuses calls and results in a request
            without tools; then these stand in, and may not be used again.
    """
    fields = request.fields
    if not named_before and _FIELDS.isdisjoint(fields):
        return _NOTHING
    tools = [_tool_of(tool, f"tools[{index}]") for index, tool in enumerate(shapes.TOOLS.read(fields) or ())]
    for index, function in enumerate(shapes.FUNCTIONS.read(fields) or ()):
        tools.append(_function_of(function, f"functions[{index}]", function.cache_control))
    names = {tool["name"] for tool in tools}
    if len(names) < len(tools):
        raise invalid("tools", "holds two tools of the same name.")
    choice = _choice_of(request, names)
    if not tools and named_before:
        return Offer([{"name": name, "input_schema": EMPTY_SCHEMA} for name in named_before], {"type": "none"})
    return Offer(tools, choice)


def checked_name(name: str, where: str) -> str:
    """Return the name of a tool. Raises RequestShapeError for one that no upstream takes."""
    if not _NAME.fullmatch(name):
        raise invalid(where, "must be 1 to 128 letters (a-z, A-Z), digits, underscores and hyphens.")
    return name


def _tool_of(tool: shapes.Tool, where: str) -> dict[str, Any]:
    if tool.type != "function":
        message = f'{where}.type must be "function": tools of type "{tool.type[:80]}" are not supported by this model.'
        raise RequestShapeError("unsupported_parameter", message, f"{where}.type")
    if tool.function is None:
        raise missing(f"{where}.function")
    return _function_of(tool.function, f"{where}.function", tool.cache_control or tool.function.cache_control)


def _function_of(function: Function, where: str, marker: CacheControl) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": checked_name(function.name, f"{where}.name")}
    if function.description:
        tool["description"] = function.description
    tool["input_schema"] = _schema_of(function.parameters, f"{where}.parameters")
    if function.strict:
        tool["strict"] = True
    if marker is not None:
        tool["cache_control"] = marker
    return tool


def _schema_of(parameters: dict[str, Raw] | None, where: str) -> dict[str, Any]:
    if not parameters:
        return EMPTY_SCHEMA
    kind = parameters.get("type")
    if kind is None:
        return {"type": _OBJECT, **parameters}
    if bytes(kind) != b'"object"':
        raise invalid(f"{where}.type", 'must be "object".')
    return parameters


def _choice_of(request: ChatRequest, names: set[Any]) -> dict[str, Any] | None:
    given = shapes.TOOL_CHOICE.read(request.fields)
    name, where = None, "tool_choice"
    if isinstance(given, Choice):
        if given.type != "function":
            message = f'tool_choice.type must be "function": "{given.type[:80]}" is not supported by this model.'
            raise RequestShapeError("unsupported_parameter", message, "tool_choice.type")
        if given.function is None:
            raise missing("tool_choice.function")
        name, given = given.function.name, None
    if given is None and name is None:
        older = shapes.FUNCTION_CALL.read(request.fields)
        if older is not None:
            where = "function_call"
            name, given = (None, older) if isinstance(older, str) else (older.name, None)
    if name is not None and name not in names:
        raise invalid(where, f'names the function "{name[:128]}", which is not among the tools.')
    choice = {"type": "tool", "name": name} if name is not None else _by_word(given, where)
    return _without_parallel(request, choice, names, where)


def _by_word(word: str | None, where: str) -> dict[str, Any] | None:
    if word is None:
        return None
    kinds = {"auto": "auto", "none": "none", "required": "any", "any": "any"}
    if word not in kinds:
        raise invalid(where, f'must be "auto", "none", "required" or a function, it is "{word[:40]}".')
    return {"type": kinds[word]}


def _without_parallel(
    request: ChatRequest, choice: dict[str, Any] | None, names: set[Any], where: str
) -> dict[str, Any] | None:
    """Return the choice with what ``parallel_tool_calls`` says; nothing where there are no tools."""
    one_at_a_time = shapes.PARALLEL_TOOL_CALLS.read(request.fields) is False or is_legacy(request)
    if not names:
        if choice is not None and choice["type"] == "any":
            raise invalid(where, "demands a tool, and there are no tools.")
        return None
    if one_at_a_time and (choice is None or choice["type"] != "none"):
        return {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice
