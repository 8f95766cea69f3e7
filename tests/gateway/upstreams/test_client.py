"""The HTTP client and the chat completions adapter against a real server on loopback that misbehaves in every known way."""

import asyncio
import json
import logging
import socket
from typing import Any

import pytest

from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure
from gateway.upstreams import client as client_module
from tests.fakes import upstream as fakes
from tests.fakes.upstream import FakeUpstream
from tests.gateway.upstreams.calls import (
    CREDENTIAL,
    Collector,
    chat,
    open_call,
    read_stream,
    read_whole,
    upstream_at,
)


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
        call = open_call(client, upstream, chat(max_tokens=500), max_tokens=20)
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
    call = open_call(client, upstream_at(fake.base_url), chat(stream=True))
    await call.start()
    payloads: list[bytes] = []

    async def read() -> None:
        await call.pour(Collector(payloads))

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
    call = open_call(client, upstream_at(fake.base_url), chat(stream=True))
    await call.start()
    await call.pour(Collector([], enough=1))
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
    """One private address among public ones is enough: which of them would be tried is not ours to bet on."""

    async def resolve(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    upstream = upstream_at(f"http://rebound.example.com:{fake.port}/v1", allow_private_network=False)
    for _ in range(2):
        failure = await _failure(read_whole(client, upstream))
        assert (failure.kind, fake.connections) == (FailureKind.PRIVATE_ADDRESS, 0)


async def test_the_connection_goes_to_the_address_that_was_checked(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up once: a second answer, for the connect, would be the gap for DNS rebinding."""
    names: list[str] = []
    real = asyncio.get_running_loop().getaddrinfo

    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        names.append(host)
        return list(await real("127.0.0.1" if host == "up.example.com" else host, port, **options))

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    await read_whole(client, upstream_at(f"http://up.example.com:{fake.port}/v1"))
    assert names.count("up.example.com") == 1
    assert fake.requests[0].headers["host"] == f"up.example.com:{fake.port}"


async def test_a_dead_address_does_not_use_up_the_time_of_the_next(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, *_: object, **__: object) -> list[Any]:
        addresses = ["192.0.2.1", "127.0.0.1"] if host == "up.example.com" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, fake.port)) for address in addresses]

    real = asyncio.get_running_loop().create_connection

    async def connect(factory: Any, host: str, *args: Any, **options: Any) -> Any:
        if host == "192.0.2.1":
            await asyncio.sleep(60)
        return await real(factory, host, *args, **options)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    assert await read_whole(client, upstream_at(f"http://up.example.com:{fake.port}/v1", connect_timeout=0.4))


async def test_no_connection_in_time_is_a_timeout(client: UpstreamClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    failure = await _failure(read_whole(client, upstream_at("http://127.0.0.1:9/v1", connect_timeout=0.05)))
    assert failure.kind is FailureKind.TIMEOUT


async def test_a_credential_that_would_break_the_headers_is_never_sent(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    for credential in ("sk-x\r\nX-Evil: 1", "sk-\n", "clé"):
        failure = await _failure(read_whole(client, upstream_at(fake.base_url, credential=credential)))
        assert failure.kind is FailureKind.AUTH
        assert credential not in failure.detail
    assert fake.connections == 0


async def test_a_proxy_in_the_environment_is_not_used(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await read_whole(client, upstream_at(fake.base_url))


def _raw(*pieces: bytes, stays: bool = True, pause: float = 0.01) -> fakes.Behaviour:
    async def behave(_seen: fakes.Seen, writer: asyncio.StreamWriter) -> bool:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return stays

    return behave


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "behaviour",
    [
        _raw(OK + b"Content-Length: 2\r\n\r\n{}"),
        _raw(*[bytes([byte]) for byte in OK + b"Content-Length: 2\r\n\r\n{}"], pause=0),
        _raw(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;ext=1\r\n}\r\n0\r\nTrailer: x\r\n\r\n"),
        _raw(OK + b"\r\n{", b"}", stays=False),
        _raw(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"),
        _raw(
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}",
        ),
        _raw(b"HTTP/1.0 200 OK\r\n\r\n{}", stays=False),
    ],
    ids=["length", "byte by byte", "chunked", "to the end", "close", "announced", "http 1.0"],
)
async def test_every_framing_of_http_is_read(
    fake: FakeUpstream, client: UpstreamClient, behaviour: fakes.Behaviour
) -> None:
    upstream = upstream_at(fake.base_url)
    fake.script(behaviour)
    assert await read_whole(client, upstream) == b"{}"
    assert await read_whole(client, upstream)  # and the next call is not confused by it


@pytest.mark.parametrize(
    "behaviour",
    [
        _raw(b"SSH-2.0-OpenSSH_9\r\n"),
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"),
        _raw(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}"),
        _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        _raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        _raw(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 30_000),
        _raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000),
    ],
    ids=["ssh", "two lengths", "length and chunks", "negative", "bad chunk", "upgrade", "headers", "header"],
)
async def test_what_is_not_http_is_invalid(
    fake: FakeUpstream, client: UpstreamClient, behaviour: fakes.Behaviour
) -> None:
    fake.script(behaviour)
    failure = await _failure(read_whole(client, upstream_at(fake.base_url)))
    assert failure.kind is FailureKind.INVALID
    await asyncio.sleep(0.05)
    assert fake.closed == 1


async def test_bytes_after_an_answer_are_nobodys_answer(fake: FakeUpstream, client: UpstreamClient) -> None:
    """Response splitting: what follows an answer on its connection must not become the next caller's."""
    answer = OK + b"Content-Length: 2\r\n\r\n{}"
    stolen = OK + b'Content-Length: 9\r\n\r\n"stolen!"'
    upstream = upstream_at(fake.base_url)
    for pieces in ([answer + stolen], [answer, stolen], [answer + stolen[:10], stolen[10:]]):
        fake.script(_raw(*pieces))
        assert await read_whole(client, upstream) == b"{}"
        await asyncio.sleep(0.05)  # what comes after a request has gone out is its answer, whoever sent it
        assert b"Hello there." in await read_whole(client, upstream)
        assert b"Hello there." in await read_whole(client, upstream)


async def test_an_upstream_that_outruns_its_reader_is_held_back(fake: FakeUpstream, client: UpstreamClient) -> None:
    sent = 0

    async def flood(_seen: fakes.Seen, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 80000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"data: " + b"x" * 79_992 + b"\n\n")
            await writer.drain()
            sent += 80_000
        return True

    fake.script(flood)
    call = open_call(client, upstream_at(fake.base_url, idle_timeout=0.3), chat(stream=True))
    await call.start()
    await asyncio.sleep(0.5)  # longer than the idle limit: it is us who do not read
    assert sent < 20_000_000
    collector = Collector([], enough=40_000_000)
    await call.pour(collector)
    await call.aclose()
    assert collector.size >= 40_000_000


async def test_free_connections_are_closed_when_they_are_old(
    fake: FakeUpstream, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "KEEP_ALIVE", 0.1)
    upstream = upstream_at(fake.base_url)
    await asyncio.gather(*(read_whole(client, upstream) for _ in range(5)))
    assert fake.connections == 5
    await asyncio.sleep(0.4)
    assert fake.closed == 5
    assert await read_whole(client, upstream)


async def test_closing_the_client_ends_the_calls_that_run(fake: FakeUpstream) -> None:
    client = await UpstreamClient().open()
    fake.script(fakes.stall)
    call = asyncio.create_task(read_whole(client, upstream_at(fake.base_url)))
    await asyncio.sleep(0.05)
    await client.close()
    with pytest.raises(UpstreamFailure):
        await call
    with pytest.raises(RuntimeError):
        await read_whole(client, upstream_at(fake.base_url))


async def test_a_get_sends_no_body_and_keeps_its_connection(fake: FakeUpstream, client: UpstreamClient) -> None:
    upstream = upstream_at(fake.base_url)
    fake.script(fakes.garbage(b'{"data":[]}'), fakes.garbage(b'{"data":[]}'))
    for _ in range(2):
        answer = await client.get(upstream, "/models")
        assert (answer.status, await client.read(answer)) == (200, b'{"data":[]}')
    seen = fake.requests[0]
    assert (seen.method, seen.path, seen.body, fake.connections) == ("GET", "/v1/models", b"", 1)
    assert set(seen.headers) == {"host", "authorization", "accept", "accept-encoding", "user-agent"}


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
        open_call(client, upstream_at("https://example.com", protocol="smoke_signals"), chat())


async def test_a_taker_may_pause_after_every_batch(fake: FakeUpstream, client: UpstreamClient) -> None:
    class Slow(Collector):
        def take(self, payloads: list[bytes]) -> bool:
            super().take(payloads)
            return False

        async def catch_up(self) -> bool:
            await asyncio.sleep(0.002)
            return True

    words = [str(number) for number in range(200)]
    fake.script(fakes.stream(words, pause=0.0005))
    call = open_call(client, upstream_at(fake.base_url), chat(stream=True))
    slow = Slow([])
    await call.start()
    await call.pour(slow)
    await call.aclose()
    assert slow.payloads == fakes.chunks_of(words, model="up-model")


async def test_a_bug_in_a_taker_is_the_callers_and_ends_the_connection(
    fake: FakeUpstream, client: UpstreamClient
) -> None:
    class Broken(Collector):
        def take(self, payloads: list[bytes]) -> bool:
            super().take(payloads)
            if len(self.payloads) > 3:
                raise ZeroDivisionError
            return True

    fake.script(fakes.stream(["x"] * 50, pause=0.005))
    call = open_call(client, upstream_at(fake.base_url), chat(stream=True))
    await call.start()
    with pytest.raises(ZeroDivisionError):
        await call.pour(Broken([]))
    await call.aclose()
    await asyncio.sleep(0.1)
    assert fake.closed == 1
    assert await read_stream(client, upstream_at(fake.base_url)) == fakes.chunks_of(
        ["Hello", " there", "."], model="up-model"
    )
