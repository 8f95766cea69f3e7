"""The adapter for upstreams that speak chat completions over HTTP."""

from typing import Any

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import whole_to_chunks
from gateway.protocols.openai_errors import failure_from_error, failure_from_status
from gateway.upstreams.http_call import HttpCall, decoded_object

DONE = b"[DONE]"


class OpenAIChatCall(HttpCall):
    """One chat completion."""

    path = "/chat/completions"

    def _up_to_end(self, payloads: list[bytes]) -> bool:
        if DONE not in payloads:
            return False
        del payloads[payloads.index(DONE) :]
        return True

    def _stream_of(self, body: bytes) -> list[bytes]:
        answer = decoded_object(body)
        if not answer.get("choices"):
            if answer.get("error"):
                raise failure_from_error(answer["error"], produced=False)
            raise UpstreamFailure(FailureKind.INVALID, "its answer is neither a stream nor a completion")
        return whole_to_chunks(answer)

    def _failure(self, status: int, error: Any, *, retry_after: float | None) -> UpstreamFailure:
        return failure_from_status(status, error, retry_after=retry_after)
