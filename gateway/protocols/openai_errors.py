"""Error objects of OpenAI-protocol upstreams, read into failures of ours; and error events that we write into streams."""

from typing import Any

from gateway.protocols.failures import FailureKind, UpstreamFailure

MAX_DETAIL = 500
#: What some providers say instead of the code "context_length_exceeded".
_TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "prompt is too long",
    "exceed context limit",
    "too many tokens",
)
_KINDS = {
    400: FailureKind.CLIENT_CONTENT,
    401: FailureKind.AUTH,
    402: FailureKind.AUTH,
    403: FailureKind.AUTH,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    413: FailureKind.CLIENT_CONTENT,
    422: FailureKind.CLIENT_CONTENT,
    429: FailureKind.RATE_LIMITED,
    504: FailureKind.TIMEOUT,
    524: FailureKind.TIMEOUT,
}


def failure_from_status(status: int, error: Any, *, retry_after: float | None = None) -> UpstreamFailure:
    """Return the failure for an answer that is not 200; ``error`` is its error object, decoded, or its text."""
    kind = kind_of_status(status)
    detail, code = detail_of(error), ""
    if kind is FailureKind.CLIENT_CONTENT:
        code = code_of(detail)
    return UpstreamFailure(kind, detail, status=status, retry_after=retry_after, code=code)


def failure_from_error(error: Any, *, produced: bool) -> UpstreamFailure:
    """Return the failure for an error object that came with status 200, in a stream or as a whole answer."""
    detail = detail_of(error)
    marks = (
        f"{error.get('code', '')} {error.get('type', '')} {error.get('status', '')}" if isinstance(error, dict) else ""
    )
    kind, code = FailureKind.SERVER_ERROR, code_of(detail)
    if "rate_limit" in marks or "429" in marks or "overloaded" in marks:
        kind = FailureKind.RATE_LIMITED
    elif code:
        kind = FailureKind.CLIENT_CONTENT
    return UpstreamFailure(kind, detail, code=code, produced=produced)


def stream_error(error_body: bytes) -> bytes:
    """Return the event that tells the client, in the stream's own protocol, that the stream has failed."""
    return b"data: " + error_body + b"\n\n"


def kind_of_status(status: int) -> FailureKind:
    """Return the kind of failure that an HTTP status other than 200 is."""
    return _KINDS.get(status, FailureKind.SERVER_ERROR if status >= 500 else FailureKind.INVALID)


def code_of(detail: str) -> str:
    """Return our code for a refusal that we recognise, else an empty string."""
    lowered = detail.lower()
    return "context_length_exceeded" if any(mark in lowered for mark in _TOO_LONG) else ""


def detail_of(error: Any) -> str:
    """Return an error in one line: upstreams quote what clients sent, and that may not write lines of our log."""
    text = str(error)
    if isinstance(error, dict):
        text = ": ".join(str(error[name]) for name in ("code", "type", "param", "message") if error.get(name)) or text
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_DETAIL])
