"""The guard refuses hostile requests with the documented error, and lets everything else through untouched."""

import asyncio
from typing import Any

import pytest

from lumyx.guard import Guard, header_fault
from tests.gateway.asgi import Client

LIMIT = 1000


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body that arrived."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guard(deadline: float = 5.0) -> Guard:
    """Make a guard around ``echo``; paths under /api belong to the gateway."""
    return Guard(
        echo, is_api=lambda path: path.startswith("/api/"), site_limit=LIMIT, api_limit=4 * LIMIT, deadline=deadline
    )


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([("transfer-encoding", "chunked")], 411, "length_required"),
        ([("Transfer-Encoding", "gzip, chunked")], 411, "length_required"),
        ([("content-type", "text/x; a*=nope''x")], 400, "invalid_parameter"),
        ([("content-type", "a" * 201)], 400, "invalid_parameter"),
        ([("content-type", "text/plain"), ("content-type", "text/plain")], 400, "invalid_parameter"),
        ([("host", "a"), ("host", "b")], 400, "invalid_parameter"),
        ([("content-length", "5"), ("content-length", "6")], 400, "invalid_parameter"),
        ([("content-length", "-1")], 400, "invalid_parameter"),
        ([("content-length", "1e3")], 400, "invalid_parameter"),
        ([("content-length", str(LIMIT + 1))], 413, "body_too_large"),
        ([("content-length", "9" * 400)], 413, "body_too_large"),
        ([("content-encoding", "gzip")], 415, "unsupported_media_type"),
        ([("x-big", "a" * 70_000)], 431, "headers_too_large"),
        ([(f"x-{n}", "a") for n in range(101)], 431, "headers_too_large"),
    ],
)
async def test_a_hostile_header_is_refused_with_its_documented_error(
    headers: list[tuple[str, str]], status: int, code: str
) -> None:
    client = await Client(path="/login", headers=headers).run(guard())
    assert client.status == status
    assert client.json()["error"]["code"] == code
    assert client.json()["type"] == "error"
    assert client.headers["x-request-id"] == client.headers["request-id"] == client.json()["request_id"]
    assert client.headers["connection"] == "close"


async def test_an_ordinary_post_reaches_the_application_with_its_whole_body() -> None:
    client = await Client(
        path="/login", headers=[("content-length", "6"), ("content-type", "text/plain")], parts=[b"abc", b"def"]
    ).run(guard())
    assert client.status == 200
    assert client.body == b"abcdef"


async def test_the_gateways_bodies_are_not_read_by_the_guard() -> None:
    read = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        read.append(len(client._parts))
        await echo(scope, receive, send)

    whole = Guard(app, is_api=lambda path: True, site_limit=1, api_limit=LIMIT, deadline=5)
    client = Client(parts=[b"abc", b"def"])
    await client.run(whole)
    assert read == [2]


async def test_the_limit_of_the_api_is_its_own() -> None:
    assert (await Client(path="/api/v1/x", headers=[("content-length", str(LIMIT + 1))]).run(guard())).status == 200


async def test_a_body_that_lies_about_its_length_is_cut_at_the_limit() -> None:
    client = await Client(path="/login", parts=[b"a" * 600, b"a" * 600, b""]).run(guard())
    assert client.status == 413


async def test_a_dripping_body_is_cut_at_the_deadline() -> None:
    began = asyncio.get_running_loop().time()
    client = await Client(path="/login", parts=[b"a"], stall=True).run(guard(deadline=0.05))
    assert client.status == 408
    assert client.json()["error"]["code"] == "request_timeout"
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_refused_body_is_drained_so_that_the_client_can_read_the_answer() -> None:
    client = Client(path="/login", headers=[("content-length", str(LIMIT * 9))], parts=[b"a" * LIMIT] * 9)
    await client.run(guard())
    assert client.status == 413
    assert client._parts == []
    # The whole answer was out before the draining began, and its end came after it.
    assert [message.get("more_body") for message in client.messages[1:]] == [True, None]


async def test_a_client_that_leaves_before_its_body_is_let_go() -> None:
    client = Client(path="/login", parts=[])
    client.leave()
    await client.run(guard())
    assert client.messages == []


def test_no_header_is_at_fault_in_what_sdks_send() -> None:
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", b"120"),
        (b"authorization", b"Bearer lx-x"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"x-stainless-lang", b"python"),
    ]
    assert header_fault(headers, body_limit=LIMIT) is None
