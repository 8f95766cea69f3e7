"""Talking to providers: one call of one route, whatever protocol its upstream speaks."""

from typing import Protocol

from gateway.types import RouteInfo
from gateway.upstreams.anthropic_messages import AnthropicMessagesCall
from gateway.upstreams.client import UpstreamClient
from gateway.upstreams.failures import FailureKind, UpstreamFailure
from gateway.upstreams.openai_chat import OpenAIChatCall
from gateway.upstreams.openai_embeddings import OpenAIEmbeddingsCall
from gateway.upstreams.sandbox import SandboxCall
from gateway.upstreams.sandbox_embeddings import SandboxEmbeddingsCall
from gateway.upstreams.taker import Taker

__all__ = [
    "FailureKind",
    "Taker",
    "UpstreamCall",
    "UpstreamClient",
    "UpstreamFailure",
    "open_embeddings",
    "open_upstream",
]


class UpstreamCall(Protocol):
    """One call to an upstream. Every method raises UpstreamFailure for what the upstream did."""

    @property
    def stops_billing_on_cancel(self) -> bool:
        """Whether closing early ends the provider's bill; else the call is to be read to its end."""
        ...

    async def start(self) -> None:
        """Send the request and return when the answer's status and headers are known."""
        ...

    async def pour(self, taker: Taker) -> None:
        """Give ``taker`` the data payloads of a stream, up to its proper end or until the taker has enough."""
        ...

    async def read(self) -> bytes:
        """Return the body of a whole answer."""
        ...

    async def aclose(self) -> None:
        """Let the connection go; drop it if the answer was not read to its end. May be called twice."""
        ...


def open_upstream(
    client: UpstreamClient, route: RouteInfo, body: bytes, *, stream: bool, betas: tuple[str, ...] = ()
) -> UpstreamCall:
    """Return the call of ``route`` with ``body``, which its protocol's translator made; not yet started. Raises UpstreamFailure.

    ``betas`` are features of Anthropic's protocol; the others know none.
    """
    protocol = route.upstream.protocol
    if protocol == "openai_chat":
        return OpenAIChatCall(client, route.upstream, body, stream=stream)
    if protocol == "anthropic_messages":
        return AnthropicMessagesCall(client, route.upstream, body, stream=stream, betas=betas)
    if protocol == "sandbox":
        return SandboxCall(route, body)
    raise UpstreamFailure(FailureKind.INVALID, f"no adapter speaks {protocol!r}")


def open_embeddings(client: UpstreamClient, route: RouteInfo, body: bytes) -> UpstreamCall:
    """Return the call of ``route`` for embeddings, not yet started. Raises UpstreamFailure for upstreams that have none."""
    protocol = route.upstream.protocol
    if protocol == "openai_chat":
        return OpenAIEmbeddingsCall(client, route.upstream, body, stream=False)
    if protocol == "sandbox":
        return SandboxEmbeddingsCall(route, body)
    raise UpstreamFailure(FailureKind.INVALID, f"no adapter gets embeddings from {protocol!r}")
