"""What every answer of the API owes to whoever asked, however badly: no failure of ours, one shape of error, no key in it."""

import json
from collections.abc import Mapping

from gateway.errors import error_type


def fault_of(*, status: int, headers: Mapping[str, str], body: bytes, key: str) -> str:
    """Return what is wrong with an answer to a request that bore ``key``; empty when nothing is."""
    if key in body.decode(errors="replace") + str(dict(headers)):
        return "the key is echoed"
    if status >= 500 or b'"internal_error"' in body:
        return f"status {status}: {body[:200]!r}"
    if not headers.get("x-request-id"):
        return f"no request id, status {status}: {body[:200]!r}"
    return "" if status == 200 else _fault_of_refusal(status, headers["x-request-id"], body)


def _fault_of_refusal(status: int, request_id: str, body: bytes) -> str:
    try:
        told = json.loads(body)
        error = told["error"]
        is_right = (
            set(told) == {"type", "error", "request_id"}
            and set(error) == {"message", "type", "code"}
            and told["type"] == "error"
            and told["request_id"] == request_id
            and error["type"] == error_type(status)
            and bool(error["code"])
            and bool(error["message"])
        )
    except (ValueError, LookupError, TypeError):
        is_right = False
    return "" if is_right else f"not the shape of an error, status {status}: {body[:200]!r}"
