"""Short ways to call an upstream in tests."""

import dataclasses
import json
import math
from typing import Any

from gateway.protocols.generation import Target
from gateway.protocols.openai_chat import ChatRequest, parse_chat_request
from gateway.translate.chat_over_chat import body_for
from gateway.types import RouteInfo, UpstreamInfo
from gateway.upstreams import UpstreamCall, UpstreamClient, open_upstream
from gateway.upstreams.profiles import profile_of

CREDENTIAL = "sk-upstream-secret"


def upstream_at(base_url: str, **changes: Any) -> UpstreamInfo:
    """Return an upstream at ``base_url`` with short time limits, allowed to be on loopback."""
    info = UpstreamInfo(
        id=1,
        name="fake",
        provider="openai-compatible",
        protocol="openai_chat",
        base_url=base_url,
        credential=CREDENTIAL,
        allow_private_network=True,
        connect_timeout=2.0,
        first_byte_timeout=2.0,
        idle_timeout=2.0,
        total_timeout=5.0,
    )
    return dataclasses.replace(info, **changes)


def route_to(upstream: UpstreamInfo, model: str = "up-model") -> RouteInfo:
    """Return a route to that upstream."""
    return RouteInfo(upstream=upstream, upstream_model=model, priority=1, weight=100)


def chat(content: Any = "Hello", **fields: Any) -> ChatRequest:
    """Return a parsed request of one user message."""
    body = {"model": "public", "messages": [{"role": "user", "content": content}], **fields}
    return parse_chat_request(json.dumps(body).encode())


def open_call(
    client: UpstreamClient,
    upstream: UpstreamInfo,
    request: ChatRequest,
    *,
    max_tokens: int | None = None,
    model: str = "up-model",
) -> UpstreamCall:
    """Open the call of a chat request, its body made as the pipeline makes it."""
    body = body_for(request, Target(model=model, profile=profile_of(upstream.provider), max_tokens=max_tokens))
    return open_upstream(client, route_to(upstream, model), body, stream=request.stream)


class Collector:
    """A taker that keeps what it gets, until ``enough`` bytes have come."""

    def __init__(self, payloads: list[bytes], *, enough: float = math.inf) -> None:
        self.payloads = payloads
        self.enough = enough
        self.size = 0

    def take(self, payloads: list[bytes]) -> bool:
        self.payloads.extend(payloads)
        self.size += sum(map(len, payloads))
        return self.size < self.enough

    async def catch_up(self) -> bool:
        return self.size < self.enough


async def read_whole(client: UpstreamClient, upstream: UpstreamInfo, request: ChatRequest | None = None) -> bytes:
    """Call for a whole answer and close."""
    call = open_call(client, upstream, request or chat())
    try:
        await call.start()
        return await call.read()
    finally:
        await call.aclose()


async def read_stream(
    client: UpstreamClient, upstream: UpstreamInfo, request: ChatRequest | None = None
) -> list[bytes]:
    """Call for a stream, read it to its end, and close."""
    call = open_call(client, upstream, request or chat(stream=True))
    payloads: list[bytes] = []
    try:
        await call.start()
        await call.pour(Collector(payloads))
    finally:
        await call.aclose()
    return payloads
