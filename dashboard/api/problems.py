"""What goes wrong in the management API, in the one error shape of the data plane."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework.exceptions import APIException, MethodNotAllowed, UnsupportedMediaType, ValidationError

from gateway.errors import ApiError, internal_error, shown, unavailable

log = logging.getLogger(__name__)

#: Codes of a serializer's errors that have a code of their own here; all others are invalid_parameter.
CODES = {"required": "missing_parameter", "unknown": "unsupported_parameter"}
#: So many problems are told at once.
MOST = 5


def not_found(what: str) -> ApiError:
    """Return the 404 for an object that this workspace does not have, whoever else may."""
    return ApiError(404, "not_found", f"This workspace has no {what}.")


def conflict(message: str) -> ApiError:
    """Return the 409 for what cannot be done to an object as it is."""
    return ApiError(409, "conflict", message)


def invalid(message: str) -> ApiError:
    """Return the 400 for a value that a rule of ours refuses."""
    return ApiError(400, "invalid_parameter", message)


def error_of(error: Exception, *, request_id: str, allowed: list[str]) -> ApiError:
    """Return what a client is told of an exception; a bug is logged and told as our fault.

    Args:
        error: what was raised.
        request_id: for the log.
        allowed: the methods that the address answers.
    """
    match error:
        case ApiError():
            return error
        case ValidationError():
            return _invalid_fields(error)
        case Http404():
            return ApiError(404, "not_found", "There is no such object. See /docs/management-api for what there is.")
        case MethodNotAllowed():
            allow = ", ".join(allowed)
            return ApiError(
                405, "method_not_allowed", f"This address answers {allow}.", headers=[(b"allow", allow.encode())]
            )
        case UnsupportedMediaType():
            return ApiError(
                415, "unsupported_media_type", "Send JSON with the header `Content-Type: application/json`."
            )
        case APIException() if error.status_code < 500:
            return ApiError(error.status_code, "invalid_parameter", str(error.detail))
        case OperationalError() | InterfaceError():
            log.warning("request %s refused: %s", request_id, error)
            return unavailable()
    log.error("request %s met a bug", request_id, exc_info=error)
    return internal_error()


def _invalid_fields(error: ValidationError) -> ApiError:
    problems = list(_problems(error.detail, ""))
    code = CODES.get(problems[0][1], "invalid_parameter")
    return ApiError(400, code, " ".join(text for text, _ in problems[:MOST]))


def _problems(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            whole = name == "non_field_errors"
            yield from _problems(inner, path if whole else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _problems(inner, path)
    else:
        prefix = f"`{shown(path)}`: " if path else ""
        yield f"{prefix}{detail}", getattr(detail, "code", "invalid")
