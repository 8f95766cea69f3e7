"""A whole Messages answer as a chat completion."""

from typing import Any

import msgspec

from gateway.protocols.answers import NO_FLAGS, Labels, WholeAnswer
from gateway.protocols.anthropic_errors import failure_from_messages_error
from gateway.protocols.anthropic_shapes import AnswerBlock, WholeMessage, message_in, output_in_block
from gateway.protocols.anthropic_usage import messages_usage_from
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_request import ChatRequest
from gateway.protocols.openai_told import usage_object
from gateway.translate.chat_over_messages.answer import (
    annotations_of,
    arguments_in,
    block_failure,
    citations_in,
    second_call_failure,
)
from gateway.translate.chat_over_messages.reasoning import encrypted_detail, text_detail
from gateway.translate.chat_over_messages.tools import is_legacy
from gateway.translate.tables import finish_reason_of


def chat_answer_from_message(body: bytes, request: ChatRequest, labels: Labels) -> WholeAnswer:
    """Return the client's answer. Raises UpstreamFailure for an error object, or what is no message."""
    message = message_in(body)
    if message.error is not None or message.type == "error":
        raise failure_from_messages_error(msgspec.json.decode(body) if message.error is None else message.error)
    if message.content is None:
        raise UpstreamFailure(FailureKind.INVALID, "its answer has no content")
    size = sum(map(output_in_block, message.content))
    usage, flags = None, NO_FLAGS
    if message.usage is not None:
        usage, flags = messages_usage_from(message.usage, output_bytes=size)
    answer: dict[str, Any] = {
        "id": labels.response_id,
        "object": "chat.completion",
        "created": labels.created,
        "model": labels.model,
        "choices": [_choice(message, message.content, legacy=is_legacy(request))],
    }
    if usage is not None:
        answer["usage"] = usage_object(usage)
    return WholeAnswer(
        body=msgspec.json.encode(answer),
        usage=usage,
        flags=flags,
        has_output=size > 0 or (usage is not None and usage.output > 0),
        output_bytes=size,
        estimated_input=labels.estimated_input,
    )


def _choice(message: WholeMessage, blocks: list[AnswerBlock], *, legacy: bool) -> dict[str, Any]:
    told = _message(blocks)
    reason = finish_reason_of(message.stop_reason)
    if legacy and "tool_calls" in told:
        if len(told["tool_calls"]) > 1:
            raise second_call_failure()
        told["function_call"] = told.pop("tool_calls")[0]["function"]
        reason = "function_call" if reason == "tool_calls" else reason
    return {"index": 0, "message": told, "finish_reason": reason}


def _message(blocks: list[AnswerBlock]) -> dict[str, Any]:
    text, reasoning, thoughts = "", "", 0
    details: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        failure = block_failure(block)
        if failure is not None:
            raise failure
        if block.type == "text":
            start = len(text)
            text += block.text or ""
            annotations += annotations_of(citations_in(block), start, len(text))
        elif block.type == "tool_use":
            function = {"name": block.name, "arguments": arguments_in(block)}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type == "thinking":
            reasoning += block.thinking or ""
            if block.thinking or block.signature:
                details.append(text_detail(thoughts, text=block.thinking or "", signature=block.signature))
            thoughts += 1
        else:
            details.append(encrypted_detail(thoughts, block.data or ""))
            thoughts += 1
    more: dict[str, Any] = {
        "reasoning_content": reasoning,
        "reasoning_details": details,
        "annotations": annotations,
        "tool_calls": calls,
    }
    told = {"role": "assistant", "content": text or None}
    return told | {name: value for name, value in more.items() if value}
