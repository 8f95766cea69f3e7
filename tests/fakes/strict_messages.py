"""What the Messages API refuses, as strictly as its provider; each refusal in the provider's form."""

import re
from typing import Any

from tests.fakes.refusal import RefusedError, list_of, object_of, unknown_in
from tests.fakes.signing import is_ours

COUNTED = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"}
)
TOP = COUNTED | frozenset(
    {
        *("max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier"),
        *("container", "inference_geo"),
    }
)
CACHE = frozenset({"cache_control"})
BLOCK_KEYS = {
    "text": frozenset({"type", "text", "citations"}) | CACHE,
    "image": frozenset({"type", "source"}) | CACHE,
    "document": frozenset({"type", "source", "title", "context", "citations"}) | CACHE,
    "tool_use": frozenset({"type", "id", "name", "input", "caller"}) | CACHE,
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error"}) | CACHE,
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}
ALLOWED = {
    "user": ("text", "image", "document", "tool_result"),
    "assistant": ("text", "tool_use", "thinking", "redacted_thinking"),
}
IN_RESULTS = ("text", "image", "document")
TOOL_KEYS = (
    frozenset({"type", "name", "description", "input_schema", "strict", "input_examples", "eager_input_streaming"})
    | CACHE
)
NAME, ID = re.compile(r"^[a-zA-Z0-9_-]{1,128}$"), re.compile(r"^[a-zA-Z0-9_-]+$")
CHOICES = {
    "auto": {"type", "disable_parallel_tool_use"},
    "any": {"type", "disable_parallel_tool_use"},
    "none": {"type"},
}
CHOICES["tool"] = {"type", "name", "disable_parallel_tool_use"}
MIN_BUDGET, MAX_MARKS = 1024, 4


def check_messages(body: dict[str, Any], *, counting: bool = False) -> None:
    """Raise RefusedError for a request that the provider would refuse; ``counting``: of the endpoint that counts tokens."""
    if found := unknown_in(body, COUNTED if counting else TOP):
        raise RefusedError(400, f"{found}: Extra inputs are not permitted")
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if name not in body:
            raise RefusedError(400, f"{name}: Field required")
    if not counting and (type(body["max_tokens"]) is not int or body["max_tokens"] < 1):
        raise RefusedError(400, "max_tokens: Input should be greater than or equal to 1")
    _check_settings(body)
    _check_system(body.get("system"))
    _check_tools(body)
    _check_thinking(body, counting=counting)
    turns = _turns_of(list_of(body["messages"], "messages"))
    _check_ids(turns)
    if thinks(body):
        _check_begins_with_thinking(turns)
    if (marks := _count_marks(body)) > MAX_MARKS:
        raise RefusedError(400, f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {marks}.")


def thinks(body: dict[str, Any]) -> bool:
    """Return whether the request turns thinking on."""
    return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def _check_settings(body: dict[str, Any]) -> None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if name in body and (not isinstance(value, int | float) or not 0 <= value <= 1):
            raise RefusedError(400, f"{name}: range: 0..1")
    for stop in body.get("stop_sequences") or []:
        if not isinstance(stop, str) or not stop.strip():
            raise RefusedError(400, "stop_sequences: each stop sequence must contain non-whitespace")
    if found := unknown_in(body.get("metadata") or {}, frozenset({"user_id"})):
        raise RefusedError(400, f"metadata.{found}: Extra inputs are not permitted")
    config = body.get("output_config") or {}
    if found := unknown_in(config, frozenset({"effort", "format"})):
        raise RefusedError(400, f"output_config.{found}: Extra inputs are not permitted")
    if config.get("effort") not in (None, "low", "medium", "high", "xhigh", "max"):
        raise RefusedError(400, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    shape = config.get("format")
    if shape is not None:
        if set(shape) != {"type", "schema"} or shape["type"] != "json_schema":
            raise RefusedError(400, "output_config.format: Input should be a json_schema with its schema")
        _check_closed(shape["schema"])


def _check_closed(schema: dict[str, Any]) -> None:
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        text = "For 'object' type, 'additionalProperties' must be explicitly set to false"
        raise RefusedError(400, f"output_config.format.schema: {text}")
    for inner in schema.get("properties", {}).values():
        _check_closed(inner)


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    for number, block in enumerate(list_of(system, "system")):
        if object_of(block, f"system.{number}").get("type") != "text":
            raise RefusedError(400, f"system.{number}.type: Input should be 'text'")
        _check_block(block, ("text",), f"system.{number}")


def _check_tools(body: dict[str, Any]) -> None:
    names = []
    for number, tool in enumerate(body.get("tools") or []):
        path = f"tools.{number}.custom"
        if found := unknown_in(object_of(tool, path), TOOL_KEYS):
            raise RefusedError(400, f"{path}.{found}: Extra inputs are not permitted")
        if not NAME.match(str(tool.get("name") or "")):
            raise RefusedError(400, f"{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if object_of(tool.get("input_schema"), f"{path}.input_schema").get("type") != "object":
            raise RefusedError(400, f"{path}.input_schema.type: Field required")
        names.append(tool["name"])
    if len(set(names)) < len(names):
        raise RefusedError(400, "tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not names:
        raise RefusedError(400, "tool_choice may only be specified while providing tools.")
    kind = object_of(choice, "tool_choice").get("type")
    if kind not in CHOICES or unknown_in(choice, frozenset(CHOICES[kind])):
        raise RefusedError(400, "tool_choice: Input does not match any of the expected tags")
    if kind == "tool" and choice.get("name") not in names:
        raise RefusedError(400, f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in ("any", "tool") and thinks(body):
        raise RefusedError(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_thinking(body: dict[str, Any], *, counting: bool) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = object_of(thinking, "thinking").get("type")
    known = {"enabled": {"type", "budget_tokens", "display"}, "adaptive": {"type", "display"}, "disabled": {"type"}}
    if kind not in known or unknown_in(thinking, frozenset(known[kind])):
        raise RefusedError(400, "thinking: Input does not match any of the expected tags")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if type(budget) is not int or budget < MIN_BUDGET:
            raise RefusedError(400, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if not counting and budget >= body["max_tokens"]:
            raise RefusedError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind == "disabled":
        return
    if body.get("temperature") not in (None, 1):
        raise RefusedError(400, "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")
    if body.get("top_k") is not None:
        raise RefusedError(400, "`top_k` must be unset when thinking is enabled or in adaptive mode.")
    if (body.get("top_p") or 1) < 0.95:
        raise RefusedError(400, "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")


def _turns_of(messages: list[Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the turns as the provider sees them: each message checked, neighbours of one role put together."""
    if not messages:
        raise RefusedError(400, "messages: at least one message is required")
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for number, message in enumerate(messages):
        path = f"messages.{number}"
        role = object_of(message, path).get("role")
        if role not in ALLOWED:
            raise RefusedError(
                400, f'messages: Unexpected role "{role}". The Messages API accepts a top-level `system` parameter.'
            )
        if found := unknown_in(message, frozenset({"role", "content"})):
            raise RefusedError(400, f"{path}.{found}: Extra inputs are not permitted")
        content = message.get("content")
        blocks = (
            [{"type": "text", "text": content}] if isinstance(content, str) else list_of(content, f"{path}.content")
        )
        if not blocks or content == "":
            raise RefusedError(
                400, f"{path}: all messages must have non-empty content except for the optional final assistant message"
            )
        for place, block in enumerate(blocks):
            _check_block(object_of(block, f"{path}.content.{place}"), ALLOWED[role], f"{path}.content.{place}")
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, list(blocks)))
    if turns[0][0] != "user":
        raise RefusedError(400, 'messages: first message must use the "user" role')
    if turns[-1][0] == "assistant" and str(turns[-1][1][-1].get("text", "")).endswith((" ", "\n")):
        raise RefusedError(400, "messages: final assistant content cannot end with trailing whitespace")
    return turns


def _check_block(block: dict[str, Any], allowed: tuple[str, ...], path: str) -> None:
    kind = block.get("type")
    if kind not in allowed:
        raise RefusedError(
            400, f"{path}.type: Input tag '{kind}' found using 'type' does not match any of the expected tags"
        )
    if found := unknown_in(block, BLOCK_KEYS[kind]):
        raise RefusedError(400, f"{path}.{kind}.{found}: Extra inputs are not permitted")
    if "cache_control" in block and (block["cache_control"] or {}).get("type") != "ephemeral":
        raise RefusedError(400, f"{path}.{kind}.cache_control: Input should be 'ephemeral'")
    if kind == "text" and not str(block.get("text", "")).strip():
        word = "non-whitespace text" if block.get("text") else "non-empty"
        raise RefusedError(400, f"messages: text content blocks must {'contain' if block.get('text') else 'be'} {word}")
    match kind:
        case "image":
            _check_image(object_of(block.get("source"), f"{path}.image.source"), path)
        case "thinking" | "redacted_thinking":
            _check_signed(block, path)
        case "tool_use":
            _check_tool_use(block, path)
        case "tool_result":
            content = block.get("content", "")
            for place, inner in enumerate(content if isinstance(content, list) else []):
                _check_block(
                    object_of(inner, f"{path}.content.{place}"), IN_RESULTS, f"{path}.tool_result.content.{place}"
                )


def _check_signed(block: dict[str, Any], path: str) -> None:
    if block["type"] == "thinking" and not is_ours(block.get("signature"), block.get("thinking", "")):
        raise RefusedError(400, f"{path}: Invalid `signature` in `thinking` block")
    if block["type"] == "redacted_thinking" and not is_ours(block.get("data"), "redacted"):
        raise RefusedError(400, f"{path}: Invalid `data` in `redacted_thinking` block")


def _check_tool_use(block: dict[str, Any], path: str) -> None:
    if not ID.match(str(block.get("id") or "")) or not NAME.match(str(block.get("name") or "")):
        raise RefusedError(400, f"{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("input"), dict):
        raise RefusedError(400, f"{path}.tool_use.input: Input should be a valid dictionary")


def _check_image(source: dict[str, Any], path: str) -> None:
    kinds = {"base64": {"type", "media_type", "data"}, "url": {"type", "url"}, "file": {"type", "file_id"}}
    if source.get("type") not in kinds or set(source) != kinds[source["type"]]:
        raise RefusedError(400, f"{path}.image.source: Input does not match any of the expected tags")
    if source["type"] == "base64":
        if source["media_type"] not in ("image/jpeg", "image/png", "image/gif", "image/webp"):
            raise RefusedError(
                400,
                f"{path}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
            )
        if not re.match(r"^[A-Za-z0-9+/]+=*$", source["data"]):
            raise RefusedError(400, f"{path}.image.source.base64.data: invalid base64 data")
    if source["type"] == "url" and not source["url"].startswith("https://"):
        raise RefusedError(400, f"{path}.image.source.url: Only HTTPS URLs are supported")


def _check_ids(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    seen: set[str] = set()
    waiting: list[str] = []
    for number, (role, blocks) in enumerate(turns):
        path = f"messages.{number}"
        if role == "assistant":
            waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
            if len({*waiting}) < len(waiting) or seen & {*waiting}:
                raise RefusedError(400, f"{path}: `tool_use` ids must be unique")
            seen |= {*waiting}
            continue
        answered = [block.get("tool_use_id") for block in blocks if block["type"] == "tool_result"]
        for given in answered:
            if given not in waiting:
                raise RefusedError(
                    400, f"{path}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {given}."
                )
        if len({*answered}) < len(answered):
            raise RefusedError(
                400, f"{path}: each tool_use must have a single result. Found multiple `tool_result` blocks."
            )
        first = [block.get("tool_use_id") for block in blocks[: len(waiting)] if block["type"] == "tool_result"]
        if missing := [one for one in waiting if one not in first]:
            text = "`tool_use` ids were found without `tool_result` blocks immediately after"
            raise RefusedError(400, f"messages.{number - 1}: {text}: {', '.join(missing)}.")
        waiting = []
    if waiting:
        raise RefusedError(400, "messages: `tool_use` ids were found without `tool_result` blocks immediately after.")


def _check_begins_with_thinking(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """A turn that goes on after tool results must still hold the thinking that led to its calls."""
    if turns[-1][0] != "user" or not any(block["type"] == "tool_result" for block in turns[-1][1]) or len(turns) < 2:
        return
    start = len(turns) - 2
    while start >= 2 and all(block["type"] == "tool_result" for block in turns[start - 1][1]):
        start -= 2
    kind = turns[start][1][0]["type"]
    if kind not in ("thinking", "redacted_thinking"):
        text = (
            f"Expected `thinking` or `redacted_thinking`, but found `{kind}`. With thinking, a turn must start with it"
        )
        raise RefusedError(400, f"messages.{start}.content.0.type: {text}")


def _count_marks(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_count_marks(inner) for inner in value.values()) + bool(value.get("cache_control"))
    return sum(_count_marks(inner) for inner in value) if isinstance(value, list) else 0
