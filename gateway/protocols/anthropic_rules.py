"""What a Messages request may not hold, and in which words its sender hears of it.

Refused are bodies that the protocol does not allow, fields and tools by which an upstream does work that was not priced here,
and requests that are plainly written for chat completions: the message says where those go.
"""

import re
from typing import Protocol

from msgspec import Raw

from gateway.protocols.anthropic_content import Block, Message, Thinking, Tool, ToolChoice, is_given
from gateway.protocols.anthropic_thinking import EFFORTS, MIN_BUDGET
from gateway.protocols.body import check_model_name, check_names
from gateway.protocols.wording import RequestShapeError

MAX_QUOTED = 40
ROLES = frozenset({"user", "assistant", "system"})
TOOL_CHOICES = frozenset({"auto", "any", "tool", "none"})
#: Tools that the provider defines and the client runs; all others of a named type run, and are billed, at the provider.
_CLIENT_TOOL = re.compile(r"(?:bash|text_editor|computer|memory|computer_toolset|browser_toolset)_\d{8}")
#: Fields by which some upstreams take another model, more output or paid extras than what was priced here, with the values
#: that do no harm: dearer tiers, places and speeds, code containers, remote tools, other models as a fallback, threads that
#: hold input we do not see, summaries by the model beside the answer; then those of servers that speak this protocol too.
_UNPRICED: dict[str, tuple[bytes, ...]] = {
    **dict.fromkeys(("container", "mcp_servers", "thread", "compaction"), (b"null",)),
    **dict.fromkeys(("fallbacks", "fallback_credit_token", "user_profile_id", "workspace_id"), (b"null",)),
    **dict.fromkeys(("models", "route", "provider", "plugins"), (b"null",)),
    **dict.fromkeys(("n_predict", "best_of", "use_beam_search", "max_completion_tokens"), (b"null",)),
    "n": (b"null", b"1"),
    "service_tier": (b"null", b'"auto"', b'"standard_only"'),
    "speed": (b"null", b'"standard"'),
    "inference_geo": (b"null", b'"global"'),
}
#: A summary written by the model is a request of its own, billed beside the answer.
_COMPACTION = b'"compact'
#: What a block of each type must have.
_NEEDED = {
    "text": ("text",),
    "image": ("source",),
    "document": ("source",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
    "thinking": ("thinking",),
    "redacted_thinking": ("data",),
}
_SOURCE_NEEDS = {"base64": ("media_type", "data"), "url": ("url",), "file": ("file_id",), "content": ("content",)}
#: Parts of chat completions.
_CHAT_PARTS = {
    "image_url": 'an image is {"type": "image", "source": …} here',
    "input_audio": "",
    "file": "",
    "refusal": "",
}
_ELSEWHERE = "Requests of the chat completions protocol go to /chat/completions."


class Checked(Protocol):
    """What is checked of a decoded request."""

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[Block] | None
    tools: list[Tool] | None
    tool_choice: ToolChoice | None
    thinking: Thinking | None
    reasoning_effort: str | None


def check_fields(fields: dict[str, Raw], read: frozenset[str]) -> None:
    """Refuse fields by which the upstream would serve another request than the one that is priced. Raises RequestShapeError."""
    limit = fields.get("max_completion_tokens")
    if limit is not None and is_given(limit):
        message = f"max_completion_tokens is called max_tokens here. {_ELSEWHERE}"
        raise RequestShapeError("unsupported_parameter", message, "max_completion_tokens")
    check_names(fields, read=read, unpriced=_UNPRICED)
    edits = fields.get("context_management")
    if edits is not None and _COMPACTION in bytes(edits):
        message = "context_management: compaction is not supported. Leave this edit out; the others are kept."
        raise RequestShapeError("unsupported_parameter", message, "context_management")


def check_values(view: Checked) -> None:
    """Check what types alone do not say. Raises RequestShapeError."""
    check_model_name(view.model)
    if view.max_tokens < 1:
        raise _invalid(f"max_tokens must be at least 1, it is {view.max_tokens}.", "max_tokens")
    if not view.messages:
        raise _invalid("messages must hold at least one message.", "messages")
    if isinstance(view.system, list):
        for index, block in enumerate(view.system):
            if block.type != "text":
                raise _invalid(
                    f'system[{index}].type must be "text", it is {_quoted(block.type)}.', f"system[{index}].type"
                )
        _check_blocks(view.system, "system")
    for index, message in enumerate(view.messages):
        if type(message.content) is str and message.role in ROLES and not message.tool_calls:
            continue  # the plainest, and most
        _check_message(message, f"messages[{index}]")
    for index, tool in enumerate(view.tools or ()):
        _check_tool(tool, f"tools[{index}]")
    if view.tool_choice is not None:
        _check_choice(view.tool_choice)
    _check_reasoning(view)


def _check_reasoning(view: Checked) -> None:
    if view.thinking is not None:
        _check_thinking(view.thinking, view.max_tokens)
    effort = view.reasoning_effort
    if effort is not None and effort not in EFFORTS:
        names = ", ".join(f'"{name}"' for name in EFFORTS)
        raise _invalid(f"reasoning_effort must be one of {names}, it is {_quoted(effort)}.", "reasoning_effort")
    if effort is not None and view.thinking is not None:
        raise _invalid("thinking and reasoning_effort both say how to think: send only one of them.", "thinking")


def _check_message(message: Message, path: str) -> None:
    if message.role not in ROLES:
        wanted = '"user", "assistant" or "system"'
        hint = f" {_ELSEWHERE}" if message.role in {"tool", "function", "developer"} else ""
        raise _invalid(f"{path}.role must be {wanted}, it is {_quoted(message.role)}.{hint}", f"{path}.role")
    for name in ("tool_calls", "tool_call_id"):
        if is_given(getattr(message, name)):
            raise _invalid(f"{path}.{name} is not a part of this protocol. {_ELSEWHERE}", f"{path}.{name}")
    if message.content is None:
        raise RequestShapeError("missing_parameter", f"{path}.content is missing.", f"{path}.content")
    if not isinstance(message.content, str):
        _check_blocks(message.content, f"{path}.content")


def _check_blocks(blocks: list[Block], path: str) -> None:
    for index, block in enumerate(blocks):
        kind = block.type
        # Nearly all blocks are text: no path is written for them.
        if kind == "text" and block.text is not None:
            continue
        at = f"{path}[{index}]"
        if kind in _CHAT_PARTS:
            hint = f": {_CHAT_PARTS[kind]}" if _CHAT_PARTS[kind] else ""
            message = f'{at}: "{kind}" is not a part of this protocol{hint}. {_ELSEWHERE}'
            raise RequestShapeError("unsupported_content", message, f"{at}.type")
        _check_needed(block, _NEEDED.get(kind, ()), at)
        if kind in {"image", "document"}:
            _check_source(block, at)
        if kind == "tool_result" and isinstance(block.content, list):
            _check_blocks(block.content, f"{at}.content")


def _check_source(block: Block, at: str) -> None:
    source = block.source
    if source is None or isinstance(source, str):
        raise _invalid(f"{at}.source must be an object, it is a string.", f"{at}.source")
    _check_needed(source, _SOURCE_NEEDS.get(source.type, ()), f"{at}.source")
    if isinstance(source.content, list):
        _check_blocks(source.content, f"{at}.source.content")


def _check_needed(value: object, names: tuple[str, ...], at: str) -> None:
    for name in names:
        field = getattr(value, name)
        if field is None or (isinstance(field, Raw) and not is_given(field)):
            raise RequestShapeError("missing_parameter", f"{at}.{name} is missing.", f"{at}.{name}")


def _check_tool(tool: Tool, path: str) -> None:
    if tool.is_custom:
        _check_needed(tool, ("name", "input_schema"), path)
    elif tool.type == "function":
        message = f'{path}: a tool is {{"name": …, "input_schema": …}} here. {_ELSEWHERE}'
        raise RequestShapeError("unsupported_content", message, f"{path}.type")
    elif not _CLIENT_TOOL.fullmatch(tool.type or ""):
        message = (
            f"{path}: tools of type {_quoted(tool.type or '')} run at the provider and are not supported. Leave it out."
        )
        raise RequestShapeError("unsupported_content", message, f"{path}.type")


def _check_choice(choice: ToolChoice) -> None:
    if choice.type not in TOOL_CHOICES:
        raise _invalid(
            f'tool_choice.type must be "auto", "any", "tool" or "none", it is {_quoted(choice.type)}.',
            "tool_choice.type",
        )
    if choice.type == "tool":
        _check_needed(choice, ("name",), "tool_choice")


def _check_thinking(thinking: Thinking, max_tokens: int) -> None:
    budget = thinking.budget_tokens
    if budget is None:
        if thinking.type == "enabled":
            _check_needed(thinking, ("budget_tokens",), "thinking")
        return
    name = "thinking.budget_tokens"
    if budget < MIN_BUDGET:
        raise _invalid(f"{name} must be at least {MIN_BUDGET}, it is {budget}.", name)
    if budget >= max_tokens:
        raise _invalid(f"{name} must be less than max_tokens ({max_tokens}), it is {budget}.", name)


def _invalid(message: str, param: str) -> RequestShapeError:
    return RequestShapeError("invalid_parameter", message, param)


def _quoted(text: str) -> str:
    """Return a client's own word as it may stand in a message and in a log: short, and in one line."""
    word = "".join(letter if letter.isprintable() else " " for letter in text[:MAX_QUOTED])
    return f'"{word}"' if len(text) <= MAX_QUOTED else f'"{word}…"'
