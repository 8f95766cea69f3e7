"""What the chat completions API refuses, as strictly as its strictest provider; each refusal in the provider's form."""

import re
from typing import Any

from tests.fakes.refusal import RefusedError, list_of, object_of, unknown_in
from tests.fakes.signing import is_ours

TOP = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "stop", "seed"),
        *("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "verbosity", "user"),
        *("metadata", "store", "service_tier", "prediction", "modalities", "audio", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention", "functions", "function_call"),
    }
)
#: What an aggregator (models whose name holds "router") reads beside it.
ROUTER_TOP = frozenset({"reasoning", "usage", "top_k", "min_p", "transforms"})
KEYS = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "tool_calls", "refusal", "audio", "function_call"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
PART_KEYS = {
    "text": frozenset({"type", "text"}),
    "image_url": frozenset({"type", "image_url"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "file": frozenset({"type", "file"}),
    "refusal": frozenset({"type", "refusal"}),
}
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
MAX_ID = 40


def check_chat(body: dict[str, Any]) -> None:
    """Raise RefusedError for a request that the provider would refuse."""
    router = "router" in str(body.get("model"))
    if found := unknown_in(body, TOP | ROUTER_TOP if router else TOP):
        raise RefusedError(400, f"Unknown parameter: '{found}'.", param=found, code="unknown_parameter")
    for name in ("model", "messages"):
        if name not in body:
            raise RefusedError(
                400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
            )
    _check_settings(body)
    _check_tools(body)
    _check_format(body.get("response_format"))
    messages = list_of(body["messages"], "messages")
    if not messages:
        raise RefusedError(400, "Invalid 'messages': empty array.", param="messages", code="empty_array")
    for number, message in enumerate(messages):
        _check_message(object_of(message, f"messages[{number}]"), f"messages[{number}]", router=router)
    _check_order(messages)


def _check_settings(body: dict[str, Any]) -> None:
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise RefusedError(
            400,
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
    ):
        value = body.get(name)
        if value is not None and not low <= value <= high:
            raise RefusedError(400, f"Invalid '{name}': out of range.", param=name, code="decimal_above_max_value")
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = body.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise RefusedError(
                400, f"Invalid '{name}': integer below minimum value.", param=name, code="integer_below_min_value"
            )
    options = body.get("stream_options")
    if options is not None and not body.get("stream"):
        raise RefusedError(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if options and (found := unknown_in(options, frozenset({"include_usage", "include_obfuscation"}))):
        raise RefusedError(
            400,
            f"Unknown parameter: 'stream_options.{found}'.",
            param=f"stream_options.{found}",
            code="unknown_parameter",
        )
    stop = body.get("stop")
    if isinstance(stop, list) and not 1 <= len(stop) <= 4:
        raise RefusedError(400, "Invalid 'stop': array too long.", param="stop", code="array_above_max_length")
    if body.get("reasoning_effort") not in (None, *EFFORTS):
        raise RefusedError(400, "Invalid value for 'reasoning_effort'.", param="reasoning_effort", code="invalid_value")


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None:
                raise RefusedError(400, f"'{name}' is only allowed when 'tools' are specified.", param=name)
        return
    if not list_of(tools, "tools"):
        raise RefusedError(400, "Invalid 'tools': empty array.", param="tools", code="empty_array")
    names = []
    for number, tool in enumerate(tools):
        path = f"tools[{number}]"
        if found := unknown_in(object_of(tool, path), frozenset({"type", "function"}), path=f"{path}."):
            raise RefusedError(400, f"Unknown parameter: '{found}'.", param=found, code="unknown_parameter")
        if tool.get("type") != "function":
            raise RefusedError(400, f"Invalid value: '{tool.get('type')}'.", param=f"{path}.type", code="invalid_value")
        function = object_of(tool.get("function"), f"{path}.function")
        if found := unknown_in(
            function, frozenset({"name", "description", "parameters", "strict"}), path=f"{path}.function."
        ):
            raise RefusedError(400, f"Unknown parameter: '{found}'.", param=found, code="unknown_parameter")
        if not NAME.match(str(function.get("name") or "")):
            raise RefusedError(
                400, f"Invalid '{path}.function.name'.", param=f"{path}.function.name", code="invalid_value"
            )
        if function.get("parameters", {"type": "object"}).get("type") != "object":
            raise RefusedError(
                400,
                f"Invalid schema for function '{function['name']}'.",
                param=f"{path}.function.parameters",
                code="invalid_function_parameters",
            )
        if function.get("strict"):
            check_strict_schema(function.get("parameters", {}), f"function '{function['name']}'")
        names.append(function["name"])
    _check_choice(body.get("tool_choice"), names)


def _check_choice(choice: Any, names: list[str]) -> None:
    if isinstance(choice, dict):
        if set(choice) != {"type", "function"} or choice["function"].get("name") not in names:
            raise RefusedError(400, "Tool choice does not name one of the tools.", param="tool_choice")
    elif choice not in (None, "none", "auto", "required"):
        raise RefusedError(400, f"Invalid value: '{choice}'.", param="tool_choice", code="invalid_value")


def check_strict_schema(schema: dict[str, Any], where: str) -> None:
    """Raise RefusedError for a schema that strict mode would not take."""
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise RefusedError(
                400,
                f"Invalid schema for {where}: 'additionalProperties' is required to be supplied and to be false.",
                code="invalid_json_schema",
            )
        if set(schema.get("required", [])) != set(schema.get("properties", {})):
            raise RefusedError(
                400,
                f"Invalid schema for {where}: 'required' must name every key in properties.",
                code="invalid_json_schema",
            )
    for inner in schema.get("properties", {}).values():
        check_strict_schema(inner, where)


def _check_format(shape: Any) -> None:
    if shape is None or shape.get("type") in ("text", "json_object"):
        return
    if shape.get("type") != "json_schema":
        raise RefusedError(
            400, "Invalid value for 'response_format.type'.", param="response_format.type", code="invalid_value"
        )
    inner = object_of(shape.get("json_schema"), "response_format.json_schema")
    if not NAME.match(str(inner.get("name") or "")):
        raise RefusedError(
            400,
            "Missing required parameter: 'response_format.json_schema.name'.",
            param="response_format.json_schema.name",
            code="missing_required_parameter",
        )
    if found := unknown_in(inner, frozenset({"name", "description", "schema", "strict"})):
        raise RefusedError(400, f"Unknown parameter: 'response_format.json_schema.{found}'.", code="unknown_parameter")
    if inner.get("strict"):
        check_strict_schema(inner.get("schema", {}), "response_format")


def _check_message(message: dict[str, Any], path: str, *, router: bool) -> None:
    role = message.get("role")
    if role not in KEYS:
        raise RefusedError(400, f"Invalid value: '{role}'.", param=f"{path}.role", code="invalid_value")
    more = frozenset({"reasoning_details", "cache_control"}) if router else frozenset()
    if found := unknown_in(message, KEYS[role] | more, path=f"{path}."):
        raise RefusedError(400, f"Unknown parameter: '{found}'.", param=found, code="unknown_parameter")
    content = message.get("content")
    if content is None and (role != "assistant" or not message.get("tool_calls")):
        raise RefusedError(400, "Invalid value for 'content': expected a string, got null.", param=f"{path}.content")
    if isinstance(content, list):
        if not content:
            raise RefusedError(
                400, f"Invalid '{path}.content': empty array.", param=f"{path}.content", code="empty_array"
            )
        for number, part in enumerate(content):
            _check_part(object_of(part, f"{path}.content[{number}]"), role, f"{path}.content[{number}]", router=router)
    for detail in message.get("reasoning_details") or []:
        if detail.get("type") == "reasoning.text" and not is_ours(detail.get("signature"), detail.get("text", "")):
            raise RefusedError(400, f"{path}: Invalid `signature` in `thinking` block")
        if detail.get("type") == "reasoning.encrypted" and not is_ours(detail.get("data"), "redacted"):
            raise RefusedError(400, f"{path}: Invalid `data` in `redacted_thinking` block")


def _check_part(part: dict[str, Any], role: str, path: str, *, router: bool) -> None:
    kind = part.get("type")
    allowed = PART_KEYS if role == "user" else {name: PART_KEYS[name] for name in ("text", "refusal")}
    if kind not in allowed:
        raise RefusedError(400, f"Invalid value: '{kind}'.", param=f"{path}.type", code="invalid_value")
    more = frozenset({"cache_control"}) if router else frozenset()
    if found := unknown_in(part, allowed[kind] | more, path=f"{path}."):
        raise RefusedError(400, f"Unknown parameter: '{found}'.", param=found, code="unknown_parameter")
    if kind == "text" and not isinstance(part.get("text"), str):
        raise RefusedError(400, f"Invalid type for '{path}.text'.", param=f"{path}.text", code="invalid_type")
    if kind == "image_url":
        url = object_of(part.get("image_url"), f"{path}.image_url").get("url", "")
        if not re.match(r"^(https?://|data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+=*$)", url):
            raise RefusedError(400, "Invalid image data.", param=f"{path}.image_url", code="invalid_image_format")


def _check_order(messages: list[dict[str, Any]]) -> None:
    open_ids: set[str] = set()
    seen: set[str] = set()
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            given = message.get("tool_call_id")
            if given not in open_ids:
                text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise RefusedError(400, text, param=f"messages.[{number}].role")
            open_ids.discard(given)
            continue
        if open_ids:
            text = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
            missing = ", ".join(sorted(open_ids))
            raise RefusedError(
                400,
                f"{text} The following tool_call_ids did not have response messages: {missing}",
                param=f"messages.[{number}].role",
            )
        for place, call in enumerate(message.get("tool_calls") or []):
            _check_call(call, f"messages[{number}].tool_calls[{place}]", seen)
            open_ids.add(call["id"])
    if open_ids:
        raise RefusedError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
            param="messages",
        )


def _check_call(call: Any, path: str, seen: set[str]) -> None:
    if set(object_of(call, path)) != {"id", "type", "function"} or set(call["function"]) != {"name", "arguments"}:
        raise RefusedError(400, f"Invalid '{path}'.", param=path, code="invalid_value")
    if not isinstance(call["function"]["arguments"], str):
        raise RefusedError(400, f"Invalid type for '{path}.function.arguments'.", param=path, code="invalid_type")
    if not 1 <= len(call["id"]) <= MAX_ID:
        raise RefusedError(
            400,
            f"Invalid '{path}.id': string too long. Expected a string with maximum length {MAX_ID}.",
            param=f"{path}.id",
            code="string_above_max_length",
        )
    if call["id"] in seen:
        raise RefusedError(
            400, f"Duplicate value for '{path}.id': '{call['id']}'.", param=f"{path}.id", code="duplicate_value"
        )
    seen.add(call["id"])
