"""A chat completion request as a Messages one.

What becomes of each field: ``knobs`` has what is left out or refused, ``conversation`` the messages, ``tools`` the tools,
``thinking`` the reasoning. In the rest these choices were made:

- ``max_tokens``, which Messages demands: the gateway's ceiling, else the client's own limit, else what the model writes at most.
- ``temperature`` reaches to 2 in chat completions and to 1 in Messages: above 1 it is 1. With thinking on, temperature and
  top_p are left out, and where the model refuses them (``models``): there, top_p goes first.
- ``stop``: sequences of nothing but white space are left out; Messages refuses them.
- ``response_format``: a schema becomes ``output_config.format``, its description a part of it; its name and ``strict`` have no
  counterpart. "json_object" becomes a sentence in ``system``.
- ``user``, or ``safety_identifier``, becomes ``metadata.user_id``; above 256 characters, which Messages refuses, it is left out.
"""

from typing import Any

import msgspec
from msgspec import Raw

from gateway.protocols.anthropic_models import Ways, ways_of
from gateway.protocols.generation import Target
from gateway.protocols.openai_request import ChatRequest
from gateway.translate.chat_over_messages import shapes
from gateway.translate.chat_over_messages.conversation import Conversation, conversation_of
from gateway.translate.chat_over_messages.knobs import check_knobs
from gateway.translate.chat_over_messages.shapes import ResponseFormat, invalid, missing
from gateway.translate.chat_over_messages.thinking import NOTHING_ASKED, Asked, Setting, asked_thinking
from gateway.translate.chat_over_messages.tools import offer_of

MAX_USER_ID = 256
_JSON_OBJECT = "Answer with one JSON object and nothing else: no text around it, no code fence."
_encode = msgspec.json.encode


def messages_body_for_chat(request: ChatRequest, target: Target) -> bytes:
    """Return the body for a Messages upstream. Raises RequestShapeError for what it cannot be told."""
    fields, ways = request.fields, ways_of(target.model)
    check_knobs(fields, request.n)
    conversation = conversation_of(shapes.MESSAGES.read(fields) or [])
    offer = offer_of(request, conversation.tool_names)
    max_tokens = target.max_tokens or request.max_tokens or target.max_output_tokens
    asked = _asked(request, conversation, ways, max_tokens=max_tokens, is_forced=offer.is_forced)
    answer_format = _answer_format(shapes.RESPONSE_FORMAT.read(fields))

    body: dict[str, Any] = {"model": target.model, "max_tokens": max_tokens}
    system = conversation.system
    if answer_format == _JSON_OBJECT:
        system = [*system, {"type": "text", "text": _JSON_OBJECT}]
    if system:
        body["system"] = system
    body["messages"] = [{"role": turn.role, "content": turn.content} for turn in conversation.turns]
    if offer.tools:
        body["tools"] = offer.tools
    if offer.choice is not None:
        body["tool_choice"] = offer.choice
    if asked.thinking is not None:
        body["thinking"] = asked.thinking
    output_config: dict[str, Any] = {}
    if asked.effort is not None:
        output_config["effort"] = asked.effort
    if isinstance(answer_format, dict):
        output_config["format"] = answer_format
    if output_config:
        body["output_config"] = output_config
    _add_sampling(body, fields, ways, is_thinking=asked.is_on)
    _add_rest(body, request)
    return _encode(body)


def _asked(request: ChatRequest, conversation: Conversation, ways: Ways, *, max_tokens: int, is_forced: bool) -> Asked:
    if request.reasoning_effort is None and "thinking" not in request.fields:
        return NOTHING_ASKED
    setting = Setting(
        max_tokens=max_tokens,
        is_ruled_out=is_forced or conversation.ends_with_assistant,
        is_mid_turn=conversation.is_mid_turn_unthought,
    )
    return asked_thinking(shapes.THINKING.read(request.fields), request.reasoning_effort, ways, setting)


def _add_sampling(body: dict[str, Any], fields: dict[str, Raw], ways: Ways, *, is_thinking: bool) -> None:
    temperature, top_p = shapes.TEMPERATURE.read(fields), shapes.TOP_P.read(fields)
    if temperature is None and top_p is None:
        return
    for name, value, most in (("temperature", temperature, 2), ("top_p", top_p, 1)):
        if value is not None and not 0 <= value <= most:
            raise invalid(name, f"must be from 0 to {most}, it is {value:g}.")
    if is_thinking or ways.sampling == "none":
        return
    if temperature is not None:
        body["temperature"] = min(temperature, 1)
    if top_p is not None and (temperature is None or ways.sampling == "both"):
        body["top_p"] = top_p


def _add_rest(body: dict[str, Any], request: ChatRequest) -> None:
    fields = request.fields
    stop = [sequence for sequence in request.stop if sequence and not sequence.isspace()]
    if stop:
        body["stop_sequences"] = stop
    user = shapes.USER.read(fields) or shapes.SAFETY_IDENTIFIER.read(fields)
    if user and len(user) <= MAX_USER_ID:
        body["metadata"] = {"user_id": user}
    marker = shapes.CACHE_CONTROL.read(fields)
    if marker is not None:
        body["cache_control"] = marker
    if request.stream:
        body["stream"] = True


def _answer_format(given: ResponseFormat | None) -> dict[str, Any] | str | None:
    """Return the format for ``output_config``, or the sentence that asks for JSON of any form."""
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return _JSON_OBJECT
    if given.type != "json_schema":
        wanted = '"text", "json_object" or "json_schema"'
        raise invalid("response_format.type", f'must be {wanted}, it is "{given.type[:40]}".')
    if given.json_schema is None:
        raise missing("response_format.json_schema")
    schema: dict[str, Any] | None = given.json_schema.schema
    if schema is None:
        raise missing("response_format.json_schema.schema")
    if given.json_schema.description and "description" not in schema:
        schema = {**schema, "description": given.json_schema.description}
    return {"type": "json_schema", "schema": schema}
