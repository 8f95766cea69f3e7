"""The data plane's own application: which refusals close the connection, and what they repeat of the request."""

from typing import Any, cast

import pytest

from gateway.app import GatewayApp
from lumyx.lib.crypto import new_api_key
from tests.gateway.asgi import Client


def app() -> GatewayApp:
    """Make an application that gets no further than to its routes."""
    made = GatewayApp()
    made.gateway = cast(Any, object())
    return made


async def test_a_refusal_before_the_body_was_read_drops_the_rest_and_closes_the_connection() -> None:
    client = Client(path="/api/v1/nothing", headers=[("content-length", "6")], parts=[b"ab", b"cd", b"ef"])
    await client.run(app())
    assert (client.status, client.headers["connection"]) == (404, "close")
    assert client._parts == []
    assert client.json()["request_id"] == client.headers["x-request-id"]


async def test_a_body_that_never_comes_does_not_keep_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.DRAIN_SECONDS", 0.05)
    client = Client(path="/api/v1/nothing", headers=[("content-length", "6")], parts=[b"ab"], stall=True)
    await client.run(app())
    assert client.complete
    assert client.headers["connection"] == "close"


async def test_a_refusal_of_a_request_without_a_body_keeps_the_connection() -> None:
    client = await Client(method="GET", path="/api/v1/nothing", parts=[b""]).run(app())
    assert client.status == 404
    assert "connection" not in client.headers


@pytest.mark.parametrize("path", ["/api/v1/{}", "/api/v1/models/{}"])
async def test_a_key_in_the_path_is_not_repeated(path: str) -> None:
    key = new_api_key()
    client = await Client(path=path.format(key)).run(app())
    assert client.status in (404, 405)
    assert key[:11] in client.json()["error"]["message"]
    assert key not in client.body.decode()


@pytest.mark.parametrize("path", ["/api/api/hello", "/api/v1/api/hello"])
async def test_claude_code_is_told_that_somebody_is_there(path: str) -> None:
    client = await Client(method="HEAD", path=path).run(GatewayApp())
    assert client.status == 200
    assert len(client.headers["request-id"]) == 32


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/chat/completions",
        "/api/v1/v1/chat/completions",
        "/api/v1/messages",
        "/api/v1/v1/messages",
        "/api/messages",
    ],
)
async def test_what_is_asked_by_post_says_so_under_each_of_its_addresses(path: str) -> None:
    client = await Client(method="GET", path=path).run(app())
    assert (client.status, client.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/api/chat/completions", "/api/models", "/api/v1/v1/v1/messages", "/api", "/api/v1"])
async def test_other_addresses_are_nobodys(path: str) -> None:
    client = await Client(path=path).run(app())
    assert (client.status, client.json()["error"]["code"]) == (404, "not_found")
