"""What a client was told, what the books say, what the receipt says: the same to the nano-dollar, and never above the quote.

A thousand random requests take the whole road on a real PostgreSQL: quote, admission, dispatch of a scripted upstream,
settlement, receipt.
"""

import asyncio
import datetime as dt
import random
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast

import pytest

from accounts.services.apikeys import NewApiKey
from billing.rating import TokenUsage, charge_for
from billing.selectors.ledger import balance_of, entries_of
from billing.services.ledger import grant
from billing.services.tiers import set_limits
from gateway.app import GatewayApp
from gateway.limits.minute import MinuteLimiter
from gateway.models import UsageEvent
from gateway.pipeline import Gateway, Limits
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.settle import Settler
from gateway.selectors.catalog import load_snapshot
from gateway.selectors.charge_audit import audit_charges
from gateway.selectors.usage_audit import unbilled_differences
from gateway.services.catalog import apply_catalog
from gateway.store import Store
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD, usd_to_nano
from tests.factories import fund, make_api_key, make_workspace
from tests.gateway.asgi import Client
from tests.gateway.exchanges import ScriptedCall
from tests.gateway.scripted_usage import Plan, call_for, number_in, random_plan, told_by
from tests.gateway.test_count_tokens import Minute
from tests.gateway.test_store import eventually, in_thread

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

REQUESTS, AT_ONCE = 250, 10
#: Rates below a nano-dollar a token, too, so that rounding has something to do.
PRICES: dict[str, dict[str, str]] = {
    "even": {"input": "0.50", "output": "1.50"},
    "odd": {"input": "0.000137", "output": "0.000911", "cache_read": "0.0000137", "cache_write": "0.000171"},
    "dear": {"input": "15", "output": "75.000001", "cache_read": "1.500003", "cache_write": "18.75"},
}


#: What the upstreams charge; what is not here is not known.
COSTS: dict[str, dict[str, str]] = {
    "chat/even": {"input": "0.30", "output": "1.10", "cache_read": "0.03"},
    "chat/odd": {"input": "0.000099", "output": "0.000777", "cache_read": "0.0000011", "cache_write": "0.000155"},
    "chat/free": {"input": "0.01", "output": "0.02"},
    "claude/dear": {"input": "16", "output": "60", "cache_read": "1.6", "cache_write": "20"},
    "vectors/odd": {"input": "0.000131"},
}


def _model(name: str, price: dict[str, str], upstream: str, **fields: Any) -> dict[str, Any]:
    model = {"id": name, "display_name": name, "context_window": 8_000, "max_output_tokens": 1_000, "price": price}
    route = {"upstream": upstream, "model": "their-name"} | ({"cost": COSTS[name]} if name in COSTS else {})
    return {**model, **fields, "routes": [route]}


def _catalog() -> dict[str, Any]:
    upstreams = [
        {"name": "chat", "provider": "openai-compatible", "protocol": "openai_chat"},
        {"name": "claude", "provider": "anthropic", "protocol": "anthropic_messages"},
    ]
    place = {"base_url": "https://upstream.example/v1", "credential": "sk-test-0123456789"}
    models = [_model(f"{up}/{name}", price, up) for up in ("chat", "claude") for name, price in PRICES.items()]
    free = _model("chat/free", {"input": "0", "output": "0"}, "chat", free=True)
    free.pop("price")
    models.append(free)
    vectors = {"kind": "embedding", "max_output_tokens": None}
    embedder = _model("vectors/odd", {"input": "0.000137"}, "chat", **vectors)
    embedder.pop("max_output_tokens")
    return {"upstreams": [up | place for up in upstreams], "models": [*models, embedder]}


@pytest.fixture
def key() -> NewApiKey:
    """A key of a workspace with much paid credit, and many small grants before it."""
    workspace = make_workspace("Test")
    fund(workspace, "1000")
    set_limits(workspace.pk, requests_per_minute=0, daily_requests=0)
    for at in range(40):
        ends = clock.now() + dt.timedelta(days=1 + at)
        kind = "vip" if at % 2 else "promo"
        grant(workspace_id=workspace.pk, kind=kind, amount=10 ** (at % 7 + 1), source=f"small:{at}", expires_at=ends)
    apply_catalog(_catalog())
    return make_api_key(workspace)


@pytest.fixture
async def store(key: NewApiKey) -> AsyncIterator[Store]:
    """An open store with the catalog."""
    made = Store()
    await made.open()
    await eventually(lambda: made._snapshot is not None and made._settlements._link.is_up, seconds=10)
    yield made
    await made.close()


class Road:
    """The application over a real store and a scripted upstream, and one client's way through it."""

    def __init__(self, store: Store, key: NewApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: dict[int, Plan] = {}
        self._key = key
        self.app = GatewayApp()
        self.app.gateway = Gateway(
            store=store,
            minute=cast(MinuteLimiter, Minute()),
            dispatcher=Dispatcher(client=cast(Any, None), settler=Settler(store=store, wait=10.0), keepalive=15.0),
            limits=Limits(body_limit=1_000_000, body_deadline=5.0, lease=60.0, sandbox_is_open=True),
        )

        def opened(_client: object, route: Any, body: bytes, **_: object) -> ScriptedCall:
            return call_for(self.plans[number_in(body)], route)

        monkeypatch.setattr("gateway.pipeline.dispatch.open_upstream", opened)
        monkeypatch.setattr("gateway.pipeline.dispatch.open_embeddings", opened)

    async def ask(self, path: str, body: bytes | None = None, *, query: str = "") -> Client:
        """Send a request; return what came back, which must be a 200."""
        headers = [("authorization", f"Bearer {self._key.secret}")]
        method = "GET" if body is None else "POST"
        client = Client(method=method, path=f"/api/v1{path}", headers=headers, parts=[body or b""])
        client.scope["query_string"] = query.encode()
        await client.run(self.app)
        assert client.status == 200, client.body
        return client

    async def travel(self, plan: Plan) -> tuple[Plan, int, dict[str, Any]]:
        """Quote, ask, and fetch the receipt; return the quote (nano-USD) and the receipt."""
        self.plans[plan.number] = plan
        quote = (await self.ask("/quote", plan.body(), query=f"protocol={plan.protocol}")).json()
        told = told_by(await self.ask(plan.path, plan.body()))
        receipt = (await self.ask("/generation", query=f"id={told.id}")).json()["data"]
        charge = int(receipt["charge_nano"])
        assert (told.header is None) == plan.stream
        assert told.header is None or usd_to_nano(told.header) == charge
        assert (told.cost is not None) == plan.asks_cost
        assert told.cost is None or told.cost * NANO_PER_USD == Decimal(charge)
        assert quote["affordable"]
        return plan, int(quote["max_charge_nano"]), receipt


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_all_who_speak_of_a_charge_say_the_same(
    store: Store, key: NewApiKey, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw, road, workspace_id = random.Random(seed), Road(store, key, monkeypatch), key.row.workspace_id
    models = [name for name in store.catalog().models if not name.startswith("vectors/")]
    plans = [random_plan(draw, number, models=models, embedders=["vectors/odd"]) for number in range(REQUESTS)]
    before = await in_thread(lambda: balance_of(workspace_id).posted)
    done: list[tuple[Plan, int, dict[str, Any]]] = []
    for at in range(0, REQUESTS, AT_ONCE):
        done += await asyncio.gather(*map(road.travel, plans[at : at + AT_ONCE]))
    events = await in_thread(lambda: {row.id.hex: row for row in UsageEvent.objects.filter(workspace_id=workspace_id)})
    entries = await in_thread(lambda: entries_of(workspace_id, limit=100_000))
    booked: Counter[str] = Counter()
    for entry in entries:
        if entry.kind == "usage":
            booked[entry.ref.replace("-", "")] -= entry.amount
    catalog = await in_thread(lambda: load_snapshot().models)
    rates = {name: model.rates for name, model in catalog.items()}
    costs = {name: model.routes[0].cost for name, model in catalog.items()}
    assert len(events) == len(done) == REQUESTS
    for plan, quoted, receipt in done:
        event, charge = events[receipt["id"]], int(receipt["charge_nano"])
        usage = TokenUsage(event.input_tokens, event.cache_read_tokens, event.cache_write_tokens, event.output_tokens)
        rated = charge_for(usage, rates[plan.model])
        assert charge == event.charge == booked[receipt["id"]] == min(rated, quoted)
        assert sum(int(paid["amount_nano"]) for paid in receipt["paid_by"]) == charge
        assert int(receipt["arithmetic"]["rounded_up_nano"]) == rated == charge + event.absorbed
        cost = costs[plan.model]
        assert (cost is None) == (plan.model not in COSTS)
        known = 0 if event.status == "released" else None if cost is None else charge_for(usage, cost)
        assert event.cost == known
        assert receipt["usage_source"] == ("estimated" if plan.usage is None else "reported")
        assert list(receipt["usage"].values())[:4] == [usage.input, usage.cache_read, usage.cache_write, usage.output]
    after = await in_thread(lambda: balance_of(workspace_id).posted)
    assert before - after == sum(event.charge for event in events.values())
    assert await in_thread(unbilled_differences) == []
    audit = await in_thread(lambda: audit_charges(workspace_id))
    assert (audit.checked, audit.wrong, audit.unpriced) == (REQUESTS, [], 0)
    # The dice have shown all that there is to see.
    shares = [len(receipt["paid_by"]) for _, _, receipt in done]
    assert max(shares) > 1
    assert min(shares) == 0
    assert any(event.absorbed and event.cost for event in events.values())
    assert any(event.is_free and event.cost for event in events.values())
    assert any(event.usage_source == "estimated" and event.cost for event in events.values())
    assert any(event.cost is None for event in events.values())
    assert {plan.protocol for plan in plans} == {"chat", "messages", "embeddings"}
