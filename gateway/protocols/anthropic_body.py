"""Bodies for Messages upstreams, from Messages requests: model and ceiling are ours, all else passes byte for byte.

``reasoning_effort``, our extension of this protocol, becomes ``thinking``: a budget, or for models that are asked by an effort
that effort, unless ``output_config`` names one. What upstreams refuse beside thinking then gives way:
``temperature`` other than 1, ``top_k``, ``top_p`` below 0.95 are left out; where a tool is forced, there is no thinking.
Thinking blocks that another family of models wrote are left out: their signatures are ours, and no upstream takes them. An
upstream that is to think wants the thinking before a tool's use back with its result; where it was another family's, it is not
asked to think in this turn. Where thinking is switched off, edits of the context that need it are left out too.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway.protocols.anthropic_content import Block, Message
from gateway.protocols.anthropic_models import Ways, ways_of
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.anthropic_thinking import ADAPTIVE, MODEL_EFFORTS, OUR_SIGNATURE, capped_budget, thinking_for
from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError

#: The least ``top_p`` beside thinking.
MIN_TOP_P = 0.95
_THINKING_EDITS = "clear_thinking"
#: Fields that the counting of tokens takes; any other is refused there.
COUNTED = (
    *("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"),
    *("cache_control", "context_management"),
)
_OFF: dict[str, str | int] = {"type": "disabled"}
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_kind = msgspec.json.Decoder(Block).decode
_encode = msgspec.json.encode


def messages_body(request: MessagesRequest, target: Target) -> bytes:
    """Return the body for an upstream: its own model name, and a ceiling on output where one was set.

    Raises RequestShapeError where nothing is left to send.
    """
    fields = request.fields.copy()
    fields["model"] = Raw(_encode(target.model))
    ceiling = request.max_tokens
    if target.max_tokens is not None:
        ceiling = target.max_tokens
        fields["max_tokens"] = Raw(b"%d" % ceiling)
    fields.pop("reasoning_effort", None)
    has_foreign = any(_foreign_in(message.content) for message in request.messages)
    asks = request.reasoning_effort is not None or request.thinking is not None
    if asks and not _set_thinking(fields, request, target, ceiling=ceiling, has_foreign=has_foreign):
        _drop_thinking_edits(fields)
    if has_foreign:
        fields["messages"] = _without_foreign(fields["messages"], request)
    return _encode(fields)


def count_body(request: MessagesRequest, target: Target) -> bytes:
    """Return the body that asks an upstream how many tokens the request's input has. Raises RequestShapeError as above."""
    fields = _decode_fields(messages_body(request, target))
    return _encode({name: fields[name] for name in COUNTED if name in fields})


def is_foreign(block: Block) -> bool:
    """Whether a block is thinking of another family of models, signed by us."""
    if block.type == "thinking":
        return block.signature is not None and block.signature.startswith(OUR_SIGNATURE)
    return block.type == "redacted_thinking" and (block.data or "").startswith(OUR_SIGNATURE)


def _set_thinking(
    fields: dict[str, Raw], request: MessagesRequest, target: Target, *, ceiling: int, has_foreign: bool
) -> bool:
    """Say how the model is to think; False where we had to switch it off."""
    given = request.thinking
    if given is None:
        return _set_effort(fields, request, ways_of(target.model), ceiling)
    if given.is_left_to_the_model and not target.can_reason:
        del fields["thinking"]
        return False
    if given.type != "enabled" or given.budget_tokens is None:
        return True
    budget = capped_budget(given.budget_tokens, ceiling)
    if budget is None or (has_foreign and _lacks_thinking(request.messages)):
        fields["thinking"] = Raw(_encode(_OFF))
        return False
    if budget < given.budget_tokens:
        thinking = _decode_fields(fields["thinking"])
        thinking["budget_tokens"] = Raw(b"%d" % budget)
        fields["thinking"] = Raw(_encode(thinking))
    return True


def _set_effort(fields: dict[str, Raw], request: MessagesRequest, ways: Ways, ceiling: int) -> bool:
    asked = request.reasoning_effort or "none"
    is_forced = request.tool_choice is not None and request.tool_choice.is_forced
    if ways.thinking == "adaptive":
        thinking: Mapping[str, str | int] = _OFF if is_forced or asked == "none" else ADAPTIVE
    else:
        is_ruled_out = is_forced or _lacks_thinking(request.messages)
        thinking = _OFF if is_ruled_out else thinking_for(asked, ceiling)
    is_off = thinking["type"] == "disabled"
    if not is_off or ways.can_rest:
        fields["thinking"] = Raw(_encode(thinking))
    if is_off and ways.can_rest:
        return False
    if ways.thinking == "adaptive":
        _set_model_effort(fields, "low" if is_off else MODEL_EFFORTS[asked])
    fields.pop("top_k", None)
    if request.temperature != 1:
        fields.pop("temperature", None)
    if request.top_p is None or request.top_p < MIN_TOP_P:
        fields.pop("top_p", None)
    return True


def _set_model_effort(fields: dict[str, Raw], effort: str) -> None:
    """Say in ``output_config`` how hard to think, unless the client said it there itself."""
    given = fields.get("output_config", Raw(b"null"))
    config = {} if bytes(given) == b"null" else _decode_fields(given)
    config.setdefault("effort", Raw(_encode(effort)))
    fields["output_config"] = Raw(_encode(config))


def _lacks_thinking(messages: list[Message]) -> bool:
    """Whether the last turn used a tool, and no thinking that an upstream takes back stands before the use."""
    last = next((message for message in reversed(messages) if message.role == "assistant"), None)
    if last is None or not isinstance(last.content, list):
        return False
    kept = [block.type for block in last.content if not is_foreign(block)]
    return "tool_use" in kept and kept[0] not in {"thinking", "redacted_thinking"}


def _drop_thinking_edits(fields: dict[str, Raw]) -> None:
    """Leave out the edits of the context that upstreams refuse where nothing is thought."""
    try:
        context = _decode_fields(fields["context_management"])
        edits = _decode_list(context["edits"])
        kept = [edit for edit in edits if not _decode_kind(edit).type.startswith(_THINKING_EDITS)]
    except (KeyError, msgspec.DecodeError, RecursionError):
        return  # the upstream says what is wrong with it
    if len(kept) < len(edits):
        context["edits"] = Raw(_encode(kept))
        fields["context_management"] = Raw(_encode(context))


def _foreign_in(content: str | list[Block] | None) -> bool:
    return type(content) is list and any(is_foreign(block) for block in content)


def _without_foreign(messages: Raw, request: MessagesRequest) -> Raw:
    """Return the messages without thinking of other families, and without messages that held nothing else."""
    kept = []
    for raw, message in zip(_decode_list(messages), request.messages, strict=True):
        content = message.content
        if not isinstance(content, list) or not _foreign_in(content):
            kept.append(raw)
            continue
        fields = _decode_fields(raw)
        blocks = zip(_decode_list(fields["content"]), content, strict=True)
        fields["content"] = Raw(_encode([given for given, block in blocks if not is_foreign(block)]))
        if len(fields["content"]) > 2:
            kept.append(Raw(_encode(fields)))
    if not kept:
        problem = "messages hold nothing but thinking of another model: send the messages it belongs to."
        raise RequestShapeError("invalid_parameter", problem, "messages")
    return Raw(_encode(kept))
