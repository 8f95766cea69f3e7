"""POST /messages/count_tokens: who counts, what is answered, what is refused, and that nothing is booked."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, cast

import anthropic
import httpx2
import pytest

from gateway.app import GatewayApp
from gateway.limits.minute import MinuteLimiter, Pace
from gateway.pipeline import Gateway, Limits
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.settle import Settler
from gateway.store import Store
from gateway.types import CatalogSnapshot, ModelInfo, Principal, RouteInfo
from gateway.upstreams import UpstreamClient
from tests.fakes import upstream as fakes
from tests.fakes.upstream import FakeUpstream
from tests.gateway.asgi import Client
from tests.gateway.exchanges import PRINCIPAL, make_model
from tests.gateway.upstreams.calls import CREDENTIAL, route_to, upstream_at

PATH = "/api/v1/messages/count_tokens"
#: Of the message below: 2 tokens, 4 around it, 3 for the answer.
ESTIMATE = 9
HELLO = {"model": "our-name", "messages": [{"role": "user", "content": "hello world"}]}


class Books:
    """A store that can be read and has nothing to write with: a hold, a charge or a usage event would be an AttributeError."""

    def __init__(self, model: ModelInfo, principal: Principal = PRINCIPAL) -> None:
        self._model = model
        self._principal = principal

    async def principal(self, secret: str) -> Principal | None:
        return self._principal if secret == "lx-right" else None

    def catalog(self) -> CatalogSnapshot:
        return CatalogSnapshot({self._model.public_id: self._model})


class Minute:
    """A pace that has room, or not."""

    def __init__(self, *, allowed: bool = True) -> None:
        self._pace = Pace(allowed=allowed, limit=60, remaining=59 if allowed else 0, reset=30)
        self.asked: list[tuple[str, int]] = []

    def ask(self, subject: str, *, limit: int) -> "Minute":
        self.asked.append((subject, limit))
        return self

    async def answer(self) -> Pace:
        return self._pace


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    """A scriptable upstream."""
    async with FakeUpstream() as fake:
        yield fake


@pytest.fixture
async def connections() -> AsyncIterator[UpstreamClient]:
    """An open client of upstreams."""
    async with UpstreamClient() as client:
        yield client


def make_app(
    model: ModelInfo, *, connections: Any = None, principal: Principal = PRINCIPAL, minute: Minute | None = None
) -> GatewayApp:
    """Make the application over these books."""
    store = cast(Store, Books(model, principal))
    app = GatewayApp()
    app.gateway = Gateway(
        store=store,
        minute=cast(MinuteLimiter, minute or Minute()),
        dispatcher=Dispatcher(client=connections, settler=Settler(store=store, wait=1.0), keepalive=15.0),
        limits=Limits(body_limit=1_000_000, body_deadline=5.0, lease=45.0, sandbox_is_open=True),
    )
    return app


def anthropic_route(fake: FakeUpstream, **changes: Any) -> RouteInfo:
    """Return a route to ``fake`` as an upstream that speaks Anthropic's protocol."""
    base_url = fake.base_url.removesuffix("/v1")
    return route_to(upstream_at(base_url, provider="anthropic", protocol="anthropic_messages", **changes), "claude-x")


async def count(app: GatewayApp, body: Any = HELLO, *, path: str = PATH, headers: Mapping[str, str] = {}) -> Client:
    """Ask for a count."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = [("x-api-key", "lx-right"), ("content-length", str(len(data))), *headers.items()]
    return await Client(path=path, headers=sent, parts=[data]).run(app)


# --- who counts -------------------------------------------------------------------------------------------------------


async def test_an_upstream_that_counts_is_asked_and_its_number_is_the_answer(
    fake: FakeUpstream, connections: UpstreamClient
) -> None:
    fake.script(fakes.garbage(b'{"input_tokens": 2095}'))
    app = make_app(make_model(anthropic_route(fake)), connections=connections)
    beta = {"anthropic-beta": "token-counting-2024-11-01,context-1m-2025-08-07"}
    client = await count(app, {**HELLO, "system": "Be brief."}, headers=beta)
    assert (client.status, client.json()) == (200, {"input_tokens": 2095})
    assert "x-lumyx-estimated" not in client.headers
    assert client.headers["x-request-id"] == client.headers["request-id"]
    (seen,) = fake.requests
    assert (seen.method, seen.path) == ("POST", "/v1/messages/count_tokens")
    assert seen.json == {"model": "claude-x", "messages": HELLO["messages"], "system": "Be brief."}
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == (CREDENTIAL, "2023-06-01")
    assert seen.headers["anthropic-beta"] == "token-counting-2024-11-01"
    assert "authorization" not in seen.headers


async def test_an_upstream_is_sent_what_it_counts_and_nothing_else(
    fake: FakeUpstream, connections: UpstreamClient
) -> None:
    fake.script(fakes.garbage(b'{"input_tokens": 7}'))
    tool = {"name": "get", "input_schema": {"type": "object"}}
    said = [
        {"type": "thinking", "thinking": "Hm.", "signature": "lumyx.1.e30"},
        {"type": "thinking", "thinking": "So.", "signature": "real"},
        {"type": "text", "text": "Hello."},
    ]
    asked = [*HELLO["messages"], {"role": "assistant", "content": said}, *HELLO["messages"]]
    body = {
        **HELLO,
        "messages": asked,
        "tools": [tool],
        "tool_choice": {"type": "auto"},
        "reasoning_effort": "high",
        "max_tokens": 50_000,
        "stream": True,
        "temperature": 0.5,
        "metadata": {"user_id": "u"},
        "stop_sequences": ["x"],
    }
    client = await count(make_app(make_model(anthropic_route(fake)), connections=connections), body)
    assert client.json() == {"input_tokens": 7}
    kept = [{"role": "assistant", "content": said[1:]}]
    assert fake.requests[0].json == {
        "model": "claude-x",
        "messages": [asked[0], *kept, asked[2]],
        "tools": [tool],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 32_768},
    }


async def test_a_model_of_another_protocol_is_estimated_and_says_so() -> None:
    client = await count(make_app(make_model()))
    assert (client.status, client.json()) == (200, {"input_tokens": ESTIMATE, "_meta": {"estimated": True}})
    assert client.headers["x-lumyx-estimated"] == "true"
    assert client.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "behaviour",
    [
        fakes.status(500),
        fakes.status(401),
        fakes.status(404),
        fakes.status(429, retry_after="9"),
        fakes.status(400),
        fakes.garbage(),
        fakes.garbage(b"[]"),
        fakes.garbage(b'{"input_tokens": "many"}'),
        fakes.garbage(b'{"input_tokens": -5}'),
        fakes.garbage(b"\xff"),
        fakes.drop,
        fakes.half_headers,
        fakes.redirect("/elsewhere"),
    ],
)
async def test_an_upstream_that_fails_to_count_is_stood_in_for(
    fake: FakeUpstream, connections: UpstreamClient, behaviour: fakes.Behaviour
) -> None:
    fake.script(behaviour, behaviour)
    client = await count(make_app(make_model(anthropic_route(fake)), connections=connections))
    assert (client.status, client.json()) == (200, {"input_tokens": ESTIMATE, "_meta": {"estimated": True}})
    assert client.headers["x-lumyx-estimated"] == "true"


async def test_an_upstream_that_is_silent_is_not_waited_for(
    fake: FakeUpstream, connections: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstreams.anthropic_count.TIME_LIMIT", 0.05)
    fake.script(fakes.stall)
    client = await count(make_app(make_model(anthropic_route(fake)), connections=connections))
    assert client.json() == {"input_tokens": ESTIMATE, "_meta": {"estimated": True}}


async def test_the_first_route_decides_who_counts(fake: FakeUpstream, connections: UpstreamClient) -> None:
    later = replace(anthropic_route(fake), priority=2)
    client = await count(make_app(make_model(*make_model().routes, later), connections=connections))
    assert client.headers["x-lumyx-estimated"] == "true"
    assert fake.requests == []


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        ({"model": "our-name"}, 400, "missing_parameter"),
        ({**HELLO, "messages": []}, 400, "invalid_parameter"),
        ({**HELLO, "max_tokens": 0}, 400, "invalid_parameter"),
        ({**HELLO, "model": "nobody"}, 404, "model_not_found"),
    ],
)
async def test_what_no_message_could_be_is_not_counted(body: Any, status: int, code: str) -> None:
    client = await count(make_app(make_model()), body)
    assert (client.status, client.json()["error"]["code"]) == (status, code)


async def test_a_model_that_could_not_serve_the_request_does_not_count_it() -> None:
    plain = make_model(tags=())
    tools = {**HELLO, "tools": [{"name": "get", "input_schema": {"type": "object"}}]}
    assert (await count(make_app(plain), tools)).json()["error"]["code"] == "model_lacks_tools"
    embedding = make_model(kind="embedding")
    assert (await count(make_app(embedding))).json()["error"]["code"] == "wrong_model_kind"
    uncensored = make_model(tags=("uncensored",))
    assert (await count(make_app(uncensored))).status == 403


async def test_a_key_is_needed_and_must_be_right() -> None:
    app = make_app(make_model())
    data = json.dumps(HELLO).encode()
    client = await Client(path=PATH, parts=[data]).run(app)
    assert (client.status, client.json()["error"]["code"]) == (401, "missing_api_key")
    client = await Client(path=PATH, headers=[("authorization", "Bearer lx-wrong")], parts=[data]).run(app)
    assert (client.status, client.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_only_post_is_answered() -> None:
    client = await Client(method="GET", path=PATH).run(make_app(make_model()))
    assert (client.status, client.headers["allow"]) == (405, "POST")


# --- pace -------------------------------------------------------------------------------------------------------------


async def test_the_pace_of_the_workspace_counts_it_and_may_refuse_it() -> None:
    paced = replace(PRINCIPAL, requests_per_minute=60)
    minute = Minute()
    client = await count(make_app(make_model(), principal=paced, minute=minute))
    assert minute.asked == [("w10", 60)]
    assert client.headers["x-ratelimit-remaining-requests"] == "59"
    client = await count(make_app(make_model(), principal=paced, minute=Minute(allowed=False)))
    assert (client.status, client.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert client.headers["retry-after"] == "30"


async def test_a_free_model_counts_without_its_daily_limit_being_told_or_used() -> None:
    paced = replace(PRINCIPAL, requests_per_minute=60)
    client = await count(make_app(make_model(is_free=True), principal=paced))
    assert client.status == 200
    assert not any(name.startswith("x-ratelimit") for name in client.headers)


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [PATH, "/api/v1/v1/messages/count_tokens", "/api/messages/count_tokens"], ids=["v1", "v1v1", "short"]
)
async def test_it_answers_wherever_clients_of_messages_look(path: str) -> None:
    assert (await count(make_app(make_model()), path=path)).json()["input_tokens"] == ESTIMATE


async def test_anthropics_own_sdk_counts() -> None:
    transport = httpx2.ASGITransport(app=cast(Any, make_app(make_model())))
    async with httpx2.AsyncClient(transport=transport) as http:
        sdk = anthropic.AsyncAnthropic(base_url="http://lumyx.test/api/v1", api_key="lx-right", http_client=http)
        counted = await sdk.messages.count_tokens(
            model="our-name", messages=[{"role": "user", "content": "hello world"}]
        )
        assert counted.input_tokens == ESTIMATE
        with pytest.raises(anthropic.NotFoundError, match="There is no model `nobody`"):
            await sdk.messages.count_tokens(model="nobody", messages=[{"role": "user", "content": "hello world"}])
