"""How an upstream can fail, as a value: the pipeline decides by it whether to try again and what the client hears."""

from enum import StrEnum


class FailureKind(StrEnum):
    """What went wrong between us and an upstream."""

    #: No connection: refused, unreachable, name not found, TLS refused, or lost before the first byte.
    CONNECT = "connect"
    #: Our time limits: connecting, first byte, silence between reads, or the whole call.
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    #: The upstream refuses us (401, 402, 403): a matter for the operator, never the client's.
    AUTH = "auth"
    #: The upstream knows neither the path nor its model: the operator's route is wrong.
    NOT_FOUND = "not_found"
    SERVER_ERROR = "server_error"
    #: The upstream refuses what the client sent (400, 413, 422).
    CLIENT_CONTENT = "client_content"
    #: An answer that is no answer: not JSON, the wrong shape, a redirect, too large.
    INVALID = "invalid"
    #: The connection ended in the middle of an answer.
    CUT = "cut"
    #: The upstream's name leads to an address that the operator has not allowed.
    PRIVATE_ADDRESS = "private_address"


class UpstreamFailure(Exception):  # noqa: N818 - the name is part of the contract between the parts of the gateway
    """A call to an upstream that failed.

    ``status`` is the upstream's HTTP status, if it came to one. ``retry_after`` is in seconds. ``code`` is a machine-readable
    reason where we recognised one (``context_length_exceeded``). ``detail`` is for our log only: it may name the upstream,
    so it never reaches a client; credentials are scrubbed from it. ``produced`` says whether content had come out.
    """

    def __init__(
        self,
        kind: FailureKind,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        code: str = "",
        produced: bool = False,
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.produced = produced

    def __str__(self) -> str:
        status = f" ({self.status})" if self.status is not None else ""
        return f"{self.kind}{status}: {self.detail}" if self.detail else f"{self.kind}{status}"

    @property
    def may_retry(self) -> bool:
        """Whether another route may be tried: nothing came out, and it was not the client's own content that was refused."""
        return not self.produced and self.kind is not FailureKind.CLIENT_CONTENT

    @property
    def may_retry_same_route(self) -> bool:
        """Whether the same route may be tried again: only what can pass by itself within a second."""
        return self.may_retry and self.kind in _PASSING


_PASSING = frozenset({FailureKind.CONNECT, FailureKind.SERVER_ERROR, FailureKind.CUT, FailureKind.INVALID})
