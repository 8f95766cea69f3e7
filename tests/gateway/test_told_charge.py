"""The charge as a client is told it: a header on whole answers, and ``usage.cost`` for those who ask for it."""

import json
from typing import Any, cast

import msgspec
import pytest

from billing.rating import Rates
from gateway.protocols.anthropic_body import messages_body
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.clients import EMBEDDINGS
from gateway.protocols.embeddings import embeddings_body, parse_embeddings_request
from gateway.protocols.generation import Generation, Target
from gateway.protocols.openai_chat import parse_chat_request
from gateway.protocols.openai_request import upstream_body
from gateway.protocols.wording import RequestShapeError
from gateway.translate import pair_for
from gateway.types import Profile
from tests.gateway.asgi import Client
from tests.gateway.exchanges import (
    ScriptedCall,
    Step,
    chunk,
    make_exchange,
    make_messages_exchange,
    make_model,
    make_route,
    usage,
    whole,
)
from tests.gateway.test_dispatch import CHARGE_12_8, Rig, events
from tests.gateway.test_embeddings import make_exchange as make_embeddings_exchange
from tests.gateway.test_messages_dispatch import CLOSE, DELTA, OPEN, START, STOP, text
from tests.gateway.test_messages_dispatch import events as messages_events

#: 12 tokens in and 8 out cost 18,000 nano-USD.
TOLD = "0.000018"
ASKED: dict[str, Any] = {"usage": {"include": True}}
COUNTS = {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20}
MESSAGE = {
    "id": "msg_theirs",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 12, "output_tokens": 8},
}


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A rig with the usual times."""
    return Rig(monkeypatch)


def digits_of_cost(body: bytes) -> str:
    """Return the one cost in a body, digit for digit as it was written."""
    costs: list[str] = []

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        costs.extend(value for name, value in pairs if name == "cost")
        return dict(pairs)

    for line in body.decode().splitlines():
        data = line.removeprefix("data: ")
        if data.startswith("{"):
            json.loads(data, parse_float=str, parse_int=str, object_pairs_hook=noted)
    (cost,) = costs
    return cost


@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_whole_chat_answer_tells_its_charge(rig: Rig, protocol: str, asked: bool) -> None:
    client = Client()
    model = make_model(make_route("first", protocol=protocol))
    body = whole("Hi!", usage=COUNTS) if protocol == "openai_chat" else json.dumps(MESSAGE).encode()
    rig.script("first", ScriptedCall(body=body))
    await rig.serve(make_exchange(client, model=model, **(ASKED if asked else {})))
    assert rig.settlement.rated == CHARGE_12_8
    assert client.headers["x-lumyx-charge"] == TOLD
    assert int(client.headers["content-length"]) == len(client.body)
    told = client.json()["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"]) == (12, 8)
    assert ("cost" in told) is asked
    if asked:
        assert digits_of_cost(client.body) == TOLD


@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_whole_message_tells_its_charge(rig: Rig, protocol: str, asked: bool) -> None:
    client = Client()
    model = make_model(make_route("first", protocol=protocol))
    body = whole("Hi!", usage=COUNTS) if protocol == "openai_chat" else json.dumps(MESSAGE).encode()
    rig.script("first", ScriptedCall(body=body))
    await rig.serve(make_messages_exchange(client, model=model, **(ASKED if asked else {})))
    assert client.headers["x-lumyx-charge"] == TOLD
    told = client.json()["usage"]
    assert (told["input_tokens"], told["output_tokens"]) == (12, 8)
    assert ("cost" in told) is asked
    if asked:
        assert digits_of_cost(client.body) == TOLD


USAGE_WITH_THE_END = chunk(finish="stop", usage=COUNTS)


@pytest.mark.parametrize("steps", [[chunk(finish="stop"), usage(12, 8)], [USAGE_WITH_THE_END]])
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
async def test_a_chat_stream_tells_its_charge_once_in_the_last_chunk(
    rig: Rig, steps: list[Step], options: dict[str, Any]
) -> None:
    client = Client()
    rig.script("first", ScriptedCall(steps=[chunk("Hel"), chunk("lo"), *steps]))
    await rig.serve(make_exchange(client, stream=True, **ASKED, **options))
    *others, last, end = events(client)
    assert end == "[DONE]"
    assert last["choices"] == []
    assert last["usage"] == COUNTS | {"cost": 0.000018}
    assert digits_of_cost(client.body) == TOLD
    assert not any(event.get("usage") for event in others)
    assert "x-lumyx-charge" not in client.headers


async def test_a_chat_stream_without_the_question_tells_none(rig: Rig) -> None:
    client = Client()
    rig.script("first", ScriptedCall(steps=[chunk("Hi"), chunk(finish="stop"), usage(12, 8)]))
    await rig.serve(make_exchange(client, stream=True, stream_options={"include_usage": True}))
    assert events(client)[-2]["usage"] == COUNTS


async def test_the_cost_of_a_stream_is_what_was_committed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger takes no more than the hold: what it answers is told, not what rating came to."""
    client = Client()
    rig.script("first", ScriptedCall(steps=[chunk("Hi"), chunk(finish="stop"), usage(12, 8)]))
    settle = rig.store._commit

    async def capped(settlement: Any, future: Any) -> None:
        await settle(msgspec.structs.replace(settlement, rated=7), future)

    monkeypatch.setattr(rig.store, "_commit", capped)
    await rig.serve(make_exchange(client, stream=True, **ASKED))
    assert digits_of_cost(client.body) == "0.000000007"


async def test_a_chat_stream_over_messages_tells_its_charge(rig: Rig) -> None:
    client = Client()
    model = make_model(make_route("first", protocol="anthropic_messages"))
    rig.script("first", ScriptedCall(steps=[START, OPEN, text("Hi"), CLOSE, DELTA, STOP]))
    await rig.serve(make_exchange(client, stream=True, model=model, **ASKED))
    assert digits_of_cost(client.body) == TOLD
    assert events(client)[-2]["choices"] == []


@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic_messages"])
async def test_a_message_stream_tells_its_charge_at_its_end(rig: Rig, protocol: str) -> None:
    client = Client()
    chat: list[Step] = [chunk("Hi"), chunk(finish="stop"), usage(12, 8)]
    steps: list[Step] = chat if protocol == "openai_chat" else [START, OPEN, text("Hi"), CLOSE, DELTA, STOP]
    rig.script("first", ScriptedCall(steps=steps))
    model = make_model(make_route("first", protocol=protocol))
    await rig.serve(make_messages_exchange(client, stream=True, model=model, **ASKED))
    assert digits_of_cost(client.body) == TOLD
    (delta,) = [event for event in messages_events(client) if event["type"] == "message_delta"]
    assert delta["usage"]["cost"] == 0.000018


async def test_an_answer_that_is_free_or_empty_says_so(rig: Rig) -> None:
    client = Client()
    model = make_model(is_free=True, rates=Rates(input=0, output=0))
    rig.script("first", ScriptedCall(body=whole("Hi!", usage=COUNTS)))
    await rig.serve(make_exchange(client, model=model, **ASKED))
    assert client.headers["x-lumyx-charge"] == "0"
    assert digits_of_cost(client.body) == "0"
    empty = Client()
    rig.script("first", ScriptedCall(body=whole("")))
    await rig.serve(make_exchange(empty, **ASKED))
    assert (empty.headers["x-lumyx-charge"], digits_of_cost(empty.body)) == ("0", "0")


@pytest.mark.parametrize("asked", [False, True])
async def test_embeddings_tell_their_charge(rig: Rig, monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    client = Client()
    reply = {
        "data": [{"index": 0, "embedding": [0.5, 1.0]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    call = ScriptedCall(body=json.dumps(reply).encode())
    monkeypatch.setattr("gateway.pipeline.dispatch.open_embeddings", lambda *_: call)
    exchange = make_embeddings_exchange(client, **(ASKED if asked else {}))
    await rig.serve(exchange)
    # 3 tokens of 20 nano-USD.
    assert client.headers["x-lumyx-charge"] == "0.00000006"
    assert client.json()["data"][0]["embedding"] == [0.5, 1.0]
    assert client.json()["usage"]["prompt_tokens"] == 3
    assert ("cost" in client.json()["usage"]) is asked
    if asked:
        assert digits_of_cost(client.body) == "0.00000006"


async def test_a_failed_answer_has_no_charge(rig: Rig) -> None:
    client = Client()
    rig.script("first", ScriptedCall(body=b'{"error":{"message":"no"}}'))
    await rig.serve(make_exchange(client, **ASKED))
    assert client.status >= 400
    assert "x-lumyx-charge" not in client.headers


MESSAGES: dict[str, Any] = {"model": "our-name", "messages": [{"role": "user", "content": "Hello"}]}
BODIES: list[tuple[Any, dict[str, Any]]] = [
    (parse_chat_request, MESSAGES),
    (parse_messages_request, {**MESSAGES, "max_tokens": 5}),
    (parse_embeddings_request, {"model": "our-name", "input": "Hello"}),
]


@pytest.mark.parametrize(("parse", "body"), BODIES)
def test_the_question_is_kept_from_upstreams_and_costs_nothing(parse: Any, body: dict[str, Any]) -> None:
    plain: Generation = parse(msgspec.json.encode(body))
    asking: Generation = parse(msgspec.json.encode({**body, "usage": {"include": True, "other": "x" * 500}}))
    assert (plain.wants_cost, asking.wants_cost) == (False, True)
    assert asking.fields == plain.fields
    assert asking.size == plain.size
    assert not parse(msgspec.json.encode({**body, "usage": {"include": False}})).wants_cost
    assert not parse(msgspec.json.encode({**body, "usage": None})).wants_cost
    for wrong in ({"include": "yes"}, True, "include"):
        with pytest.raises(RequestShapeError) as caught:
            parse(msgspec.json.encode({**body, "usage": wrong}))
        assert caught.value.message.startswith("usage")


def test_no_upstream_body_holds_the_question() -> None:
    chat = parse_chat_request(msgspec.json.encode({**MESSAGES, **ASKED}))
    message = parse_messages_request(msgspec.json.encode({**MESSAGES, "max_tokens": 5, **ASKED}))
    vectors = parse_embeddings_request(msgspec.json.encode({"model": "our-name", "input": "Hello", **ASKED}))
    target = Target(model="theirs", profile=Profile())
    bodies = [
        upstream_body(chat, model="theirs"),
        messages_body(message, target),
        embeddings_body(vectors, model="theirs"),
        *(pair_for("openai_chat", to).body(chat, target) for to in ("openai_chat", "anthropic_messages")),
        *(pair_for("anthropic_messages", to).body(message, target) for to in ("openai_chat", "anthropic_messages")),
    ]
    assert not any("usage" in cast(dict[str, Any], msgspec.json.decode(body)) for body in bodies)


@pytest.mark.parametrize("charge", [0, 1, 7, 123, 1_000_000_000, 1_500_000_000, 123_456_789_012_345_678, 2**63 - 1])
def test_the_number_is_exact_whatever_its_size(charge: int) -> None:
    body = EMBEDDINGS.add_cost(b'{"data":[],"usage":{"prompt_tokens":1}}', charge)
    whole_units, _, fraction = digits_of_cost(body).partition(".")
    assert int(whole_units) * 10**9 + int(fraction.ljust(9, "0")) == charge
