"""How the strict upstream says no: a status and the error body of the real provider, in words that must not reach a client."""

from typing import Any

#: Stands in every word, id and header of the strict upstream that is its own; a client that sees it has seen a leak.
MARK = "zyxgard"


class RefusedError(Exception):
    """A request that the provider would refuse."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        #: ``param`` and ``code``, where the protocol has them.
        self.more = more

    def chat_body(self) -> dict[str, Any]:
        """Return the body as the chat completions API sends it."""
        return {
            "error": {
                "message": f"{self.message} ({MARK})",
                "type": self.kind,
                "param": self.more.get("param"),
                "code": self.more.get("code"),
            }
        }

    def messages_body(self) -> dict[str, Any]:
        """Return the body as the Messages API sends it."""
        error = {"type": self.kind, "message": f"{self.message} ({MARK})"}
        return {"type": "error", "error": error, "request_id": f"req_{MARK}"}


def unknown_in(given: dict[str, Any], known: frozenset[str], *, path: str = "") -> str | None:
    """Return the path of the first key that is not known."""
    for name in given:
        if name not in known:
            return f"{path}{name}"
    return None


def object_of(value: Any, path: str) -> dict[str, Any]:
    """Return an object. Raises RefusedError for anything else."""
    if not isinstance(value, dict):
        raise RefusedError(400, f"Invalid type for '{path}': expected an object.", param=path, code="invalid_type")
    return value


def list_of(value: Any, path: str) -> list[Any]:
    """Return a list. Raises RefusedError for anything else."""
    if not isinstance(value, list):
        raise RefusedError(400, f"Invalid type for '{path}': expected an array.", param=path, code="invalid_type")
    return value
