"""Asks an upstream that speaks Anthropic's protocol how many tokens a request's input has. It bills nothing for the answer."""

import asyncio
from contextlib import aclosing

import msgspec

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.types import UpstreamInfo
from gateway.upstreams.anthropic_messages import AnthropicMessagesCall
from gateway.upstreams.client import UpstreamClient

#: Seconds for all of it. Nobody waits long for a number that can be estimated.
TIME_LIMIT = 5.0


class AnthropicCountCall(AnthropicMessagesCall):
    """One count."""

    path = "/v1/messages/count_tokens"


class Counted(msgspec.Struct):
    """The answer, as far as we read it."""

    input_tokens: int


_decode = msgspec.json.Decoder(Counted).decode


async def count_upstream(
    client: UpstreamClient, upstream: UpstreamInfo, body: bytes, *, betas: tuple[str, ...] = ()
) -> int:
    """Return the upstream's own count for ``body``. Raises UpstreamFailure."""
    try:
        async with (
            asyncio.timeout(TIME_LIMIT),
            aclosing(AnthropicCountCall(client, upstream, body, stream=False, betas=betas)) as call,
        ):
            await call.start()
            counted = _decode(await call.read())
    except TimeoutError:
        raise UpstreamFailure(FailureKind.TIMEOUT, f"no count within {TIME_LIMIT} s") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamFailure(FailureKind.INVALID, "its count is no count") from None
    if counted.input_tokens < 0:
        raise UpstreamFailure(FailureKind.INVALID, "its count is below zero")
    return counted.input_tokens
