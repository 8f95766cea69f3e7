"""What the data plane takes and answers, as JSON schemas: what is read of a request, and that the rest is passed on. Pure."""

from dashboard.api.own_key_schema import OWN_KEY
from dashboard.api.schema_words import (
    COUNT,
    FLAG,
    NANO,
    NUMBER,
    TEXT,
    USD,
    Schema,
    array_of,
    nullable,
    open_object,
    ref,
)

__all__ = ["SCHEMAS", "TEXT", "Schema", "ref"]

PASSED_ON = "Fields that are not listed here are passed on to the model as they are."

_USAGE_OPTION = open_object({"include": FLAG}, about="`include` adds the charge to the answer's `usage`.")
_TOOL = open_object({}, about="A tool in the form of the protocol.")

_CHAT_REQUEST = open_object(
    {
        "model": TEXT | {"description": "An id of `GET /api/v1/models`."},
        "messages": array_of(
            open_object(
                {"role": TEXT, "content": {"description": "Text, or a list of parts."}},
                required=("role",),
                about="As in OpenAI's API.",
            ),
            minItems=1,
        ),
        "stream": FLAG,
        "max_tokens": COUNT,
        "max_completion_tokens": COUNT,
        "temperature": NUMBER,
        "top_p": NUMBER,
        "frequency_penalty": NUMBER,
        "presence_penalty": NUMBER,
        "n": {"type": "integer", "minimum": 1},
        "tools": array_of(_TOOL),
        "tool_choice": {"description": "`auto`, `none`, `required`, or an object that names a function."},
        "reasoning_effort": TEXT | {"description": "`low`, `medium` or `high`."},
        "stream_options": open_object({"include_usage": FLAG}),
        "usage": _USAGE_OPTION,
    },
    required=("model", "messages"),
    about=f"OpenAI's chat completions. {PASSED_ON} Refused are fields that would choose another model or buy extras.",
)
_CHAT_ANSWER = open_object(
    {
        "id": TEXT,
        "object": {"const": "chat.completion"},
        "created": COUNT,
        "model": TEXT,
        "choices": array_of(
            open_object(
                {
                    "index": COUNT,
                    "message": open_object({"role": TEXT, "content": nullable(TEXT), "reasoning_content": TEXT}),
                    "finish_reason": nullable(TEXT),
                }
            )
        ),
        "usage": open_object({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT}),
    },
    required=("id", "object", "created", "model", "choices"),
    about="What the model's side adds is in it, too.",
)
_MESSAGES_REQUEST = open_object(
    {
        "model": TEXT | {"description": "An id of `GET /api/v1/models`."},
        "max_tokens": {"type": "integer", "minimum": 1},
        "messages": array_of(
            open_object(
                {"role": TEXT, "content": {"description": "Text, or a list of blocks."}},
                required=("role", "content"),
                about="As in Anthropic's API.",
            ),
            minItems=1,
        ),
        "system": {"description": "Text, or a list of text blocks."},
        "stream": FLAG,
        "tools": array_of(_TOOL),
        "tool_choice": open_object({"type": TEXT}),
        "thinking": open_object({"type": TEXT, "budget_tokens": COUNT}),
        "reasoning_effort": TEXT | {"description": "`low`, `medium` or `high`: an addition of ours."},
        "stop_sequences": array_of(TEXT),
        "temperature": NUMBER,
        "top_p": NUMBER,
        "top_k": COUNT,
        "usage": _USAGE_OPTION,
    },
    required=("model", "max_tokens", "messages"),
    about=f"Anthropic's messages. {PASSED_ON} Refused are tools that run at the provider, and files that are kept there.",
)
_MESSAGES_ANSWER = open_object(
    {
        "id": TEXT,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": TEXT,
        "content": array_of(open_object({"type": TEXT}, required=("type",))),
        "stop_reason": nullable(TEXT),
        "stop_sequence": nullable(TEXT),
        "usage": open_object({"input_tokens": COUNT, "output_tokens": COUNT}),
    },
    required=("id", "type", "role", "model", "content", "usage"),
)
_EMBEDDINGS_REQUEST = open_object(
    {
        "model": TEXT,
        "input": {"description": "Text, a list of texts, a list of token ids, or a list of such lists."},
        "encoding_format": TEXT | {"description": "`float` or `base64`."},
        "dimensions": {"type": "integer", "minimum": 1},
        "user": TEXT,
        "usage": _USAGE_OPTION,
    },
    required=("model", "input"),
    about=f"OpenAI's embeddings. {PASSED_ON} Refused are fields that would choose another model or another input.",
)
_EMBEDDINGS_ANSWER = open_object(
    {
        "object": {"const": "list"},
        "data": array_of(
            open_object(
                {
                    "object": {"const": "embedding"},
                    "index": COUNT,
                    "embedding": {
                        "oneOf": [array_of(NUMBER), TEXT],
                        "description": "Numbers, or base64 of 32-bit floats.",
                    },
                },
                required=("index", "embedding"),
            )
        ),
        "model": TEXT,
        "usage": open_object({"prompt_tokens": COUNT, "total_tokens": COUNT}),
    },
    required=("object", "data", "model", "usage"),
)
_MODEL = open_object(
    {
        "id": TEXT,
        "object": {"const": "model"},
        "created": COUNT,
        "owned_by": TEXT,
        "type": {"const": "model"},
        "display_name": TEXT,
        "created_at": TEXT | {"format": "date-time"},
        "_meta": open_object(
            {
                "displayName": TEXT,
                "description": TEXT,
                "contextWindow": COUNT,
                "supportsStreaming": FLAG,
                "tags": array_of(TEXT),
                "pricing": open_object(
                    {"input": NUMBER, "output": NUMBER, "cacheRead": NUMBER, "cacheWrite": NUMBER, "free": FLAG},
                    required=("input", "output", "free"),
                    about="US dollars per million tokens.",
                ),
            },
            required=("displayName", "description", "contextWindow", "supportsStreaming", "tags", "pricing"),
        ),
    },
    required=("id", "object", "_meta"),
)
_QUOTE = open_object(
    {
        "object": {"const": "quote"},
        "model": TEXT,
        "protocol": {"enum": ["chat", "messages", "embeddings"]},
        "max_charge": USD,
        "max_charge_nano": NANO,
        "hold": USD,
        "hold_nano": NANO,
        "max_tokens": nullable(COUNT),
        "affordable": FLAG,
        "refusal": nullable(TEXT),
        "affordable_max_tokens": nullable(COUNT),
        "available": USD,
        "estimate": open_object({"input_tokens": COUNT, "output_tokens": COUNT, "charge": USD, "charge_nano": NANO}),
        "price": open_object({"id": {}, "free": FLAG, "per_million": open_object({})}),
    },
    required=("object", "model", "protocol", "max_charge", "max_charge_nano", "affordable"),
)
_RECEIPT = open_object(
    {
        "id": TEXT,
        "object": {"const": "generation"},
        "created": COUNT,
        "model": TEXT,
        "kind": nullable(TEXT),
        "status": TEXT,
        "is_stream": FLAG,
        "is_free": FLAG,
        "http_status": COUNT,
        "error_code": nullable(TEXT),
        "usage": open_object({}),
        "usage_source": {"enum": ["reported", "estimated", "none"]},
        "price": nullable(open_object({})),
        "arithmetic": nullable(open_object({})),
        "charge": USD,
        "charge_nano": NANO,
        "absorbed": USD,
        "absorbed_nano": NANO,
        "paid_by": array_of(open_object({"kind": TEXT, "amount": USD, "amount_nano": NANO})),
        "timings": open_object({"first_token_ms": nullable(COUNT), "duration_ms": COUNT}),
    },
    required=("id", "object", "model", "status", "charge", "charge_nano"),
)
SCHEMAS: dict[str, Schema] = {
    "Error": open_object(
        {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "properties": {"message": TEXT, "type": TEXT, "code": TEXT},
                "required": ["message", "type", "code"],
            },
            "request_id": TEXT,
        },
        required=("error",),
        about="Decide by `code`: it is stable. /docs/errors lists the codes.",
    ),
    "ChatCompletionRequest": _CHAT_REQUEST,
    "ChatCompletion": _CHAT_ANSWER,
    "MessagesRequest": _MESSAGES_REQUEST,
    "Message": _MESSAGES_ANSWER,
    "CountTokensRequest": _MESSAGES_REQUEST | {"required": ["model", "messages"]},
    "TokenCount": open_object(
        {"input_tokens": COUNT, "_meta": open_object({"estimated": FLAG})}, required=("input_tokens",)
    ),
    "EmbeddingsRequest": _EMBEDDINGS_REQUEST,
    "Embeddings": _EMBEDDINGS_ANSWER,
    "Model": _MODEL,
    "ModelList": open_object(
        {
            "object": {"const": "list"},
            "data": array_of(ref("Model")),
            "has_more": FLAG,
            "first_id": nullable(TEXT),
            "last_id": nullable(TEXT),
        },
        required=("object", "data"),
    ),
    "OwnKey": open_object({"data": OWN_KEY}, required=("data",)),
    "Quote": _QUOTE,
    "Receipt": open_object({"data": _RECEIPT}, required=("data",)),
}
