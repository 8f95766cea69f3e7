"""The HTTP client and the chat completions adapter against a real server on loopback that misbehaves in every known way."""

import asyncio
import json
import logging
import socket
from typing import Any

import aiohttp
import pytest

from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure, open_upstream
from gateway.upstreams import client as client_module
from tests.fakes import upstream as fakes
from tests.fakes.upstream import FakeUpstream
from tests.gateway.upstreams.calls import CREDENTIAL, chat, read_stream, read_whole, route_to, upstream_at


async def _failure(awaitable: Any) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await awaitable
    return caught.value


async def test_a_whole_answer_comes_back_as_the_upstream_sent_it(fake: FakeUpstream, client: UpstreamClient) -> None:
    body = await read_whole(client, upstream_at(fake.base_url))
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello there."


async def test_the_request_holds_only_what_the_upstream_needs(fake: FakeUpstream, client: UpstreamClient) -> None:
    await read_whole(client, upstream_at(fake.base_url), chat(temperature=0.5, unknown={"kept": [1]}))
    seen = fake.requests[0]
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.json == {
        "model": "up-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "unknown": {"kept": [1]},
    }
    assert set(seen.headers) == {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
    }
    assert seen.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert seen.headers["user-agent"] == "lumyx"
    assert seen.headers["accept-encoding"] == "identity"


async def test_an_upstream_without_a_credential_gets_no_authorization(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    await read_whole(client, upstream_at(fake.base_url, credential=""))
    assert "authorization" not in fake.requests[0].headers


async def test_a_stream_comes_in_batches_up_to_done(fake: FakeUpstream, client: UpstreamClient) -> None:
    payloads = await read_stream(client, upstream_at(fake.base_url))
    assert payloads == fakes.chunks_of(["Hello", " there", "."], model="up-model")
    assert fake.requests[0].json["stream_options"] == {"include_usage": True}


async def test_an_upstream_that_knows_no_stream_options_is_not_sent_any(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    await read_stream(client, upstream_at(fake.base_url, provider="mistral"))
    assert "stream_options" not in fake.requests[0].json


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_every_line_end_is_understood(fake: FakeUpstream, client: UpstreamClient, line_end: bytes) -> None:
    fake.script(fakes.stream(["a", "b"], line_end=line_end))
    assert len(await read_stream(client, upstream_at(fake.base_url))) == 5


async def test_a_connection_is_used_again_after_a_whole_answer_and_after_a_stream(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    upstream = upstream_at(fake.base_url)
    for _ in range(3):
        await read_whole(client, upstream)
        await read_stream(client, upstream)
        await asyncio.sleep(0.05)  # the end of a stream's HTTP body may come a moment after [DONE]
    assert fake.connections == 1


async def test_a_kept_connection_outlives_the_time_limits_of_its_last_call(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    upstream = upstream_at(fake.base_url, idle_timeout=0.1, first_byte_timeout=0.2, total_timeout=0.3)
    fake.script(fakes.stream(pause=0.02), fakes.slow_headers(0.05))
    await read_stream(client, upstream)
    await asyncio.sleep(0.5)
    await read_whole(client, upstream)
    await asyncio.sleep(0.5)
    await read_whole(client, upstream)
    assert fake.connections == 1


async def test_a_ceiling_replaces_the_clients_limit_in_the_field_of_the_profile(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    for provider, field in (("openai", "max_completion_tokens"), ("openai-compatible", "max_tokens")):
        upstream = upstream_at(fake.base_url, provider=provider)
        call = open_upstream(client, route_to(upstream), chat(max_tokens=500), max_tokens=20)
        await call.start()
        await call.read()
        await call.aclose()
        sent = fake.requests[-1].json
        assert {name: value for name, value in sent.items() if name.startswith("max_")} == {field: 20}


async def test_an_explicit_limit_moves_to_the_only_field_that_the_upstream_reads(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    await read_whole(client, upstream_at(fake.base_url), chat(max_completion_tokens=7))
    assert fake.requests[0].json["max_tokens"] == 7
    assert "max_completion_tokens" not in fake.requests[0].json


@pytest.mark.parametrize(
    ("code", "kind", "may_retry"),
    [
        (400, FailureKind.CLIENT_CONTENT, False),
        (413, FailureKind.CLIENT_CONTENT, False),
        (422, FailureKind.CLIENT_CONTENT, False),
        (401, FailureKind.AUTH, True),
        (402, FailureKind.AUTH, True),
        (403, FailureKind.AUTH, True),
        (404, FailureKind.NOT_FOUND, True),
        (429, FailureKind.RATE_LIMITED, True),
        (500, FailureKind.SERVER_ERROR, True),
        (503, FailureKind.SERVER_ERROR, True),
        (529, FailureKind.SERVER_ERROR, True),
        (504, FailureKind.TIMEOUT, True),
        (418, FailureKind.INVALID, True),
        (204, FailureKind.INVALID, True),
    ],
)
async def test_each_status_of_an_upstream_has_its_kind_of_failure(
    fake: FakeUpstream, client: UpstreamClient, code: int, kind: FailureKind, may_retry: bool
) -> None:
    fake.script(fakes.status(code, "" if code == 204 else {"message": "Bad key sk-x", "code": "some_code"}))
    failure = await _failure(read_whole(client, upstream_at(fake.base_url)))
    assert (failure.kind, failure.status, failure.may_retry) == (kind, code, may_retry)


async def test_retry_after_is_read_in_seconds_and_a_date_is_ignored(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(
        fakes.status(429, retry_after="7"),
        fakes.status(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
        fakes.status(429, retry_after="nan"),
        fakes.status(429, retry_after="1e9"),
    )
    upstream = upstream_at(fake.base_url)
    found = [(await _failure(read_whole(client, upstream))).retry_after for _ in range(4)]
    assert found == [7.0, None, None, 3600.0]


async def test_a_context_that_is_too_long_is_recognised(fake: FakeUpstream, client: UpstreamClient) -> None:
    error = {"message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error"}
    fake.script(fakes.status(400, error))
    failure = await _failure(read_whole(client, upstream_at(fake.base_url)))
    assert failure.code == "context_length_exceeded"


async def test_the_credential_is_never_in_a_failure(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.status(401, {"message": f"Incorrect API key provided: {CREDENTIAL}."}))
    failure = await _failure(read_whole(client, upstream_at(fake.base_url)))
    assert CREDENTIAL not in f"{failure} {failure!r} {failure.detail} {failure.args}"
    assert "Incorrect API key" in failure.detail


async def test_a_redirect_is_not_followed(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.redirect(f"{fake.base_url}/elsewhere"))
    failure = await _failure(read_whole(client, upstream_at(fake.base_url)))
    assert (failure.kind, failure.status, len(fake.requests)) == (FailureKind.INVALID, 307, 1)


async def test_a_refused_connection_is_a_connect_failure(client: UpstreamClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        failure = await _failure(read_whole(client, upstream_at(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")))
    assert failure.kind is FailureKind.CONNECT


async def test_slow_headers_are_a_timeout(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.slow_headers(5))
    failure = await _failure(read_whole(client, upstream_at(fake.base_url, first_byte_timeout=0.1)))
    assert failure.kind is FailureKind.TIMEOUT


async def test_silence_in_a_stream_is_a_timeout(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.stream(stall_after=2))
    failure = await _failure(read_stream(client, upstream_at(fake.base_url, idle_timeout=0.1)))
    assert failure.kind is FailureKind.TIMEOUT


async def test_the_first_byte_may_take_longer_than_the_silence_between_reads(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    fake.script(fakes.slow_headers(0.4))
    assert await read_whole(client, upstream_at(fake.base_url, idle_timeout=0.1))


async def test_a_call_that_trickles_for_ever_ends_at_the_total_limit(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    fake.script(fakes.stream(["x"] * 1000, pause=0.02))
    failure = await _failure(read_stream(client, upstream_at(fake.base_url, total_timeout=0.3)))
    assert failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    "behaviour",
    [
        fakes.stream(cut_after=2),
        fakes.stream(done=False),
        fakes.stream(done=False, ends_cleanly=False),
        fakes.raw_stream(b""),
        fakes.raw_stream(b'data: {"choices":[]}\n\ndata: {"choi'),
    ],
)
async def test_a_stream_without_its_end_is_cut(
    fake: FakeUpstream, client: UpstreamClient, behaviour: fakes.Behaviour
) -> None:
    fake.script(behaviour)
    assert (await _failure(read_stream(client, upstream_at(fake.base_url)))).kind is FailureKind.CUT


async def test_what_came_before_a_cut_is_delivered(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.stream(["a", "b"], done=False))
    call = open_upstream(client, route_to(upstream_at(fake.base_url)), chat(stream=True))
    await call.start()
    payloads: list[bytes] = []

    async def read() -> None:
        async for batch in call.batches():
            payloads.extend(batch)

    assert (await _failure(read())).kind is FailureKind.CUT
    await call.aclose()
    assert payloads == fakes.chunks_of(["a", "b"], model="up-model")


async def test_what_follows_done_is_not_relayed(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.raw_stream(b'data: {"a":1}\n\ndata: [DONE]\n\ndata: {"b":2}\n\n'))
    assert await read_stream(client, upstream_at(fake.base_url)) == [b'{"a":1}']


async def test_a_done_without_its_blank_line_is_an_end(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.raw_stream(b'data: {"a":1}\n\ndata: [DONE]'))
    assert await read_stream(client, upstream_at(fake.base_url)) == [b'{"a":1}']


async def test_a_whole_answer_that_breaks_off_is_cut(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.cut_whole())
    assert (await _failure(read_whole(client, upstream_at(fake.base_url)))).kind is FailureKind.CUT


async def test_an_answer_above_the_cap_is_invalid(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module.UpstreamClient.read, "__kwdefaults__", {"at_most": 200_000})
    fake.script(fakes.huge(4_000_000))
    assert (await _failure(read_whole(client, upstream_at(fake.base_url)))).kind is FailureKind.INVALID


async def test_an_event_above_the_cap_is_invalid(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.raw_stream(b"data: " + b"x" * (9 * 1024 * 1024)))
    assert (await _failure(read_stream(client, upstream_at(fake.base_url)))).kind is FailureKind.INVALID


async def test_a_compressed_answer_is_refused_unread(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.status(200, "bomb", content_encoding="gzip"))
    assert (await _failure(read_whole(client, upstream_at(fake.base_url)))).kind is FailureKind.INVALID


async def test_a_whole_answer_to_a_stream_request_becomes_chunks(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.whole("All at once."))
    payloads = await read_stream(client, upstream_at(fake.base_url))
    assert json.loads(payloads[0])["choices"][0]["delta"]["content"] == "All at once."
    assert json.loads(payloads[-1])["usage"] == fakes.USAGE


async def test_an_error_in_place_of_a_stream_is_a_failure(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.garbage(b'{"error":{"message":"overloaded","type":"overloaded_error"}}'))
    assert (await _failure(read_stream(client, upstream_at(fake.base_url)))).kind is FailureKind.RATE_LIMITED


async def test_a_stale_connection_is_replaced_once(fake: FakeUpstream, client: UpstreamClient) -> None:
    upstream = upstream_at(fake.base_url)
    await read_whole(client, upstream)
    fake.script(fakes.drop)
    assert await read_whole(client, upstream)
    assert (len(fake.requests), fake.connections) == (3, 2)


async def test_a_new_connection_that_drops_is_not_tried_again(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.drop)
    failure = await _failure(read_whole(client, upstream_at(fake.base_url)))
    assert (failure.kind, len(fake.requests)) == (FailureKind.CONNECT, 1)


async def test_a_connection_is_replaced_only_once(fake: FakeUpstream, client: UpstreamClient) -> None:
    upstream = upstream_at(fake.base_url)
    await read_whole(client, upstream)
    fake.script(fakes.drop, fakes.drop)
    assert (await _failure(read_whole(client, upstream))).kind is FailureKind.CONNECT
    assert len(fake.requests) == 3


async def test_a_call_whose_answer_had_begun_is_not_repeated(fake: FakeUpstream, client: UpstreamClient) -> None:
    upstream = upstream_at(fake.base_url)
    await read_whole(client, upstream)
    fake.script(fakes.half_headers)
    await _failure(read_whole(client, upstream))
    assert len(fake.requests) == 2


async def test_a_cancelled_call_never_lends_its_connection(fake: FakeUpstream, client: UpstreamClient) -> None:
    """Each answer carries its question; calls are cancelled at many moments, and no later call sees another's answer."""

    async def answer(seen: fakes.Seen, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.002)
        return await fakes.whole(seen.json["messages"][0]["content"])(seen, writer)

    upstream = upstream_at(fake.base_url)
    fake.script(*[answer] * 400)

    async def ask(nonce: int) -> None:
        body = json.loads(await read_whole(client, upstream, chat(f"nonce-{nonce}")))
        assert body["choices"][0]["message"]["content"] == f"nonce-{nonce}"

    for nonce in range(0, 200, 2):
        doomed = asyncio.create_task(ask(nonce))
        await asyncio.sleep(nonce % 20 * 0.0003)
        doomed.cancel()
        await ask(nonce + 1)
        await asyncio.wait([doomed])
        if not doomed.cancelled():
            doomed.result()


async def test_closing_early_drops_the_connection(fake: FakeUpstream, client: UpstreamClient) -> None:
    fake.script(fakes.stream(["x"] * 1000, pause=0.01))
    call = open_upstream(client, route_to(upstream_at(fake.base_url)), chat(stream=True))
    await call.start()
    async for _ in call.batches():
        break
    await call.aclose()
    await call.aclose()
    await asyncio.sleep(0.1)
    assert fake.closed == 1


async def test_a_large_body_goes_out_without_a_warning(fake: FakeUpstream, client: UpstreamClient) -> None:
    text = "x" * 3_000_000
    await read_whole(client, upstream_at(fake.base_url), chat(text))
    assert fake.requests[0].json["messages"][0]["content"] == text


async def test_a_literal_private_address_is_refused_without_a_connection(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    failure = await _failure(read_whole(client, upstream_at(fake.base_url, allow_private_network=False)))
    assert (failure.kind, fake.connections) == (FailureKind.PRIVATE_ADDRESS, 0)


async def test_a_name_that_resolves_inside_is_refused_at_connect(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve_inside(*_: object, **__: object) -> list[Any]:
        return [
            {"hostname": "x", "host": "127.0.0.1", "port": fake.port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve_inside)
    upstream = upstream_at(f"http://rebound.example.com:{fake.port}/v1", allow_private_network=False)
    failure = await _failure(read_whole(client, upstream))
    assert (failure.kind, fake.connections) == (FailureKind.PRIVATE_ADDRESS, 0)


async def test_the_socket_itself_refuses_a_private_address() -> None:
    """The gate behind the resolver's: it holds even if a name were looked up elsewhere."""
    with pytest.raises(client_module.PrivateAddressError):
        client_module._open_public_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80)))


async def test_a_proxy_in_the_environment_is_not_used(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await read_whole(client, upstream_at(fake.base_url))


async def test_tls_works_with_a_trusted_certificate_and_fails_without(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="asyncio")
    server, trusting = fakes.tls_contexts()
    async with FakeUpstream(tls=server) as fake:
        upstream = upstream_at(fake.base_url)
        async with UpstreamClient(ssl_context=trusting) as client:
            assert await read_whole(client, upstream)
            assert len(await read_stream(client, upstream)) == 6
        async with UpstreamClient() as client:
            assert (await _failure(read_whole(client, upstream))).kind is FailureKind.CONNECT


async def test_a_protocol_without_an_adapter_is_a_failure(client: UpstreamClient) -> None:
    with pytest.raises(UpstreamFailure):
        open_upstream(client, route_to(upstream_at("https://example.com", protocol="smoke_signals")), chat())
