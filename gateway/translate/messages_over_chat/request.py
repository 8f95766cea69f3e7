"""The chat completions body for a Messages request. ``DROPPED`` says what does not get there, and why that does no harm."""

from hashlib import sha256
from typing import Any

import msgspec

from gateway.protocols.anthropic_content import OutputFormat, is_given
from gateway.protocols.anthropic_request import MessagesRequest
from gateway.protocols.generation import Target
from gateway.protocols.wording import RequestShapeError
from gateway.translate.messages_over_chat.reasoning import reasoning_fields
from gateway.translate.messages_over_chat.tools import tool_fields
from gateway.translate.messages_over_chat.turns import chat_messages
from gateway.types import Profile

#: What a chat upstream is not told: knobs and marks, never content.
DROPPED = {
    "top_k": "chat completions has no such knob",
    "service_tier, speed, inference_geo": "only their ordinary values are accepted in the first place",
    "context_management": "edits of the context are the client's or the upstream's own; the whole conversation is sent",
    "anthropic-beta, anthropic-version": "what they turn on is either served here or refused by name",
    "cache_control": "chat upstreams cache by themselves; kept for upstreams that take reasoning_details (OpenRouter)",
    "tools[].defer_loading, eager_input_streaming, allowed_callers, input_examples": "every tool is there from the start",
    "tool_use.caller, toolset_name": "all tools are called by the model itself",
    "citations": "answers of chat upstreams hold none",
    "image.transformations": "images are sent as they are",
    "output_config.effort without thinking": "models that do not reason refuse an effort",
    "thinking.display": "reasoning is shown as the upstream shows it",
    "thinking of type disabled": "sent only where the upstream has a switch; models that do not reason refuse the field",
    "thinking blocks of earlier turns": "sent back only to upstreams that take them (reasoning_details, reasoning_content)",
    "the end of a last message that is the assistant's": "it is sent, but chat models answer it and do not go on with it",
}
#: The longest ``user`` that OpenAI takes.
MAX_USER = 64
_SCHEMA_NAME = "output"
#: For upstreams that promise JSON but read no schema.
_SCHEMA_IN_WORDS = "Answer with one JSON object that is valid under this JSON schema, and with nothing else:\n"

_decode_format = msgspec.json.Decoder(OutputFormat | None).decode


def chat_body_for_messages(request: MessagesRequest, target: Target) -> bytes:
    """Return the body for a chat upstream. Raises RequestShapeError (unsupported_content) for what it could not say."""
    profile = target.profile
    format_fields, instruction = _format_fields(request, profile)
    body: dict[str, Any] = {
        "model": target.model,
        "messages": chat_messages(request.system, request.messages, profile, instruction=instruction),
    }
    limit = request.max_tokens if target.max_tokens is None else min(request.max_tokens, target.max_tokens)
    body[profile.max_tokens_field] = limit
    for name in ("temperature", "top_p"):
        given = request.fields.get(name)
        if given is not None and is_given(given):
            body[name] = given
    if request.stop_sequences:
        body["stop"] = list(request.stop_sequences)
    body |= tool_fields(request, keep_cache=profile.takes_reasoning_details)
    body |= reasoning_fields(request, profile)
    body |= format_fields
    if request.user_id:
        body["user"] = user_of(request.user_id)
    if profile.takes_reasoning_details and is_given(request.fields.get("cache_control", msgspec.Raw())):
        body["cache_control"] = request.fields["cache_control"]
    if request.stream:
        body["stream"] = True
        if profile.accepts_stream_options:
            body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)


def user_of(user_id: str) -> str:
    """Return whom the request is for: the same user is always the same name, and a long one becomes its SHA-256 in hex."""
    return user_id if len(user_id) <= MAX_USER else sha256(user_id.encode()).hexdigest()


def _format_fields(request: MessagesRequest, profile: Profile) -> tuple[dict[str, Any], str]:
    """Return ``response_format``, and the schema in words for an upstream that reads none."""
    form, path = _format_asked(request)
    if form is None:
        return {}, ""
    if form.type != "json_schema":
        message = f'{path}.type must be "json_schema", it is "{form.type}".'
        raise RequestShapeError("unsupported_parameter", message, f"{path}.type")
    if not is_given(form.schema):
        raise RequestShapeError("missing_parameter", f"{path}.schema is missing.", f"{path}.schema")
    if not profile.takes_json_schema:
        return {"response_format": {"type": "json_object"}}, _SCHEMA_IN_WORDS + bytes(form.schema).decode()
    schema = {"name": _SCHEMA_NAME, "strict": True, "schema": form.schema}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}, ""


def _format_asked(request: MessagesRequest) -> tuple[OutputFormat | None, str]:
    if request.output_config is not None and request.output_config.format is not None:
        return request.output_config.format, "output_config.format"
    # What it was called while it was a beta; clients of that time are still about.
    old = request.fields.get("output_format")
    if old is None:
        return None, ""
    try:
        return _decode_format(old), "output_format"
    except msgspec.ValidationError:
        message = 'output_format must be {"type": "json_schema", "schema": …}.'
        raise RequestShapeError("invalid_parameter", message, "output_format") from None
