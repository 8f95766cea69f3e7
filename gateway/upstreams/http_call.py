"""What all calls over HTTP have in common: one request, its refusal or its answer, whole or as the events of a stream."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.sse import SseParser
from gateway.types import UpstreamInfo
from gateway.upstreams.answer import Answer
from gateway.upstreams.client import MAX_ERROR_BODY, UpstreamClient
from gateway.upstreams.profiles import profile_of
from gateway.upstreams.taker import Taker, hand_over
from gateway.upstreams.target import Auth

#: A profile's way of sending a credential.
AUTH = {"bearer": Auth.BEARER, "api-key": Auth.API_KEY, "x-api-key": Auth.X_API_KEY}
MAX_RETRY_AFTER = 3600.0
#: What a decode raises for bytes that are no JSON, no UTF-8, or nested without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class HttpCall(ABC):
    """One call. ``start``, then ``pour`` for a stream or ``read`` for a whole answer, then ``aclose``."""

    path: ClassVar[str]
    auth: ClassVar[Auth] = Auth.BEARER

    def __init__(
        self, client: UpstreamClient, upstream: UpstreamInfo, body: bytes, *, stream: bool, headers: str = ""
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._stream = stream
        self._body = body
        self._headers = headers
        self._answer: Answer | None = None
        self._complete = False

    @classmethod
    def auth_for(cls, upstream: UpstreamInfo) -> Auth:
        """Return how an upstream wants its credential: its provider's way, else its protocol's."""
        return AUTH.get(profile_of(upstream.provider).auth, cls.auth)

    @property
    def stops_billing_on_cancel(self) -> bool:
        """Whether the provider stops producing when the connection is dropped; else it is to be read to its end."""
        return profile_of(self._upstream.provider).stops_billing_on_cancel

    async def start(self) -> None:
        """Send the request; return when status and headers are known. Raises UpstreamFailure for any status but 200."""
        accept = "text/event-stream" if self._stream else "application/json"
        answer = await self._client.post(
            self._upstream,
            self.path,
            self._body,
            accept=accept,
            auth=self.auth_for(self._upstream),
            headers=self._headers,
        )
        self._answer = answer
        self._body = b""
        if answer.status != 200:
            raise await self._refusal(answer)
        if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise UpstreamFailure(FailureKind.INVALID, "its answer is compressed, though we asked for none", status=200)

    async def pour(self, taker: Taker) -> None:
        """Give ``taker`` the data payloads of the stream; stop at its proper end, or when it has enough.

        Raises UpstreamFailure (cut) when the stream ends without it, and (timeout) for silence.
        """
        answer = self._started()
        if "json" in answer.content_type:
            # Some upstreams ignore that a stream was asked for, and some report errors so.
            await hand_over(self._stream_of(await self.read()), taker)
            return
        parser = SseParser()

        def sink(data: bytes) -> bool:
            return self._take(parser.feed(data), taker)

        while True:
            is_over = await answer.pour(sink)
            if is_over:
                self._take(parser.finish(), taker)
            if not await taker.catch_up() or self._complete:
                return
            if is_over:
                raise UpstreamFailure(FailureKind.CUT, "its stream ended without its end mark")

    async def read(self) -> bytes:
        """Return the whole answer's body. Raises UpstreamFailure."""
        body = await self._client.read(self._started())
        self._complete = True
        return body

    async def aclose(self) -> None:
        """Let the connection go: kept if the answer was complete, dropped if not. May be called twice."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if self._complete:
            self._client.finish(answer)
        else:
            answer.close()

    # --- what differs between protocols -------------------------------------------------------------------------------

    @abstractmethod
    def _up_to_end(self, payloads: list[bytes]) -> bool:
        """Cut ``payloads`` where the stream ends, in place; return whether it does."""
        ...

    @abstractmethod
    def _stream_of(self, body: bytes) -> list[bytes]:
        """Return the payloads of the stream that a whole answer amounts to. Raises UpstreamFailure."""
        ...

    @abstractmethod
    def _failure(self, status: int, error: Any, *, retry_after: float | None) -> UpstreamFailure:
        """Return the failure for a status that is not 200; ``error`` is the decoded error object, or text."""
        ...

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take(self, payloads: list[bytes], taker: Taker) -> bool:
        """Pass payloads on; return whether the next ones can come at once."""
        self._complete = self._up_to_end(payloads)
        return (not payloads or taker.take(payloads)) and not self._complete

    def _started(self) -> Answer:
        if self._answer is None:
            raise RuntimeError("start() has not been awaited, or the call is closed")
        return self._answer

    async def _refusal(self, answer: Answer) -> UpstreamFailure:
        try:
            body = await self._client.read(answer, at_most=MAX_ERROR_BODY)
            self._complete = True
        except UpstreamFailure:
            body = b""
        # Some providers quote the key that they refuse.
        error = _error_in(body.replace(self._upstream.credential.encode() or b"\xff", b"***"))
        return self._failure(answer.status, error, retry_after=_seconds(answer.headers.get("retry-after")))


def decoded_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises UpstreamFailure for anything else."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        raise UpstreamFailure(FailureKind.INVALID, "its answer is not JSON") from None
    if not isinstance(answer, dict):
        raise UpstreamFailure(FailureKind.INVALID, "its answer is not an object")
    return answer


def _error_in(body: bytes) -> Any:
    """Return the error object of a body, or its text."""
    try:
        decoded = msgspec.json.decode(body)
    except UNREADABLE:
        return body.decode(errors="replace")
    return decoded.get("error", decoded) if isinstance(decoded, dict) else decoded


def _seconds(header: str | None) -> float | None:
    """Return a retry-after header in seconds, capped; None for dates and nonsense."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return min(seconds, MAX_RETRY_AFTER) if seconds >= 0 else None
