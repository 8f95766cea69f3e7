"""The messages of a chat request as the turns of a Messages one.

Messages of the roles ``system`` and ``developer`` become blocks of ``system``, also those that stand later: their order among
themselves is kept. Messages of one side that follow each other become one turn. The results of a turn's tool calls stand
first in the turn that answers it, wherever the client put them in it.
"""

from hashlib import blake2b
from re import compile as pattern
from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.jsoncheck import InvalidJsonError, check_json
from gateway.protocols.wording import RequestShapeError
from gateway.translate.chat_over_messages.content import Block, blocks_of, mark_last, text_blocks
from gateway.translate.chat_over_messages.reasoning import thinking_blocks
from gateway.translate.chat_over_messages.shapes import (
    ChatMessage,
    FunctionCall,
    ToolCall,
    invalid,
    missing,
    unsupported,
)
from gateway.translate.chat_over_messages.tools import checked_name

_CALL_ID = pattern(r"[a-zA-Z0-9_-]+")
_THINKING = ("thinking", "redacted_thinking")
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


class Turn:
    """What one side says at once."""

    __slots__ = ("content", "results", "role")

    def __init__(self, role: str) -> None:
        self.role = role
        self.content: list[Block] = []
        #: Tool results at the head of the content.
        self.results = 0


class Conversation:
    """Takes messages and makes turns of them."""

    def __init__(self) -> None:
        self.system: list[Block] = []
        self.turns: list[Turn] = []
        #: The tools that were used, in order.
        self.tool_names: dict[str, None] = {}
        #: Calls that wait for their result: the client's id, or the function's name in the older form, to the upstream's id.
        self._open: dict[str, str] = {}
        self._ids: set[str] = set()
        self._where_asked = ""

    @property
    def ends_with_assistant(self) -> bool:
        """Whether the client began the answer itself."""
        return bool(self.turns) and self.turns[-1].role == "assistant"

    @property
    def is_mid_turn_unthought(self) -> bool:
        """Whether the model is to go on after tool results, and its turn did not begin with thinking."""
        first = None
        for turn in reversed(self.turns):
            if turn.role == "assistant":
                first = turn
            elif not turn.results:
                break
        last = self.turns[-1]
        return first is not None and last.results > 0 and first.content[0]["type"] not in _THINKING

    def add(self, message: ChatMessage, where: str) -> None:
        """Take the next message. Raises RequestShapeError."""
        role = message.role
        if role == "user":
            self._say("user", blocks_of(message.content, where), message)
        elif role == "assistant":
            self._check_answered()
            self._say("assistant", self._answer_of(message, where), message)
        elif role == "tool":
            if not message.tool_call_id:
                raise missing(f"{where}.tool_call_id")
            self._add_result(message.tool_call_id, message, where)
        elif role in ("system", "developer"):
            blocks = text_blocks(message.content, where)
            mark_last(blocks, message.cache_control)
            self.system += blocks
        elif role == "function":
            if not message.name:
                raise missing(f"{where}.name")
            self._add_result(f"function:{message.name}", message, where)
        else:
            known = '"system", "developer", "user", "assistant" or "tool"'
            raise invalid(f"{where}.role", f'must be {known}, it is "{role[:40]}".')

    def finish(self) -> None:
        """End the conversation. Raises RequestShapeError where it cannot be answered."""
        self._check_answered()
        if self.ends_with_assistant:
            self._trim_prefill(self.turns[-1])
        if not self.turns:
            raise invalid("messages", "must hold a message of the user with something in it.")

    def _say(self, role: str, blocks: list[Block], message: ChatMessage) -> None:
        if message.cache_control is not None:
            mark_last(blocks, message.cache_control)
        if blocks:
            self._turn(role).content += blocks

    def _turn(self, role: str) -> Turn:
        turns = self.turns
        if turns and turns[-1].role == role:
            return turns[-1]
        turn = Turn(role)
        turns.append(turn)
        return turn

    def _answer_of(self, message: ChatMessage, where: str) -> list[Block]:
        if message.audio is not None:
            raise unsupported(
                f"{where}.audio", "this model does not know answers in sound. Send the transcript as content."
            )
        blocks = thinking_blocks(message.reasoning_details) if message.reasoning_details else []
        blocks += text_blocks(message.content, where)
        if message.refusal and not message.refusal.isspace():
            blocks.append({"type": "text", "text": message.refusal})
        for index, call in enumerate(message.tool_calls or ()):
            blocks.append(self._use_of(call, f"{where}.tool_calls[{index}]"))
        if message.function_call is not None:
            name = message.function_call.name
            made_up = f"function_call_{len(self._ids)}"
            self._open_call(made_up, f"function:{name}")
            blocks.append(self._block_of(message.function_call, made_up, f"{where}.function_call"))
        if self._open:
            self._where_asked = where
        return blocks

    def _use_of(self, call: ToolCall, where: str) -> Block:
        if call.type != "function":
            raise unsupported(where, f'calls of type "{call.type[:80]}" cannot be sent to this model, only functions.')
        if call.function is None:
            raise missing(f"{where}.function")
        if not call.id:
            raise missing(f"{where}.id")
        call_id = _upstream_id(call.id)
        if call_id in self._ids:
            raise invalid(f"{where}.id", f'is "{call.id[:80]}", which another call in this conversation has too.')
        self._open_call(call_id, call.id)
        return self._block_of(call.function, call_id, f"{where}.function")

    def _open_call(self, call_id: str, key: str) -> None:
        self._ids.add(call_id)
        self._open[key] = call_id

    def _block_of(self, function: FunctionCall, call_id: str, where: str) -> Block:
        name = function.name
        if name not in self.tool_names:
            self.tool_names[checked_name(name, f"{where}.name")] = None
        return {"type": "tool_use", "id": call_id, "name": name, "input": _arguments_of(function.arguments, where)}

    def _add_result(self, key: str, message: ChatMessage, where: str) -> None:
        call_id = self._open.pop(key, None)
        if call_id is None:
            raise self._unasked(key, where)
        content = message.content
        result: Block = {"type": "tool_result", "tool_use_id": call_id}
        blocks = blocks_of(content, where)
        if blocks:
            result["content"] = content if isinstance(content, str) else blocks
        if message.cache_control is not None:
            result["cache_control"] = message.cache_control
        turn = self._turn("user")
        turn.content.insert(turn.results, result)
        turn.results += 1

    def _unasked(self, key: str, where: str) -> RequestShapeError:
        shown = key.removeprefix("function:")
        param = f"{where}.tool_call_id" if shown == key else f"{where}.name"
        if _upstream_id(key) in self._ids:
            return invalid(param, f'is "{shown[:80]}", and that call has its result already.')
        return invalid(param, f'is "{shown[:80]}", which no call of the assistant just before has.')

    def _check_answered(self) -> None:
        if self._open:
            call = next(iter(self._open)).removeprefix("function:")[:80]
            what = f'asks for the tool call "{call}", and no message with its result follows.'
            raise invalid(self._where_asked, what)

    def _trim_prefill(self, turn: Turn) -> None:
        """Bring the beginning of an answer into the form that upstreams take: no thinking, no blank at its end."""
        content = [block for block in turn.content if block["type"] not in _THINKING]
        if content:
            content[-1]["text"] = content[-1]["text"].rstrip()
            if not content[-1]["text"]:
                content.pop()
        turn.content = content
        if not content:
            self.turns.pop()


def conversation_of(messages: list[ChatMessage]) -> Conversation:
    """Return the conversation that the messages are. Raises RequestShapeError."""
    conversation = Conversation()
    for index, message in enumerate(messages):
        conversation.add(message, f"messages[{index}]")
    conversation.finish()
    return conversation


def _upstream_id(call_id: str) -> str:
    """Return the id of a call as upstreams take it; some servers of chat completions write dots and colons into theirs."""
    if _CALL_ID.fullmatch(call_id):
        return call_id
    return f"call_{blake2b(call_id.encode(), digest_size=12).hexdigest()}"


def _arguments_of(arguments: str | None, where: str) -> Any:
    """Return the arguments of the call at ``where`` as an object, byte for byte."""
    if not arguments or arguments.isspace() or arguments == "null":
        return {}
    try:
        text = arguments.encode()
        check_json(text)
        _decode_object(text)
    except (InvalidJsonError, msgspec.DecodeError) as error:
        reason = error.message if isinstance(error, InvalidJsonError) else f"{error}."
        raise invalid(f"{where}.arguments", f"must be a JSON object in a string: {reason}") from None
    return Raw(text)
