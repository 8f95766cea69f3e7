"""The description of the whole API, data plane and management, in OpenAPI 3.1.

The management API is described from its views, so that the two cannot differ; the data plane is written down in ``data_plane``.
"""

from typing import Any

from django.conf import settings
from django.urls import URLPattern
from drf_spectacular.generators import SchemaGenerator

from dashboard.api.data_plane import PATHS, SCHEMAS
from dashboard.api.paths import API

INTRODUCTION = (
    "One endpoint, every model, and the management of a workspace. API keys (`lx-…`) call models, management keys "
    "(`lm-…`) manage; neither does the other's work. Amounts are decimal strings in US dollars; `…_nano` are billionths of one."
)
ERROR = {"$ref": "#/components/schemas/Error"}
SECURITY_SCHEMES = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: `lx-…`"},
    "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key: `lx-…`"},
    "managementKey": {"type": "http", "scheme": "bearer", "description": "A management key: `lm-…`"},
}
#: What any endpoint of the management API may answer, and what only some do.
MANAGEMENT_ERRORS = {
    400: "A parameter or the body is wrong; the message names it",
    401: "No management key, or one that does not work",
    403: "The key may not do this",
    429: "Too many requests; `retry-after` says when to try again",
    500: "A fault of ours",
    503: "Try again after a moment",
}
BODY_ERRORS = {413: "The body is too large", 415: "The body is not `application/json`"}
OBJECT_ERRORS = {404: "This workspace has no such object"}
CONFLICT_ERRORS = {409: "The object is in no state for this, or the first request with this Idempotency-Key still runs"}
REPEAT_ERRORS = {422: "This Idempotency-Key came with another request before"}


def error_responses(errors: dict[int, str]) -> dict[str, Any]:
    """Return OpenAPI's responses for statuses with their descriptions."""
    return {
        str(status): {"description": text, "content": {"application/json": {"schema": ERROR}}}
        for status, text in errors.items()
    }


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add to what the views say: errors, security, the data plane. A hook of drf-spectacular."""
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            operation["responses"] |= error_responses(_errors_of(path, method, operation))
            operation["security"] = [{"managementKey": []}]
    components = result.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **SCHEMAS}.items()))
    result["paths"] = {**PATHS, **result["paths"]}
    result["info"]["description"] = INTRODUCTION
    result["servers"] = [{"url": settings.LUMYX_SITE_URL or "/"}]
    return result


def _errors_of(path: str, method: str, operation: dict[str, Any]) -> dict[int, str]:
    errors = dict(MANAGEMENT_ERRORS)
    if method in {"post", "patch"}:
        errors |= BODY_ERRORS
    if "{" in path or path.endswith("/generations"):
        errors |= OBJECT_ERRORS
    if method != "get":
        errors |= CONFLICT_ERRORS
    if any(parameter["in"] == "header" for parameter in operation.get("parameters", [])):
        errors |= REPEAT_ERRORS
    return errors


def openapi(patterns: list[URLPattern]) -> dict[str, Any]:
    """Return the description; ``patterns`` are the management API's."""
    generator: Any = SchemaGenerator(patterns=patterns, api_version=None)  # type: ignore[no-untyped-call]
    described: dict[str, Any] = generator.get_schema(public=True)
    described["paths"] = {
        path if path.startswith(API) else f"{API}{path.lstrip('/')}": operations
        for path, operations in described["paths"].items()
    }
    return described
