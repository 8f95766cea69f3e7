"""Tools and the choice between them, as chat completions says it."""

from hashlib import sha256
from typing import Any

import msgspec

from gateway.protocols.anthropic_content import Tool, ToolChoice, is_given
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.wording import RequestShapeError
from gateway.translate.messages_over_chat.parts import unsupported

#: The longest id of a call that OpenAI takes.
MAX_CALL_ID = 40
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def tool_fields(request: MessagesRequest, *, keep_cache: bool) -> dict[str, Any]:
    """Return ``tools``, ``tool_choice`` and ``parallel_tool_calls``. Raises RequestShapeError for tools without a schema."""
    choice = request.tool_choice
    if not request.tools:
        if choice is not None and choice.is_forced:
            message = "tool_choice forces a tool, but there are no tools: send tools, or leave tool_choice out."
            raise RequestShapeError("invalid_parameter", message, "tool_choice")
        return {}
    tools = [_function(tool, f"tools[{index}]", keep_cache) for index, tool in enumerate(request.tools)]
    fields: dict[str, Any] = {"tools": tools}
    if choice is not None:
        fields["tool_choice"] = _choice(choice, request.tools)
        if choice.disable_parallel_tool_use:
            fields["parallel_tool_calls"] = False
    return fields


def call_id(given: str) -> str:
    """Return the id of a call as every upstream takes it: a call and its result get the same one."""
    return given if len(given) <= MAX_CALL_ID else f"call_{sha256(given.encode()).hexdigest()[:32]}"


def _function(tool: Tool, path: str, keep_cache: bool) -> dict[str, Any]:
    if not tool.is_custom or not is_given(tool.input_schema):
        problem = f'a tool of type "{tool.type}" has no schema, and this model\'s upstream knows only tools with one'
        raise unsupported(path, problem, 'Describe it as {"name": …, "description": …, "input_schema": …}.')
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    described: dict[str, Any] = {"type": "function", "function": function}
    if keep_cache and is_given(tool.cache_control):
        described["cache_control"] = tool.cache_control
    return described


def _choice(choice: ToolChoice, tools: list[Tool]) -> str | dict[str, Any]:
    if choice.type != "tool":
        return _CHOICES[choice.type]
    if choice.name not in {tool.name for tool in tools}:
        message = f'tool_choice.name is "{choice.name}", but none of the tools has this name.'
        raise RequestShapeError("invalid_parameter", message, "tool_choice.name")
    return {"type": "function", "function": {"name": choice.name}}


def arguments_of(given: msgspec.Raw) -> str:
    """Return a tool's input as the arguments of a call: the same JSON, without spaces, in a string."""
    return msgspec.json.format(bytes(given), indent=-1).decode() if given else "{}"
