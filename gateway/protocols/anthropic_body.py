"""Bodies for Messages upstreams, from Messages requests: model and ceiling are ours, all else passes byte for byte.

``reasoning_effort``, our extension of this protocol, becomes ``thinking``. What upstreams refuse beside thinking then gives way:
``temperature`` other than 1, ``top_k``, ``top_p`` below 0.95 are left out; where a tool is forced, there is no thinking.
Thinking blocks that another family of models wrote are left out: their signatures are ours, and no upstream takes them.
"""

import msgspec
from msgspec import Raw

from gateway.protocols.anthropic_content import Block
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.anthropic_thinking import OUR_SIGNATURE, capped_budget, thinking_for
from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError

#: The least ``top_p`` beside thinking.
MIN_TOP_P = 0.95
_OFF: dict[str, str | int] = {"type": "disabled"}
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
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
    if request.reasoning_effort is not None:
        _think(fields, request, ceiling)
    elif request.thinking is not None and request.thinking.is_left_to_the_model and not target.can_reason:
        fields.pop("thinking")
    elif request.thinking is not None and request.thinking.budget_tokens is not None:
        budget = request.thinking.budget_tokens
        capped = capped_budget(budget, ceiling)
        if capped is None:
            fields["thinking"] = Raw(_encode(_OFF))
        elif capped < budget:
            thinking = _decode_fields(fields["thinking"])
            thinking["budget_tokens"] = Raw(b"%d" % capped)
            fields["thinking"] = Raw(_encode(thinking))
    if any(_foreign_in(message.content) for message in request.messages):
        fields["messages"] = _without_foreign(fields["messages"], request)
    return _encode(fields)


def is_foreign(block: Block) -> bool:
    """Whether a block is thinking of another family of models, signed by us."""
    if block.type == "thinking":
        return block.signature is not None and block.signature.startswith(OUR_SIGNATURE)
    return block.type == "redacted_thinking" and (block.data or "").startswith(OUR_SIGNATURE)


def _think(fields: dict[str, Raw], request: MessagesRequest, ceiling: int) -> None:
    is_forced = request.tool_choice is not None and request.tool_choice.is_forced
    thinking = _OFF if is_forced else thinking_for(request.reasoning_effort or "none", ceiling)
    fields["thinking"] = Raw(_encode(thinking))
    if thinking["type"] == "disabled":
        return
    fields.pop("top_k", None)
    if request.temperature != 1:
        fields.pop("temperature", None)
    if request.top_p is None or request.top_p < MIN_TOP_P:
        fields.pop("top_p", None)


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
