"""POST /quote: what is quoted is what is held, in every protocol; and a quote holds, asks and charges nothing."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from accounts.models import Workspace
from billing.rating import Rates
from billing.selectors.ledger import balance_of, open_holds
from billing.services import ledger
from billing.types import Admission, Admitted, Refusal
from gateway.app import GatewayApp
from gateway.endpoints.quote import ASSUMED_OUTPUT
from gateway.limits.minute import MinuteLimiter
from gateway.pipeline import Gateway, Limits
from gateway.pipeline.admit import admit
from gateway.pipeline.exchange import Exchange
from gateway.protocols.clients import CHAT, EMBEDDINGS, MESSAGES, ClientProtocol
from gateway.protocols.detect import CHAT_FIELDS, MESSAGES_FIELDS, protocol_of
from gateway.protocols.wording import RequestShapeError
from gateway.selectors.quotes import would_admit
from gateway.store import Store, StoreUnavailableError
from gateway.types import CatalogSnapshot, ModelInfo, Principal
from lumyx.lib.ids import uuid7
from lumyx.lib.money import usd_to_nano
from tests.factories import fund, make_api_key, make_workspace
from tests.gateway.asgi import Client
from tests.gateway.exchanges import PRINCIPAL, make_exchange, make_messages_exchange, make_model
from tests.gateway.test_admit import Ledger
from tests.gateway.test_admit import Minute as AnyMinute
from tests.gateway.test_count_tokens import Minute
from tests.gateway.test_embeddings import MODEL as EMBEDDING_MODEL
from tests.gateway.test_embeddings import make_exchange as make_embeddings_exchange

PATH = "/api/v1/quote"
CHAT_BODY: dict[str, Any] = {"model": "our-name", "messages": [{"role": "user", "content": "Hello"}]}
VECTORS: dict[str, Any] = {"model": "our-name", "input": "Hello"}


class Counter(Ledger):
    """A store that can be asked what it would do. What it is asked is kept apart from what is really admitted."""

    def __init__(self, model: ModelInfo, *, principal: Principal = PRINCIPAL, **options: Any) -> None:
        super().__init__(**options)
        self.wished: list[Admission] = []
        self.is_away = False
        self._model, self._principal = model, principal

    async def principal(self, secret: str) -> Principal | None:
        return self._principal if secret == "lx-right" else None

    def catalog(self) -> CatalogSnapshot:
        return CatalogSnapshot({self._model.public_id: self._model})

    async def would_admit(self, admission: Admission) -> Admitted:
        if self.is_away:
            raise StoreUnavailableError("away")
        self.wished.append(admission)
        answer = await self.admit(admission)
        self.asked.pop()
        return answer


def make_app(store: Counter, *, minute: Minute | None = None) -> GatewayApp:
    """Make the application over this store; there is no dispatcher: to ask an upstream would be an AttributeError."""
    app = GatewayApp()
    app.gateway = Gateway(
        store=cast(Store, store),
        minute=cast(MinuteLimiter, minute or Minute()),
        dispatcher=cast(Any, None),
        limits=Limits(body_limit=1_000_000, body_deadline=5.0, lease=45.0, sandbox_is_open=True),
    )
    return app


async def ask(
    app: GatewayApp, body: Any, *, query: str = "", path: str = PATH, headers: Mapping[str, str] = {}
) -> Client:
    """Ask for a quote."""
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    sent = [("x-api-key", "lx-right"), ("content-length", str(len(data))), *headers.items()]
    client = Client(path=path, headers=sent, parts=[data])
    client.scope["query_string"] = query.encode()
    return await client.run(app)


async def held_for(exchange: Exchange, model: ModelInfo, **options: Any) -> Exchange:
    """Admit an exchange as its endpoint would."""
    exchange.model, exchange.admission = model, None
    store = cast(Store, Ledger(**options))
    await admit(exchange, store=store, minute=cast(MinuteLimiter, AnyMinute()), lease=45.0)
    return exchange


CASES: list[tuple[str, Any, ModelInfo, dict[str, Any]]] = [
    ("chat", make_exchange, make_model(), {}),
    ("chat", make_exchange, make_model(), {"max_tokens": 100}),
    ("chat", make_exchange, make_model(), {"max_tokens": 50_000, "n": 3}),
    ("chat", make_exchange, make_model(rates=Rates(7, 11, cache_write=900)), {"stream": True}),
    ("messages", make_messages_exchange, make_model(), {"system": "Be brief."}),
    ("messages", make_messages_exchange, make_model(), {"max_tokens": 7}),
    ("embeddings", make_embeddings_exchange, EMBEDDING_MODEL, {"input": ["Hello", "there"]}),
    ("embeddings", make_embeddings_exchange, EMBEDDING_MODEL, {"input": [1, 2, 3]}),
]


@pytest.mark.parametrize(("name", "make", "model", "fields"), CASES)
@pytest.mark.parametrize("path", [PATH, "/api/v1/v1/quote"])
async def test_a_quote_is_the_hold_that_the_same_request_gets(
    name: str, make: Any, model: ModelInfo, fields: dict[str, Any], path: str
) -> None:
    admitted = await held_for(
        make(Client(), model=model, **fields) if name != "embeddings" else make(Client(), **fields), model
    )
    # The very body: what is quoted depends on its size.
    body = _body_of(admitted)
    store = Counter(model)
    client = await ask(make_app(store), body, query=f"protocol={name}", path=path)
    quote = client.json()
    assert client.status == 200
    assert (quote["object"], quote["model"], quote["protocol"]) == ("quote", "our-name", name)
    assert int(quote["max_charge_nano"]) == int(quote["hold_nano"]) == admitted.held > 0
    assert usd_to_nano(quote["max_charge"]) == usd_to_nano(quote["hold"]) == admitted.held
    assert (quote["affordable"], quote["refusal"]) == (True, None)
    assert 0 < int(quote["estimate"]["charge_nano"]) <= admitted.held
    assert (quote["max_tokens"] is None) == (name == "embeddings")
    assert store.asked == []


def _body_of(exchange: Exchange) -> bytes:
    fields = {name: json.loads(bytes(raw)) for name, raw in exchange.request.fields.items()}
    body = json.dumps(fields, separators=(",", ":")).encode()
    assert len(body) == exchange.request.size
    return body


async def test_a_balance_that_is_short_lowers_the_ceiling_and_the_quote_as_it_lowers_the_hold() -> None:
    whole = await held_for(make_exchange(Client()), make_model())
    available = whole.held - 500 * 1500
    poor = await held_for(make_exchange(Client()), make_model(), available=available)
    client = await ask(make_app(Counter(make_model(), available=available)), _body_of(poor), query="protocol=chat")
    quote = client.json()
    assert int(quote["hold_nano"]) == poor.held == available
    assert quote["max_tokens"] == quote["affordable_max_tokens"] == poor.max_tokens == 500
    assert quote["estimate"]["output_tokens"] == 500


async def test_what_cannot_be_paid_is_no_error_and_names_what_could_be() -> None:
    asked = make_exchange(Client(), max_tokens=1000)
    whole = await held_for(asked, make_model())
    store = Counter(make_model(), available=whole.held - 400 * 1500)
    client = await ask(make_app(store), _body_of(asked), query="protocol=chat")
    quote = client.json()
    assert (client.status, quote["affordable"], quote["refusal"]) == (200, False, "insufficient_credits")
    assert int(quote["max_charge_nano"]) == whole.held
    assert (quote["max_tokens"], quote["affordable_max_tokens"]) == (1000, 600)
    frozen = await ask(
        make_app(Counter(make_model(), refusal=Refusal.WALLET_FROZEN)), _body_of(asked), query="protocol=chat"
    )
    assert (frozen.json()["affordable"], frozen.json()["refusal"]) == (False, "wallet_frozen")


async def test_an_estimate_assumes_a_known_number_of_tokens() -> None:
    client = await ask(make_app(Counter(make_model())), {**CHAT_BODY, "n": 2})
    # "Hello" is one token; 4 stand around it, and 3 before the answer.
    assert client.json()["estimate"] == {
        "input_tokens": 8,
        "output_tokens": 2 * ASSUMED_OUTPUT,
        "charge": "0.001504",
        "charge_nano": str(8 * 500 + 2 * ASSUMED_OUTPUT * 1500),
    }
    short = await ask(make_app(Counter(make_model())), {**CHAT_BODY, "max_completion_tokens": 20})
    assert short.json()["estimate"]["output_tokens"] == 20


async def test_a_free_model_is_quoted_at_nothing_and_no_daily_request_is_used() -> None:
    model = make_model(is_free=True, rates=Rates(input=0, output=0))
    store = Counter(model, available=0)
    client = await ask(make_app(store), CHAT_BODY)
    quote = client.json()
    assert (quote["max_charge"], quote["affordable"], quote["max_tokens"]) == ("0", True, 1000)
    assert quote["price"]["free"] is True
    assert not any(name.startswith("x-ratelimit") for name in client.headers)


@pytest.mark.parametrize(
    ("changes", "fields", "status", "code"),
    [
        ({"kind": "embedding"}, {}, 400, "wrong_model_kind"),
        ({"tags": ("uncensored",)}, {}, 403, "policy_not_accepted"),
        ({"tags": ()}, {"reasoning_effort": "low"}, 400, "model_lacks_reasoning"),
        ({"supports_streaming": False}, {"stream": True}, 400, "model_lacks_streaming"),
        ({"public_id": "another"}, {}, 404, "model_not_found"),
        ({"routes": ()}, {}, 503, "upstream_unavailable"),
        ({}, {"max_tokens": 0, "n": 1}, 400, "invalid_parameter"),
        ({}, {"plugins": ["web"]}, 400, "unsupported_parameter"),
    ],
)
async def test_what_the_endpoint_would_refuse_the_quote_refuses(
    changes: dict[str, Any], fields: dict[str, Any], status: int, code: str
) -> None:
    model = replace(make_model(), **changes)
    client = await ask(make_app(Counter(model)), {**CHAT_BODY, **fields})
    assert (client.status, client.json()["error"]["code"]) == (status, code)


async def test_a_quote_keeps_the_pace_and_needs_a_key_and_a_database() -> None:
    hasty = replace(PRINCIPAL, requests_per_minute=60)
    store = Counter(make_model(), principal=hasty)
    assert (await ask(make_app(store), CHAT_BODY)).headers["x-ratelimit-remaining-requests"] == "59"
    refused = await ask(make_app(store, minute=Minute(allowed=False)), CHAT_BODY)
    assert (refused.status, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (await ask(make_app(store), CHAT_BODY, headers={"authorization": "Bearer lx-wrong"})).status == 401
    store.is_away = True
    assert (await ask(make_app(store), CHAT_BODY)).status == 503
    assert (await Client(method="GET", path=PATH).run(make_app(store))).headers["allow"] == "POST"


# --- which protocol ---------------------------------------------------------------------------------------------------

LIMITED = {**CHAT_BODY, "max_tokens": 5}


@pytest.mark.parametrize(
    ("body", "headers", "protocol"),
    [
        (CHAT_BODY, [], CHAT),
        ({**LIMITED, "stop": "x"}, [], CHAT),
        (LIMITED, [(b"anthropic-version", b"2023-06-01")], MESSAGES),
        ({**LIMITED, "system": "Be brief."}, [], MESSAGES),
        (VECTORS, [], EMBEDDINGS),
        *(({**CHAT_BODY, "max_tokens": 5, name: None}, [], CHAT) for name in sorted(CHAT_FIELDS)),
        *(({**CHAT_BODY, name: None}, [], MESSAGES) for name in sorted(MESSAGES_FIELDS)),
    ],
)
def test_a_protocol_is_known_by_its_marks(body: Any, headers: Any, protocol: ClientProtocol) -> None:
    assert protocol_of(json.dumps(body).encode(), headers) is protocol


@pytest.mark.parametrize("body", [LIMITED, {**LIMITED, "system": "x", "stop": "y"}, {"model": "our-name"}, {}])
async def test_a_body_that_may_be_several_has_to_be_named(body: Any) -> None:
    client = await ask(make_app(Counter(make_model())), body)
    assert (client.status, client.json()["error"]["code"]) == (400, "missing_parameter")
    assert "?protocol=messages" in client.json()["error"]["message"]


async def test_a_name_that_is_none_and_a_body_that_is_no_json_are_refused() -> None:
    wrong = await ask(make_app(Counter(make_model())), LIMITED, query="protocol=gemini")
    assert (wrong.status, wrong.json()["error"]["code"]) == (400, "invalid_parameter")
    with pytest.raises(RequestShapeError) as caught:
        protocol_of(b"[1", [])
    assert caught.value.code == "invalid_json"


# --- the ledger's own rules -------------------------------------------------------------------------------------------


@pytest.fixture
def workspace() -> Workspace:
    """A workspace with a dollar."""
    row = make_workspace()
    fund(row, "1")
    return row


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("amount", "floor"), [(0, 0), (1, 1), (10**9, 10**9), (10**9 + 1, 10**9 + 1), (10**10, 5), (10**10, 10**9 + 1)]
)
@pytest.mark.parametrize("is_frozen", [False, True])
def test_what_would_be_admitted_is_what_is_admitted(
    workspace: Workspace, amount: int, floor: int, is_frozen: bool
) -> None:
    if is_frozen:
        ledger.set_frozen(workspace_id=workspace.pk, frozen=True)
    admission = Admission(uuid7(), workspace.pk, make_api_key(workspace).row.pk, "m", amount, floor, 600.0)
    before = balance_of(workspace.pk)
    quoted = would_admit(admission)
    assert open_holds(workspace.pk) == []
    assert balance_of(workspace.pk) == before
    (admitted,) = ledger.admit([admission])
    assert (quoted.refusal, quoted.held, quoted.available) == (admitted.refusal, admitted.held, before.available)


@pytest.mark.django_db
def test_a_workspace_that_never_had_credit_can_ask() -> None:
    stranger = make_workspace()
    quoted = would_admit(Admission(uuid7(), stranger.pk, 1, "m", 5, 5, 600.0))
    assert (quoted.refusal, quoted.available) == (Refusal.INSUFFICIENT_CREDITS, 0)
