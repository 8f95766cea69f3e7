"""Turns of a Messages conversation as chat messages: results of tools come right after their calls, then the user's words.

Turns of one side that follow each other are one turn in Messages, and become one message. Every call needs its result in the
turn after it, and every result its call: both protocols demand it, and a request that breaks it is refused here, by name.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from gateway.protocols.anthropic_content import Block, Message, is_given
from gateway.protocols.wording import RequestShapeError
from gateway.translate.messages_over_chat.parts import (
    BETWEEN,
    Part,
    content_of,
    parts_of,
    parts_of_block,
    text_part,
    unsupported,
)
from gateway.translate.messages_over_chat.reasoning import thought_fields
from gateway.translate.messages_over_chat.tools import arguments_of, call_id
from gateway.types import Profile

_BELOW = {"image_url": "[image below]", "file": "[document below]"}


class _Placed(NamedTuple):
    path: str
    block: Block


def chat_messages(
    system: str | list[Block] | None, messages: list[Message], profile: Profile, *, instruction: str = ""
) -> list[dict[str, Any]]:
    """Return the messages for a chat upstream; ``instruction`` is added to the system's. Raises RequestShapeError."""
    keep_cache = profile.takes_reasoning_details
    out: list[dict[str, Any]] = []
    if isinstance(system, str) and not instruction:
        if system:
            out.append({"role": "system", "content": system})
    elif system or instruction:
        parts = parts_of(system, "system", keep_cache=keep_cache) if system else []
        parts += [text_part(instruction)] if instruction else []
        out.append({"role": "system", "content": content_of(parts)})
    if _is_plain(messages):
        return out + [{"role": message.role, "content": message.content} for message in messages]
    open_calls: dict[str, str] = {}
    numbered = enumerate(messages)
    for is_assistant, run in groupby(numbered, key=lambda item: item[1].role == "assistant"):
        if is_assistant:
            said, open_calls = _assistant_message(list(run), profile)
            out.append(said)
        else:
            turn = _UserTurn(open_calls, keep_cache)
            for index, message in run:
                turn.add(message, f"messages[{index}].content")
            out += turn.messages()
            open_calls = {}
    _check_answered(open_calls)
    return out


def _is_plain(messages: list[Message]) -> bool:
    """Whether the messages are texts of alternating sides, and can stay as they are."""
    before = ""
    for message in messages:
        if not isinstance(message.content, str) or message.role == before:
            return False
        before = message.role
    return True


def _blocks_of(run: list[tuple[int, Message]]) -> Iterator[_Placed]:
    for index, message in run:
        content = message.content or ""
        blocks = [Block("text", text=content)] if isinstance(content, str) else content
        for position, block in enumerate(blocks):
            yield _Placed(f"messages[{index}].content[{position}]", block)


def _assistant_message(run: list[tuple[int, Message]], profile: Profile) -> tuple[dict[str, Any], dict[str, str]]:
    """Return an assistant's message, and the ids of its calls with their paths."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    thinking: list[tuple[str, Block]] = []
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for path, block in _blocks_of(run):
        if block.type == "text":
            texts.append(block.text or "")
        elif block.type == "tool_use":
            name = block.id or ""
            if name in ids:
                raise _invalid(f'{path}: the id "{name}" is that of another tool use in this turn.', f"{path}.id")
            ids[name] = path
            function = {"name": block.name, "arguments": arguments_of(block.input)}
            calls.append({"id": call_id(name), "type": "function", "function": function})
        elif block.type in {"thinking", "redacted_thinking"}:
            thinking.append((path, block))
        else:
            problem = f"this model's upstream cannot be sent an assistant's block of type \"{block.type}\""
            raise unsupported(path, problem, "Leave the block out.")
        if profile.takes_reasoning_details and is_given(block.cache_control):
            message["cache_control"] = block.cache_control
    # Texts of one answer may have been parted in the middle of a sentence, so nothing comes between them.
    if texts or not calls:
        message["content"] = "".join(texts)
    if thinking:
        message |= thought_fields(thinking, profile)
    if calls:
        message["tool_calls"] = calls
    return message, ids


class _UserTurn:
    """All that stands between two turns of the assistant, brought into the order that chat completions demands."""

    def __init__(self, open_calls: dict[str, str], keep_cache: bool) -> None:
        self._open_calls = dict(open_calls)
        self._answered: set[str] = set()
        self._keep_cache = keep_cache
        self._results: list[dict[str, Any]] = []
        #: What tool messages cannot hold.
        self._media: list[Part] = []
        self._rest: list[tuple[str, list[Part]]] = []

    def add(self, message: Message, path: str) -> None:
        """Add a user's or a system's message."""
        content = message.content or ""
        role = message.role
        if isinstance(content, str):
            self._say(role, [text_part(content)])
            return
        for position, block in enumerate(content):
            at = f"{path}[{position}]"
            if role == "system" and block.type != "text":
                raise unsupported(
                    at,
                    f'a system message cannot hold blocks of type "{block.type}"',
                    "Put the block into a user message.",
                )
            if block.type == "tool_result":
                self._answer(block, at)
            else:
                self._say(role, parts_of_block(block, at, keep_cache=self._keep_cache))

    def messages(self) -> list[dict[str, Any]]:
        """Return the turn: results, what belongs to them, the rest. Raises RequestShapeError for calls without a result."""
        _check_answered(self._open_calls)
        if self._media:
            if self._rest and self._rest[0][0] == "user":
                self._rest[0] = ("user", self._media + self._rest[0][1])
            else:
                self._rest.insert(0, ("user", self._media))
        said = [{"role": role, "content": content_of(parts)} for role, parts in self._rest]
        return self._results + said

    def _say(self, role: str, parts: list[Part]) -> None:
        if self._rest and self._rest[-1][0] == role:
            self._rest[-1][1].extend(parts)
        else:
            self._rest.append((role, parts))

    def _answer(self, block: Block, path: str) -> None:
        given = block.tool_use_id or ""
        if given in self._answered:
            raise _invalid(f'{path}: the tool use "{given}" has a result already.', f"{path}.tool_use_id")
        if self._open_calls.pop(given, None) is None:
            problem = f'the turn before has no tool use "{given}"'
            raise _invalid(f"{path}: {problem}. A result follows its tool use at once.", f"{path}.tool_use_id")
        self._answered.add(given)
        content = [block.content] if isinstance(block.content, Block) else block.content or []
        parts = parts_of(content, f"{path}.content", keep_cache=False) if content else []
        text = BETWEEN.join([part["text"] if part["type"] == "text" else _BELOW[part["type"]] for part in parts])
        if block.is_error and not text.startswith("Error"):
            text = f"Error: {text}" if text else "Error"
        result: dict[str, Any] = {"role": "tool", "tool_call_id": call_id(given), "content": text}
        if self._keep_cache and is_given(block.cache_control):
            result["cache_control"] = block.cache_control
        self._results.append(result)
        media = [part for part in parts if part["type"] != "text"]
        if media:
            self._media += [text_part(f"From the result of {call_id(given)}:"), *media]


def _check_answered(open_calls: dict[str, str]) -> None:
    for name, path in open_calls.items():
        raise _invalid(f'{path}: the tool use "{name}" has no tool_result in the turn after it.', path)


def _invalid(message: str, param: str) -> RequestShapeError:
    return RequestShapeError("invalid_parameter", message, param)
