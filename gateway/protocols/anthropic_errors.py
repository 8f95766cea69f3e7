"""Error objects of Messages upstreams, read into failures of ours; and the error event that we write into streams."""

from typing import Any

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_errors import code_of, detail_of, kind_of_status

#: By what an error says of itself: it counts where no status says more, as in a stream.
_KINDS_BY_TYPE = {
    "invalid_request_error": FailureKind.CLIENT_CONTENT,
    "request_too_large": FailureKind.CLIENT_CONTENT,
    "authentication_error": FailureKind.AUTH,
    "permission_error": FailureKind.AUTH,
    "billing_error": FailureKind.AUTH,
    "not_found_error": FailureKind.NOT_FOUND,
    "rate_limit_error": FailureKind.RATE_LIMITED,
    "overloaded_error": FailureKind.RATE_LIMITED,
    "timeout_error": FailureKind.TIMEOUT,
    "api_error": FailureKind.SERVER_ERROR,
}
#: Anthropic's own status for "overloaded".
_OVERLOADED = 529
#: An account without money is refused with 400 and invalid_request_error, but it is the operator's account.
_OUR_BILL = "credit balance"


def failure_from_messages_error(
    error: Any, *, status: int | None = None, retry_after: float | None = None, produced: bool = False
) -> UpstreamFailure:
    """Return the failure for an error: the body of an answer that is not 200, or an event of a stream.

    ``error`` is decoded JSON (the whole body, or the object in its ``error``), or text that was none.
    """
    if isinstance(error, dict) and error.get("error"):
        error = error["error"]
    detail = detail_of(error)
    code = code_of(detail)
    kind = _kind_of(error, status)
    if _OUR_BILL in detail.lower():
        kind = FailureKind.AUTH
    elif code and kind is FailureKind.SERVER_ERROR and status is None:
        kind = FailureKind.CLIENT_CONTENT
    if kind is not FailureKind.CLIENT_CONTENT:
        code = ""
    return UpstreamFailure(kind, detail, status=status, retry_after=retry_after, code=code, produced=produced)


def messages_error_event(body: bytes) -> bytes:
    """Return the event that tells the client, in the stream's own protocol, that the stream has failed."""
    return b"event: error\ndata: " + body + b"\n\n"


def _kind_of(error: Any, status: int | None) -> FailureKind:
    name = error.get("type") if isinstance(error, dict) else None
    if status is None:
        return _KINDS_BY_TYPE.get(name, FailureKind.SERVER_ERROR) if isinstance(name, str) else FailureKind.SERVER_ERROR
    if status == _OVERLOADED:
        return FailureKind.RATE_LIMITED
    return kind_of_status(status)
