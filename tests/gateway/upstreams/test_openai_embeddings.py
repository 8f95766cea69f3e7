"""Calls for embeddings over HTTP: where they go, large answers, and the failures that they share with chat."""

import json

import pytest

from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure, open_embeddings
from tests.fakes.upstream import FakeUpstream, cut_whole, garbage, huge, status
from tests.gateway.upstreams.calls import CREDENTIAL, route_to, upstream_at

BODY = b'{"model":"up-model","input":"Hello","encoding_format":"float"}'


async def read_from(fake: FakeUpstream, client: UpstreamClient) -> bytes:
    """Call for embeddings and close."""
    call = open_embeddings(client, route_to(upstream_at(fake.base_url)), BODY)
    try:
        await call.start()
        return await call.read()
    finally:
        await call.aclose()


async def test_a_call_posts_to_the_path_of_embeddings_with_the_upstreams_credential() -> None:
    async with FakeUpstream() as fake, UpstreamClient() as client:
        fake.script(garbage(b'{"data":[]}'))
        assert await read_from(fake, client) == b'{"data":[]}'
        (seen,) = fake.requests
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/embeddings", BODY)
    assert seen.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert seen.headers["accept"] == "application/json"


async def test_a_large_answer_comes_in_whole_and_its_connection_is_kept() -> None:
    large = json.dumps({"data": [0.123456789] * 500_000}).encode()
    async with FakeUpstream() as fake, UpstreamClient() as client:
        fake.script(garbage(large), garbage(b"{}"))
        assert await read_from(fake, client) == large
        assert await read_from(fake, client) == b"{}"
        assert fake.connections == 1


async def test_an_answer_above_the_cap_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpstreamClient.read, "__kwdefaults__", {"at_most": 1_000_000})
    async with FakeUpstream() as fake, UpstreamClient() as client:
        fake.script(huge(8_000_000), garbage(b"{}"))
        with pytest.raises(UpstreamFailure) as caught:
            await read_from(fake, client)
        assert (caught.value.kind, caught.value.detail) == (
            FailureKind.INVALID,
            "its answer is larger than 1000000 bytes",
        )
        assert await read_from(fake, client) == b"{}"
        assert fake.connections == 2


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (status(500), FailureKind.SERVER_ERROR),
        (status(404), FailureKind.NOT_FOUND),
        (status(429), FailureKind.RATE_LIMITED),
        (status(400, {"message": "too many tokens"}), FailureKind.CLIENT_CONTENT),
        (cut_whole(), FailureKind.CUT),
    ],
)
async def test_failures_are_those_of_chat(behaviour: object, kind: FailureKind) -> None:
    async with FakeUpstream() as fake, UpstreamClient() as client:
        fake.script(behaviour)  # type: ignore[arg-type]
        with pytest.raises(UpstreamFailure) as caught:
            await read_from(fake, client)
    assert caught.value.kind is kind
