"""Reasoning on its way to a chat upstream: how much is asked for, and what was thought in earlier turns."""

from typing import Any

from gateway.protocols.anthropic_content import Block
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.anthropic_thinking import effort_of
from gateway.protocols.generation import Target
from gateway.translate.messages_over_chat.signature import details_in, is_ours, merged
from gateway.translate.tables import DETAILS_FORMAT
from gateway.types import Profile

#: Adaptive thinking without a word on how much.
DEFAULT_EFFORT = "medium"
#: Efforts above the highest that every upstream knows.
_HIGHEST = {"xhigh": "high", "max": "high"}


def reasoning_fields(request: MessagesRequest, target: Target) -> dict[str, Any]:
    """Return the fields by which the upstream is asked to think, or not to."""
    way = target.profile.reasoning
    effort = effort_asked(request)
    if effort is None or way == "none":
        return {}
    if not target.can_reason and not request.wants_reasoning:
        # Adaptive thinking leaves it to the model, and this one has nothing to turn on or off.
        return {}
    if way == "thinking":
        return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}
    if effort == "none" and request.reasoning_effort is None:
        # Clients turn thinking off for models that have none, and those refuse the field whatever it says.
        return {}
    return {"reasoning_effort": _HIGHEST.get(effort, effort)}


def effort_asked(request: MessagesRequest) -> str | None:
    """Return the effort, "none" for thinking that is turned off, None where the client says nothing of thinking."""
    thinking = request.thinking
    if thinking is None:
        return request.reasoning_effort
    if thinking.type == "disabled":
        return "none"
    if thinking.budget_tokens is not None:
        return effort_of(thinking.budget_tokens)
    asked = None if request.output_config is None else request.output_config.effort
    return asked or DEFAULT_EFFORT


def thought_fields(blocks: list[tuple[str, Block]], profile: Profile) -> dict[str, Any]:
    """Return the fields of an assistant's message that hold its thinking blocks (given with their paths)."""
    if profile.takes_reasoning_details:
        details = [detail for path, block in blocks for detail in _details_of(block, path)]
        if details:
            return {"reasoning_details": merged(details)}
    if profile.takes_reasoning_back:
        text = "".join(block.thinking or "" for _, block in blocks)
        if text:
            return {"reasoning_content": text}
    return {}


def _details_of(block: Block, path: str) -> list[dict[str, Any]]:
    if block.type == "redacted_thinking":
        return [{"type": "reasoning.encrypted", "data": block.data, "format": DETAILS_FORMAT}]
    if block.signature is None:
        return []
    if is_ours(block.signature):
        return details_in(block.signature, path)
    return [
        {"type": "reasoning.text", "text": block.thinking, "signature": block.signature, "format": DETAILS_FORMAT},
    ]
