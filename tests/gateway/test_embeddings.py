"""Embeddings on their way through the pipeline: what is held, what is refused, and that a large answer holds nobody up."""

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from billing.rating import Rates
from billing.types import Admission, Admitted
from gateway.errors import ApiError
from gateway.limits.minute import MinuteLimiter
from gateway.pipeline.admit import admit
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.settle import Settler
from gateway.protocols.clients import EMBEDDINGS
from gateway.protocols.embeddings import parse_embeddings_request
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.store import Store
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.gateway.asgi import Client
from tests.gateway.exchanges import PRINCIPAL, NotingStore, ScriptedCall, make_model, make_route

#: $0.02 per million tokens: 20 nano-USD each.
RATES = Rates(input=20_000_000, output=0)
MODEL = make_model(kind="embedding", max_output_tokens=None, supports_streaming=False, rates=RATES, tags=())


def make_exchange(client: Client, **fields: Any) -> Exchange:
    """Make an exchange whose answer goes to ``client``."""
    exchange = Exchange(
        id=uuid7(),
        send=client.send,
        started_at=clock.now(),
        started=clock.monotonic(),
        principal=PRINCIPAL,
        protocol=EMBEDDINGS,
        request=parse_embeddings_request(msgspec.json.encode({"model": "our-name", "input": "Hello", **fields})),
    )
    exchange.model = MODEL
    return exchange


class Ledger:
    """Grants what is asked for, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[Admission] = []

    async def admit(self, admission: Admission) -> Admitted:
        self.asked.append(admission)
        return Admitted(admission.request_id, refusal=None, held=admission.amount, available=10**12)


async def _admit(exchange: Exchange) -> list[Admission]:
    ledger = Ledger()
    await admit(exchange, store=cast(Store, ledger), minute=cast(MinuteLimiter, None), lease=45.0)
    return ledger.asked


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [
        # {"model":"our-name","input":"Hello"} is 36 bytes; a token is one of them at least.
        ("Hello", 36 + 64 + 16),
        (["Hello"], 38 + 64 + 16),
        (["Hello", "there"], 46 + 64 + 2 * 16),
        ([15339, 1070, 11], 3 + 64 + 16),
        ([[15339, 1070], [11]], 3 + 64 + 2 * 16),
        # More than one context window: each input has its own.
        (["x" * 7_000] * 2, 31 + 2 * 7_002 + 1 + 64 + 2 * 16),
    ],
)
async def test_the_hold_is_all_the_input_there_can_be_and_no_output(given_input: Any, tokens: int) -> None:
    exchange = make_exchange(Client(), input=given_input)
    (admission,) = await _admit(exchange)
    assert admission.amount == admission.floor == tokens * 20
    assert exchange.max_tokens is None
    assert exchange.headers == []


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"kind": "chat"}, 400, "wrong_model_kind"),
        ({"tags": ("uncensored",)}, 403, "policy_not_accepted"),
        ({"routes": ()}, 503, "upstream_unavailable"),
    ],
)
async def test_what_a_model_cannot_do_is_said_before_anything_is_counted(
    changes: dict[str, Any], status: int, code: str
) -> None:
    exchange = make_exchange(Client())
    exchange.model = replace(MODEL, **changes)
    with pytest.raises(ApiError) as caught:
        await _admit(exchange)
    assert (caught.value.status, caught.value.code) == (status, code)


class Rig:
    """A dispatcher whose upstreams are scripted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *calls: ScriptedCall) -> None:
        self.store = NotingStore()
        self.sent: list[dict[str, Any]] = []
        left = list(calls)

        def open_scripted(client: object, route: Any, body: bytes) -> ScriptedCall:
            self.sent.append(json.loads(body))
            return left.pop(0)

        monkeypatch.setattr("gateway.pipeline.dispatch.open_embeddings", open_scripted)
        settler = Settler(store=cast(Store, self.store), wait=5.0)
        self.dispatcher = Dispatcher(client=cast(Any, None), settler=settler, keepalive=15.0)

    async def serve(self, exchange: Exchange) -> None:
        """Serve an exchange by its model's routes, in order."""
        await self.dispatcher.serve(exchange, exchange.served_model().routes)


def answer_of(*vectors: list[float], tokens: int) -> bytes:
    """Make an answer as an upstream sends it."""
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": "their-name", "usage": usage})


async def test_an_answer_is_sent_after_one_settlement_by_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, client = Rig(monkeypatch, ScriptedCall(body=answer_of([0.5, 1.0], tokens=7))), Client()
    rig.store.gate.clear()
    task = asyncio.create_task(rig.serve(make_exchange(client)))
    await rig.store.asked.wait()
    assert client.messages == []
    rig.store.gate.set()
    await task
    assert client.json()["data"][0]["embedding"] == [0.5, 1.0]
    assert client.json()["model"] == "our-name"
    ((settlement, record),) = rig.store.settled
    assert settlement.rated == 7 * 20
    assert (record.input_tokens, record.output_tokens, record.status, record.is_stream) == (7, 0, "ok", False)
    # The upstream of these tests is of the provider "openai", which gives base64.
    assert rig.sent == [{"model": "their-name", "input": "Hello", "encoding_format": "base64"}]


async def test_the_next_route_is_tried_and_the_failed_one_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = ScriptedCall(start=UpstreamFailure(FailureKind.SERVER_ERROR, status=500))
    garbled = ScriptedCall(body=answer_of([0.5], [1.0], tokens=9))
    rig = Rig(monkeypatch, failing, garbled, ScriptedCall(body=answer_of([0.25], tokens=3)))
    client = Client()
    exchange = make_exchange(client)
    exchange.model = replace(MODEL, routes=(make_route("first"), make_route("second"), make_route("third")))
    await rig.serve(exchange)
    assert client.json()["data"][0]["embedding"] == [0.25]
    ((settlement, _),) = rig.store.settled
    assert settlement.rated == 3 * 20
    assert failing.closed
    assert garbled.closed


async def test_an_upstream_that_has_no_embeddings_is_a_failure_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, client = Rig(monkeypatch), Client()
    route = make_route("first")
    exchange = make_exchange(client)
    foreign = replace(route, upstream=replace(route.upstream, protocol="anthropic_messages"))
    exchange.model = replace(MODEL, routes=(foreign,))
    await rig.serve(exchange)
    assert (client.status, client.json()["error"]["code"]) == (502, "upstream_invalid_response")
    ((settlement, _),) = rig.store.settled
    assert settlement.rated is None


async def test_a_large_answer_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = [number / 1536 for number in range(1536)]
    rig = Rig(monkeypatch, ScriptedCall(body=answer_of(*[vector] * 200, tokens=200)))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    client, other = Client(), asyncio.create_task(tick())
    await rig.serve(make_exchange(client, input=["x"] * 200, encoding_format="base64"))
    other.cancel()
    assert len(client.json()["data"]) == 200
    assert ticks > 15
