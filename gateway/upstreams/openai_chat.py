"""The adapter for upstreams that speak chat completions over HTTP."""

from typing import Any

import msgspec

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import ChatRequest, upstream_body, whole_to_chunks
from gateway.protocols.openai_errors import failure_from_error, failure_from_status
from gateway.protocols.sse import SseParser
from gateway.types import RouteInfo
from gateway.upstreams.answer import Answer
from gateway.upstreams.client import MAX_ERROR_BODY, UpstreamClient
from gateway.upstreams.profiles import profile_of
from gateway.upstreams.taker import Taker, hand_over

DONE = b"[DONE]"
MAX_RETRY_AFTER = 3600.0
#: What a decode raises for bytes that are no JSON, no UTF-8, or nested without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class OpenAIChatCall:
    """One call. ``start``, then ``pour`` for a stream or ``read`` for a whole answer, then ``aclose``."""

    def __init__(
        self, client: UpstreamClient, route: RouteInfo, request: ChatRequest, *, max_tokens: int | None
    ) -> None:
        self._client = client
        self._upstream = route.upstream
        self._profile = profile_of(route.upstream.provider)
        self._stream = request.stream
        self._body = self._body_for(request, route.upstream_model, max_tokens)
        self._answer: Answer | None = None
        self._complete = False

    @property
    def stops_billing_on_cancel(self) -> bool:
        """Whether the provider stops producing when the connection is dropped; else it is to be read to its end."""
        return self._profile.stops_billing_on_cancel

    async def start(self) -> None:
        """Send the request; return when status and headers are known. Raises UpstreamFailure for any status but 200."""
        accept = "text/event-stream" if self._stream else "application/json"
        answer = await self._client.post(self._upstream, "/chat/completions", self._body, accept=accept)
        self._answer = answer
        self._body = b""
        if answer.status != 200:
            raise await self._refusal(answer)
        if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise UpstreamFailure(FailureKind.INVALID, "its answer is compressed, though we asked for none", status=200)

    async def pour(self, taker: Taker) -> None:
        """Give ``taker`` the data payloads of the stream; end at ``[DONE]``, or when it has enough.

        Raises UpstreamFailure (cut) when the stream ends without it, and (timeout) for silence.
        """
        answer = self._started()
        if "json" in answer.content_type:
            await hand_over(await self._whole_as_stream(), taker)
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
                raise UpstreamFailure(FailureKind.CUT, "its stream ended without [DONE]")

    def _take(self, payloads: list[bytes], taker: Taker) -> bool:
        """Pass payloads on; return whether the next ones can come at once."""
        if DONE in payloads:
            self._complete = True
            del payloads[payloads.index(DONE) :]
        return (not payloads or taker.take(payloads)) and not self._complete

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

    def _started(self) -> Answer:
        if self._answer is None:
            raise RuntimeError("start() has not been awaited, or the call is closed")
        return self._answer

    def _body_for(self, request: ChatRequest, model: str, max_tokens: int | None) -> bytes:
        profile = self._profile
        if max_tokens is None and request.max_tokens_field not in (None, profile.max_tokens_field):
            # An explicit limit in a field that the upstream does not read would be no limit at all.
            max_tokens = None if profile.reads_both_fields else request.max_tokens
        return upstream_body(
            request,
            model=model,
            max_tokens=max_tokens,
            force_usage=profile.accepts_stream_options,
            max_tokens_field=profile.max_tokens_field,
        )

    async def _whole_as_stream(self) -> list[bytes]:
        """Return the chunks of a whole answer: some upstreams ignore ``stream``, and some report errors so."""
        try:
            answer = msgspec.json.decode(await self.read())
        except UNREADABLE:
            raise UpstreamFailure(FailureKind.INVALID, "its answer is not JSON") from None
        if not isinstance(answer, dict) or not answer.get("choices"):
            error = answer.get("error") if isinstance(answer, dict) else None
            if error:
                raise failure_from_error(error, produced=False)
            raise UpstreamFailure(FailureKind.INVALID, "its answer is neither a stream nor a completion")
        return whole_to_chunks(answer)

    async def _refusal(self, answer: Answer) -> UpstreamFailure:
        try:
            body = await self._client.read(answer, at_most=MAX_ERROR_BODY)
            self._complete = True
        except UpstreamFailure:
            body = b""
        # Some providers quote the key that they refuse.
        error = _error_in(body.replace(self._upstream.credential.encode() or b"\xff", b"***"))
        return failure_from_status(answer.status, error, retry_after=_seconds(answer.headers.get("retry-after")))


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
