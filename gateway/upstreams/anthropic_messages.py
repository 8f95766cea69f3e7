"""The adapter for upstreams that speak Anthropic's Messages protocol over HTTP. Their base URL ends before ``/v1``."""

from collections.abc import Iterable
from typing import Any

from gateway.protocols.anthropic_errors import failure_from_messages_error
from gateway.protocols.anthropic_fold import message_to_events
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.types import UpstreamInfo
from gateway.upstreams.client import UpstreamClient
from gateway.upstreams.http_call import HttpCall, decoded_object
from gateway.upstreams.target import Auth

VERSION_HEADER = "Anthropic-Version: 2023-06-01\r\n"
#: Beta features that a client may switch on at the upstream, by what their names begin with: they change the form of a request or
#: of an answer. Not among them: what costs more than it was priced at (context-1m, fast-mode, compact), and what runs
#: at the upstream or works on things that it keeps (files-api, skills, mcp-client, code-execution, tool-search-tool).
BETAS = (
    "advanced-tool-use-",
    "claude-code-",
    "computer-use-",
    "context-management-",
    "effort-",
    "extended-cache-ttl-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "output-128k-",
    "pdfs-",
    "prompt-caching-",
    "structured-outputs-",
    "token-counting-",
    "token-efficient-tools-",
    "tool-examples-",
)
MAX_BETAS = 30
_STOP = b'"message_stop"'
#: A stop event is short; anything longer with these letters in it is content.
_STOP_SIZE = 64


def allowed_betas(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """Return the beta features of a request's ``anthropic-beta`` headers that we pass on, in their order."""
    found: dict[str, None] = {}
    for name, value in headers:
        if name == b"anthropic-beta":
            for part in value.decode("latin-1").split(","):
                beta = part.strip()
                if beta.startswith(BETAS) and beta.replace("-", "").replace(".", "").isalnum() and beta.isascii():
                    found[beta] = None
    return tuple(found)[:MAX_BETAS]


class AnthropicMessagesCall(HttpCall):
    """One message. ``betas`` are what ``allowed_betas`` let through."""

    path = "/v1/messages"
    auth = Auth.X_API_KEY

    def __init__(
        self, client: UpstreamClient, upstream: UpstreamInfo, body: bytes, *, stream: bool, betas: tuple[str, ...] = ()
    ) -> None:
        headers = VERSION_HEADER + (f"Anthropic-Beta: {','.join(betas)}\r\n" if betas else "")
        super().__init__(client, upstream, body, stream=stream, headers=headers)

    def _up_to_end(self, payloads: list[bytes]) -> bool:
        # The stop is an event of its own and belongs to the answer; what follows it does not.
        for position, payload in enumerate(payloads):
            if len(payload) <= _STOP_SIZE and _STOP in payload:
                del payloads[position + 1 :]
                return True
        return False

    def _stream_of(self, body: bytes) -> list[bytes]:
        message = decoded_object(body)
        if message.get("type") == "error":
            raise failure_from_messages_error(message)
        if message.get("type") != "message":
            raise UpstreamFailure(FailureKind.INVALID, "its answer is neither a stream nor a message")
        return message_to_events(message)

    def _failure(self, status: int, error: Any, *, retry_after: float | None) -> UpstreamFailure:
        return failure_from_messages_error(error, status=status, retry_after=retry_after)
