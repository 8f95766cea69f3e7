"""The data plane's endpoints for the API's description, written down: gateway.app serves them. Pure.

A test compares the addresses with the gateway's own table of routes.
"""

from typing import Any

from dashboard.api.data_plane_schemas import SCHEMAS, TEXT, Schema, ref

__all__ = ["PATHS", "SCHEMAS"]

#: What an endpoint that asks a model may answer beside 200, and what the others may.
_KEY_ERRORS = {
    401: "No API key, or one that does not work",
    403: "The key is right, and may not do this",
    429: "Too many requests; `retry-after` says when to try again, where waiting helps",
    500: "A fault of ours",
    503: "Try again after a moment",
}
_BODY_ERRORS = {
    400: "The body is wrong; the message names the field",
    404: "There is no such model",
    408: "The body came too slowly",
    411: "There is no `Content-Length`",
    413: "The body is too large",
    415: "The body is compressed",
}
_MODEL_ERRORS = {
    402: "The balance does not cover it",
    502: "The model's provider failed",
    504: "The provider took too long",
}
_PUBLIC_ERRORS = {
    401: "An API key was sent, and does not work",
    403: "The key's workspace is suspended",
    500: "A fault of ours",
    503: "Try again after a moment",
}
_SECURITY: list[dict[str, list[str]]] = [{"apiKey": []}, {"apiKeyHeader": []}]


def _errors(*tables: dict[int, str]) -> dict[str, Any]:
    merged = {status: text for table in tables for status, text in table.items()}
    return {
        str(status): {"description": merged[status], "content": {"application/json": {"schema": ref("Error")}}}
        for status in sorted(merged)
    }


def _answer(schema: str, *, streams: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": ref(schema)}}
    if streams:
        content["text/event-stream"] = {"schema": TEXT | {"description": "With `stream`: the protocol's events."}}
    return {"200": {"description": "The answer", "content": content}}


def _post(name: str, summary: str, *, takes: Schema, gives: str, asks_model: bool, **more: Any) -> dict[str, Any]:
    errors = (_KEY_ERRORS, _BODY_ERRORS, *([_MODEL_ERRORS] if asks_model else []))
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "tags": ["Models"],
            "requestBody": {"required": True, "content": {"application/json": {"schema": takes}}},
            "responses": {**_answer(gives, streams=more.pop("streams", False)), **_errors(*errors)},
            "security": _SECURITY,
            **more,
        }
    }


def _get(name: str, summary: str, *, gives: str, errors: dict[int, str], public: bool, **more: Any) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "tags": ["Models"],
            "responses": {**_answer(gives), **_errors(_PUBLIC_ERRORS if public else _KEY_ERRORS, errors)},
            "security": [{}, *_SECURITY] if public else _SECURITY,
            **more,
        }
    }


def _query(name: str, schema: Schema, *, required: bool, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": about}


PATHS: dict[str, Any] = {
    "/api/v1/chat/completions": _post(
        "create_chat_completion",
        "A chat completion, whole or streamed",
        takes=ref("ChatCompletionRequest"),
        gives="ChatCompletion",
        asks_model=True,
        streams=True,
    ),
    "/api/v1/messages": _post(
        "create_message",
        "A message, for Anthropic's clients, whole or streamed",
        takes=ref("MessagesRequest"),
        gives="Message",
        asks_model=True,
        streams=True,
    ),
    "/api/v1/messages/count_tokens": _post(
        "count_tokens",
        "How many tokens a message's input has",
        takes=ref("CountTokensRequest"),
        gives="TokenCount",
        asks_model=False,
    ),
    "/api/v1/embeddings": _post(
        "create_embeddings",
        "Vectors for texts",
        takes=ref("EmbeddingsRequest"),
        gives="Embeddings",
        asks_model=True,
    ),
    "/api/v1/quote": _post(
        "create_quote",
        "What a request would cost at most, and probably",
        takes={"anyOf": [ref("ChatCompletionRequest"), ref("MessagesRequest"), ref("EmbeddingsRequest")]},
        gives="Quote",
        asks_model=False,
        parameters=[
            _query(
                "protocol",
                {"enum": ["chat", "messages", "embeddings"]},
                required=False,
                about="Which protocol the body is in; without it, that is told from the body.",
            )
        ],
    ),
    "/api/v1/generation": _get(
        "get_generation",
        "The receipt of a request that has ended",
        gives="Receipt",
        errors={400: "The id is missing, or is none", 404: "The key's workspace has no such request, or it still runs"},
        public=False,
        parameters=[_query("id", TEXT, required=True, about="The id of an answer, or its `x-request-id`.")],
    ),
    "/api/v1/key": _get(
        "get_own_key",
        "The key that asks: what it may do, and what is left of its budget and limits",
        gives="OwnKey",
        errors={},
        public=False,
    ),
    "/api/v1/models": _get(
        "list_models", "The models, with prices and capabilities", gives="ModelList", errors={}, public=True
    ),
    "/api/v1/models/{id}": _get(
        "get_model",
        "One model",
        gives="Model",
        errors={404: "There is no such model"},
        public=True,
        parameters=[{"name": "id", "in": "path", "required": True, "schema": TEXT}],
    ),
}
