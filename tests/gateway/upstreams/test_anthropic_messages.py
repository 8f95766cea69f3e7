"""The adapter for Messages upstreams: where a call goes, what it carries, and where its stream ends."""

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.upstreams import FailureKind, UpstreamCall, UpstreamClient, UpstreamFailure, open_upstream
from gateway.upstreams.anthropic_messages import MAX_BETAS, allowed_betas
from tests.fakes import upstream as fakes
from tests.fakes.upstream import FakeUpstream
from tests.gateway.upstreams.calls import CREDENTIAL, Collector, route_to, upstream_at

BODY = b'{"model":"up-model","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}'
MESSAGE = {
    "id": "msg_theirs",
    "type": "message",
    "role": "assistant",
    "model": "up-model",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 4, "output_tokens": 1},
}
EVENTS = [
    b'{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"up-model","content":[],'
    b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":4,"output_tokens":1}}}',
    b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"the \\"message_stop\\" event"}}',
    b'{"type":"content_block_stop","index":0}',
    b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}',
    b'{"type":"message_stop"}',
]


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    """A client that is open."""
    async with UpstreamClient() as made:
        yield made


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    """An upstream on loopback."""
    async with FakeUpstream() as made:
        yield made


def opened(
    client: UpstreamClient, fake: FakeUpstream, *, stream: bool = False, betas: tuple[str, ...] = ()
) -> UpstreamCall:
    """Open a call of the fake, whose base URL ends before /v1."""
    upstream = upstream_at(fake.base_url.removesuffix("/v1"), provider="anthropic", protocol="anthropic_messages")
    return open_upstream(client, route_to(upstream), BODY, stream=stream, betas=betas)


def framed(events: list[bytes]) -> bytes:
    """Return events as they stand on the wire."""
    return b"".join(b"event: %s\ndata: %s\n\n" % (json.loads(event)["type"].encode(), event) for event in events)


async def payloads_of(client: UpstreamClient, fake: FakeUpstream) -> list[bytes]:
    """Stream an answer."""
    call, payloads = opened(client, fake, stream=True), []  # type: UpstreamCall, list[bytes]
    try:
        await call.start()
        await call.pour(Collector(payloads))
    finally:
        await call.aclose()
    return payloads


async def test_a_call_goes_to_v1_messages_with_the_key_in_its_own_header(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    fake.script(fakes.garbage(json.dumps(MESSAGE).encode()))
    call = opened(client, fake, betas=("interleaved-thinking-2025-05-14", "effort-2025-11-24"))
    await call.start()
    assert json.loads(await call.read()) == MESSAGE
    await call.aclose()
    (seen,) = fake.requests
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/messages", BODY)
    assert seen.headers["x-api-key"] == CREDENTIAL
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert seen.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14,effort-2025-11-24"
    assert "authorization" not in seen.headers


async def test_without_betas_there_is_no_header_for_them(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.garbage(json.dumps(MESSAGE).encode()))
    call = opened(client, fake)
    await call.start()
    await call.aclose()
    assert "anthropic-beta" not in fake.requests[0].headers


async def test_a_stream_ends_at_its_stop_and_not_where_content_speaks_of_it(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    fake.script(fakes.raw_stream(framed([*EVENTS, b'{"type":"ping"}'])))
    assert await payloads_of(client, fake) == EVENTS


async def test_a_stream_without_its_stop_is_cut(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.raw_stream(framed(EVENTS[:-1])))
    with pytest.raises(UpstreamFailure) as caught:
        await payloads_of(client, fake)
    assert caught.value.kind is FailureKind.CUT


async def test_a_whole_message_where_a_stream_was_asked_for_becomes_one(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    fake.script(fakes.garbage(json.dumps(MESSAGE).encode()))
    kinds = [json.loads(payload)["type"] for payload in await payloads_of(client, fake)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, FailureKind.RATE_LIMITED),
        ({"completion": "hello"}, FailureKind.INVALID),
    ],
)
async def test_a_whole_answer_that_is_no_message_is_a_failure(
    fake: FakeUpstream, client: UpstreamClient, answer: dict[str, Any], kind: FailureKind
) -> None:
    fake.script(fakes.garbage(json.dumps(answer).encode()))
    with pytest.raises(UpstreamFailure) as caught:
        await payloads_of(client, fake)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("status", "error", "kind", "code"),
    [
        (
            400,
            "prompt is too long: 205000 tokens > 200000 maximum",
            FailureKind.CLIENT_CONTENT,
            "context_length_exceeded",
        ),
        (401, "invalid x-api-key", FailureKind.AUTH, ""),
        (404, "model: up-model", FailureKind.NOT_FOUND, ""),
        (429, "slow down", FailureKind.RATE_LIMITED, ""),
        (529, "Overloaded", FailureKind.RATE_LIMITED, ""),
        (500, "Internal server error", FailureKind.SERVER_ERROR, ""),
    ],
)
async def test_a_refusal_is_read_by_its_status(
    fake: FakeUpstream, client: UpstreamClient, status: int, error: str, kind: FailureKind, code: str
) -> None:
    fake.script(fakes.status(status, {"type": "some_error", "message": error}))
    with pytest.raises(UpstreamFailure) as caught:
        await payloads_of(client, fake)
    assert (caught.value.kind, caught.value.status, caught.value.code) == (kind, status, code)


async def test_azure_gets_its_key_in_its_own_header(fake: FakeUpstream, client: UpstreamClient) -> None:
    upstream = dataclasses.replace(upstream_at(fake.base_url), provider="azure")
    call = open_upstream(client, route_to(upstream), BODY, stream=False)
    await call.start()
    await call.aclose()
    assert fake.requests[0].headers["api-key"] == CREDENTIAL
    assert "authorization" not in fake.requests[0].headers


def test_betas_pass_that_cost_nothing_more_and_reach_nothing_that_is_kept() -> None:
    given = [
        (b"anthropic-beta", b"claude-code-20250219, context-1m-2025-08-07,interleaved-thinking-2025-05-14"),
        (b"user-agent", b"x"),
        (
            b"anthropic-beta",
            b"files-api-2025-04-14,compact-2026-01-12,tool-search-tool-1,effort-2025-11-24\r\nX-Evil: 1,effort-2025-11-24",
        ),
    ]
    assert allowed_betas(given) == (
        "claude-code-20250219",
        "interleaved-thinking-2025-05-14",
        "effort-2025-11-24",
    )


def test_betas_are_limited_in_number() -> None:
    many = ",".join(f"effort-{number}" for number in range(100)).encode()
    assert len(allowed_betas([(b"anthropic-beta", many)])) == MAX_BETAS
