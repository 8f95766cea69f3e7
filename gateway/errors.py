"""Errors as clients see them: one body for everyone, and the table from status to type (docs/guide/errors.md). Pure."""

from collections.abc import Sequence

import msgspec

from lumyx.lib.redaction import redact

Header = tuple[bytes, bytes]

TYPE_BY_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "authorization_error",
    404: "not_found_error",
    429: "rate_limit_error",
}

#: Tells the official SDKs that asking again cannot help (they honour this header before their own rules).
DO_NOT_RETRY: Header = (b"x-should-retry", b"false")


def error_type(status: int) -> str:
    """Return the ``type`` of an error body for an HTTP status."""
    if status >= 500:
        return "server_error"
    return TYPE_BY_STATUS.get(status, "invalid_request_error")


class ApiError(Exception):
    """A refusal or failure with its status, stable code, and a message that says what to do."""

    def __init__(self, status: int, code: str, message: str, *, headers: Sequence[Header] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = list(headers)

    def body(self, request_id: str) -> bytes:
        """Return the JSON body: the contract's shape, plus a top-level type for Anthropic's clients."""
        return msgspec.json.encode(
            {
                "type": "error",
                "error": {"message": self.message, "type": error_type(self.status), "code": self.code},
                "request_id": request_id,
            }
        )


def retry_after(seconds: int) -> Header:
    """Return a retry-after header in whole seconds."""
    return (b"retry-after", str(seconds).encode())


def shown(text: str) -> str:
    """Return what a client sent as it may stand in a message: short, and without the key that was put in the wrong place."""
    return redact(text)[:200]


def not_found(path: str) -> ApiError:
    """Return the error for a path that no endpoint serves."""
    return ApiError(404, "not_found", f"There is no endpoint at {shown(path)}. See /docs for the ones there are.")


def unavailable(message: str = "The service cannot answer right now. Try again in a few seconds.") -> ApiError:
    """Return the error for an outage of ours (never a 401: the key may be fine)."""
    return ApiError(503, "unavailable", message, headers=[retry_after(2)])


def internal_error() -> ApiError:
    """Return the error for a bug of ours."""
    return ApiError(500, "internal_error", "Something went wrong on our side. It was logged; try again.")
