"""Dispatch and settle: what the client sees, when it sees the end, which upstream is tried, and what is billed."""

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from billing.types import Settled, Settlement
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.settle import Settler
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.store import Store, UsageRecord
from gateway.upstreams.taker import Taker, hand_over
from tests.gateway.asgi import Client, Message
from tests.gateway.exchanges import (
    ClientLine,
    NotingStore,
    ScriptedCall,
    Step,
    chunk,
    make_exchange,
    make_model,
    make_route,
    usage,
    whole,
)

#: 12 tokens in and 8 out at $0.50 and $1.50 per million, in nano-USD.
CHARGE_12_8 = 12 * 500 + 8 * 1500


class Rig:
    """A dispatcher whose upstreams are scripted, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, keepalive: float = 15.0, wait: float = 5.0) -> None:
        self.store = NotingStore()
        self.calls: dict[str, list[ScriptedCall]] = {}
        self.tried: list[str] = []

        def open_scripted(client: object, route: Any, body: bytes, *, stream: bool, betas: object) -> ScriptedCall:
            self.tried.append(route.upstream.name)
            self.max_tokens = json.loads(body).get("max_completion_tokens")
            return self.calls[route.upstream.name].pop(0)

        monkeypatch.setattr("gateway.pipeline.dispatch.open_upstream", open_scripted)
        settler = Settler(store=cast(Store, self.store), wait=wait)
        self.dispatcher = Dispatcher(client=cast(Any, None), settler=settler, keepalive=keepalive)

    def script(self, name: str, *calls: ScriptedCall) -> None:
        """Say what the upstream's calls do, in order."""
        self.calls[name] = list(calls)

    async def serve(self, exchange: Exchange) -> None:
        """Serve an exchange by its model's routes, in order."""
        await self.dispatcher.serve(exchange, exchange.served_model().routes)

    @property
    def settlement(self) -> Settlement:
        """The only settlement there was."""
        assert len(self.store.settled) == 1
        return self.store.settled[0][0]

    @property
    def record(self) -> UsageRecord:
        """The only usage record there was."""
        assert len(self.store.settled) == 1
        return self.store.settled[0][1]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A rig with the usual times."""
    return Rig(monkeypatch)


def events(client: Client) -> list[Any]:
    """Return the data payloads of a stream, JSON decoded, with [DONE] as text."""
    found = []
    for line in client.body.decode().split("\n\n"):
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


async def test_a_whole_answer_is_relayed_with_our_names_and_billed_by_its_usage(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client)
    body = whole("Hi!", usage={"prompt_tokens": 12, "completion_tokens": 8}, extra={"kept": True})
    rig.script("first", ScriptedCall(body=body))
    await rig.serve(exchange)
    answer = client.json()
    assert client.status == 200
    assert answer["id"] == f"chatcmpl-{exchange.request_id}"
    assert answer["model"] == "our-name"
    assert answer["extra"] == {"kept": True}
    assert rig.settlement.rated == CHARGE_12_8
    assert (rig.record.input_tokens, rig.record.output_tokens, rig.record.status) == (12, 8, "ok")
    assert rig.record.usage_source == "upstream"


async def test_a_stream_ends_only_after_its_settlement_has_committed(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True)
    rig.store.gate.clear()
    rig.script("first", ScriptedCall(steps=[chunk("Hel"), chunk("lo"), chunk(finish="stop"), usage(12, 8)]))
    task = asyncio.create_task(rig.serve(exchange))
    await rig.store.asked.wait()
    seen = events(client)
    assert [event["choices"][0]["delta"].get("content") for event in seen] == ["Hel", "lo"]
    assert not client.complete
    rig.store.gate.set()
    await task
    assert client.complete
    assert events(client)[-2]["choices"][0]["finish_reason"] == "stop"
    assert events(client)[-1] == "[DONE]"
    assert {event["model"] for event in events(client)[:-1]} == {"our-name"}
    assert rig.settlement.rated == CHARGE_12_8


async def test_usage_that_was_reported_too_early_is_told_again_as_it_is_billed(rig: Rig) -> None:
    client = Client()
    early = chunk("", usage={"prompt_tokens": 12, "completion_tokens": 0})
    rig.script("first", ScriptedCall(steps=[early, chunk("x" * 32), chunk(finish="stop")]))
    await rig.serve(make_exchange(client, stream=True, stream_options={"include_usage": True}))
    assert events(client)[-2]["usage"]["completion_tokens"] == 8
    assert rig.settlement.rated == CHARGE_12_8
    assert rig.record.flags == "usage_stale"


async def test_usage_is_told_to_a_client_who_asked_and_only_to_them(rig: Rig) -> None:
    steps = [chunk("Hi"), chunk(finish="stop"), usage(12, 8)]
    asking, silent = Client(), Client()
    rig.script("first", ScriptedCall(steps=steps), ScriptedCall(steps=steps))
    await rig.serve(make_exchange(asking, stream=True, stream_options={"include_usage": True}))
    await rig.serve(make_exchange(silent, stream=True))
    assert events(asking)[-2]["usage"]["completion_tokens"] == 8
    assert events(asking)[-2]["choices"] == []
    assert not any("usage" in event for event in events(silent)[:-1])


async def test_an_upstream_that_reports_nothing_is_estimated_and_the_client_is_told_the_same(rig: Rig) -> None:
    client = Client()
    rig.script("first", ScriptedCall(steps=[chunk("x" * 40), chunk(finish="stop")]))
    await rig.serve(make_exchange(client, stream=True, stream_options={"include_usage": True}))
    told = events(client)[-2]["usage"]
    assert rig.record.usage_source == "estimated"
    assert (told["prompt_tokens"], told["completion_tokens"]) == (rig.record.input_tokens, rig.record.output_tokens)
    assert rig.record.output_tokens == 10
    assert rig.settlement.rated == rig.record.input_tokens * 500 + 10 * 1500


async def test_absurd_usage_is_clamped_flagged_and_told_as_billed(rig: Rig) -> None:
    client = Client()
    body = whole("Hi!", usage={"prompt_tokens": -5, "completion_tokens": 3})
    rig.script("first", ScriptedCall(body=body))
    await rig.serve(make_exchange(client))
    assert client.json()["usage"]["prompt_tokens"] == 0
    assert rig.record.flags == "usage_clamped"
    assert rig.settlement.rated == 3 * 1500


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (UpstreamFailure(FailureKind.CONNECT), 502, "upstream_error"),
        (UpstreamFailure(FailureKind.AUTH, status=401), 502, "upstream_error"),
        (UpstreamFailure(FailureKind.NOT_FOUND, status=404), 502, "upstream_error"),
        (UpstreamFailure(FailureKind.SERVER_ERROR, status=500), 502, "upstream_error"),
        (UpstreamFailure(FailureKind.INVALID), 502, "upstream_invalid_response"),
        (UpstreamFailure(FailureKind.RATE_LIMITED, status=429, retry_after=3600), 503, "upstream_unavailable"),
        (UpstreamFailure(FailureKind.TIMEOUT), 504, "upstream_timeout"),
        (UpstreamFailure(FailureKind.CLIENT_CONTENT, status=400), 400, "invalid_parameter"),
        (
            UpstreamFailure(FailureKind.CLIENT_CONTENT, status=400, code="context_length_exceeded"),
            400,
            "context_length_exceeded",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_content_keeps_its_status_and_costs_nothing(
    rig: Rig, failure: UpstreamFailure, status: int, code: str, stream: bool
) -> None:
    client = Client()
    rig.script("first", ScriptedCall(start=failure))
    await rig.serve(make_exchange(client, stream=stream))
    assert (client.status, client.json()["error"]["code"]) == (status, code)
    assert client.headers["content-type"] == "application/json"
    assert rig.settlement.rated is None
    assert rig.record.http_status == status
    assert rig.record.error_code == code
    if code == "upstream_unavailable":
        assert int(client.headers["retry-after"]) <= 20


async def test_another_upstream_answers_when_the_first_fails_before_content(rig: Rig) -> None:
    client = Client()
    model = make_model(make_route("first"), make_route("second", priority=2))
    rig.script("first", ScriptedCall(steps=[chunk(), UpstreamFailure(FailureKind.CUT)]))
    rig.script("second", ScriptedCall(steps=[chunk("Hi"), chunk(finish="stop"), usage(12, 8)]))
    await rig.serve(make_exchange(client, stream=True, model=model))
    assert rig.tried == ["first", "second"]
    assert events(client)[-1] == "[DONE]"
    assert rig.settlement.rated == CHARGE_12_8


async def test_after_the_first_content_no_other_upstream_is_tried_and_what_came_is_billed(rig: Rig) -> None:
    client = Client()
    model = make_model(make_route("first"), make_route("second", priority=2))
    rig.script("first", ScriptedCall(steps=[chunk("x" * 8), UpstreamFailure(FailureKind.CUT, produced=True)]))
    exchange = make_exchange(client, stream=True, model=model)
    await rig.serve(exchange)
    assert rig.tried == ["first"]
    assert client.status == 200
    last = events(client)[-1]
    assert last["error"]["code"] == "upstream_error"
    assert last["request_id"] == exchange.request_id
    assert "[DONE]" not in events(client)
    assert client.complete
    assert rig.record.status == "cut"
    assert rig.settlement.rated == rig.record.input_tokens * 500 + 2 * 1500


async def test_content_and_an_error_in_one_read_are_content_and_then_an_error(rig: Rig) -> None:
    client = Client()
    error = b'{"error":{"message":"their words","type":"server_error"}}'

    class OneRead(ScriptedCall):
        async def pour(self, taker: Taker) -> None:
            await hand_over([chunk("x" * 8), error], taker)

    rig.script("first", OneRead())
    await rig.serve(make_exchange(client, stream=True))
    assert [list(event) for event in events(client)][-1] == ["type", "error", "request_id"]
    assert events(client)[0]["choices"][0]["delta"]["content"] == "x" * 8
    assert b"their words" not in client.body
    assert rig.record.output_tokens == 2


async def test_the_clients_own_fault_is_not_tried_elsewhere(rig: Rig) -> None:
    client = Client()
    model = make_model(make_route("first"), make_route("second", priority=2))
    rig.script("first", ScriptedCall(start=UpstreamFailure(FailureKind.CLIENT_CONTENT, status=400)))
    await rig.serve(make_exchange(client, model=model))
    assert rig.tried == ["first"]
    assert client.status == 400


async def test_at_most_three_upstreams_are_tried(rig: Rig) -> None:
    client = Client()
    names = ["first", "second", "third", "fourth"]
    for name in names:
        rig.script(name, ScriptedCall(start=UpstreamFailure(FailureKind.SERVER_ERROR, status=500)))
    await rig.serve(make_exchange(client, model=make_model(*map(make_route, names))))
    assert rig.tried == names[:3]
    assert client.status == 502


@pytest.mark.parametrize("kind", [FailureKind.CUT, FailureKind.TIMEOUT])
async def test_a_stream_that_lacks_only_done_is_whole(rig: Rig, kind: FailureKind) -> None:
    client = Client()
    failure = UpstreamFailure(kind, produced=True)
    steps: list[Step] = [chunk("Hi"), chunk(finish="stop"), usage(12, 8), failure]
    rig.script("first", ScriptedCall(steps=steps))
    await rig.serve(make_exchange(client, stream=True))
    assert events(client)[-1] == "[DONE]"
    assert rig.record.status == "ok"


async def test_a_client_that_leaves_is_billed_for_the_whole_answer(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True)

    def leave() -> None:
        exchange.client_gone = True

    call = ScriptedCall(steps=[chunk("Hel"), leave, chunk("lo"), chunk(finish="stop"), usage(12, 8)])
    rig.script("first", call)
    await rig.serve(exchange)
    assert call.played == 5
    assert rig.settlement.rated == CHARGE_12_8
    assert rig.record.status == "client_closed"
    assert len(events(client)) == 1


async def test_a_client_that_leaves_a_reasoning_model_is_billed_by_its_report(rig: Rig) -> None:
    exchange = make_exchange(Client(), stream=True, model=make_model(tags=("reasoning",)))

    def leave() -> None:
        exchange.client_gone = True

    call = ScriptedCall(steps=[chunk("x" * 4), leave, chunk("y" * 4), chunk(finish="stop"), usage(12, 900)])
    call.stops_billing_on_cancel = True
    rig.script("first", call)
    await rig.serve(exchange)
    assert rig.record.output_tokens == 900
    assert rig.record.usage_source == "upstream"


async def test_a_client_that_leaves_stops_an_upstream_that_stops_its_bill_too(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True, model=make_model(tags=()))

    def leave() -> None:
        exchange.client_gone = True

    call = ScriptedCall(steps=[chunk("x" * 4), leave, chunk("y" * 4), chunk("z" * 4), chunk(finish="stop")])
    call.stops_billing_on_cancel = True
    rig.script("first", call)
    await rig.serve(exchange)
    assert call.closed
    assert call.played == 3
    assert rig.record.usage_source == "estimated"
    assert rig.record.output_tokens == 2


async def test_nothing_is_written_before_content_until_the_first_life_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, keepalive=0.05)
    client = Client()
    seen: list[bytes] = []
    twice = asyncio.Event()

    def note(message: Message) -> None:
        seen.append(message.get("body", b"head"))
        if seen.count(b": keep-alive\n\n") == 2:
            twice.set()

    class Thinking(ScriptedCall):
        async def pour(self, taker: Taker) -> None:
            await hand_over([chunk()], taker)
            await asyncio.wait_for(twice.wait(), 10)
            await hand_over([chunk("Hi"), chunk(finish="stop"), usage(1, 1)], taker)

    client.on_message = note
    rig.script("first", Thinking())
    await rig.serve(make_exchange(client, stream=True))
    assert seen[:3] == [b"head", b": keep-alive\n\n", b": keep-alive\n\n"]
    assert events(client)[-1] == "[DONE]"


async def test_a_failure_after_a_life_sign_is_an_error_event(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, keepalive=0.02)
    client = Client()
    rig.script("first", ScriptedCall(steps=[0.05, UpstreamFailure(FailureKind.SERVER_ERROR, status=500)]))
    await rig.serve(make_exchange(client, stream=True))
    assert client.status == 200
    assert events(client)[-1]["error"]["type"] == "server_error"
    assert rig.settlement.rated is None


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_cannot_be_recorded_is_not_given_an_end(
    monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    rig = Rig(monkeypatch, wait=0.05)
    rig.store.gate.clear()
    client = Client()
    steps = [chunk("Hi"), chunk(finish="stop"), usage(12, 8)]
    body = whole("Hi", usage={"prompt_tokens": 12, "completion_tokens": 8})
    rig.script("first", ScriptedCall(steps=steps, body=body) if stream else ScriptedCall(body=body))
    await rig.serve(make_exchange(client, stream=stream))
    error = events(client)[-1]["error"] if stream else client.json()["error"]
    assert error["code"] == "unavailable"
    assert b"[DONE]" not in client.body
    # It stays queued: the answer is billed when the database is back.
    assert rig.settlement.rated == CHARGE_12_8


async def test_an_answer_of_nothing_is_free(rig: Rig) -> None:
    client = Client()
    rig.script("first", ScriptedCall(body=whole("", usage={"prompt_tokens": 12, "completion_tokens": 0})))
    await rig.serve(make_exchange(client))
    assert client.status == 200
    assert rig.settlement.rated is None
    assert client.json()["usage"]["total_tokens"] == 0
    assert rig.record.status == "released"


async def test_the_whole_call_has_a_limit(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client)
    route = make_route("first")
    exchange.model = make_model(replace(route, upstream=replace(route.upstream, total_timeout=0.05)))
    rig.script("first", ScriptedCall(steps=[5.0], body=whole("late")))
    await rig.serve(exchange)
    assert (client.status, client.json()["error"]["code"]) == (504, "upstream_timeout")
    assert rig.settlement.rated is None


async def test_a_bug_is_a_500_in_the_error_shape_and_closes_the_hold(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client)
    await rig.dispatcher.give_up(exchange)
    assert (client.status, client.json()["error"]["code"]) == (500, "internal_error")
    assert rig.settlement.rated is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_settlement_that_is_refused_again_leaves_no_client_waiting(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    def refuse(*_: object) -> "asyncio.Future[Settled]":
        refused: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        refused.set_exception(ValueError("the database refuses it"))
        return refused

    monkeypatch.setattr(rig.store, "settle", refuse)
    client = Client()
    exchange = make_exchange(client, stream=stream)
    if stream:  # which had begun
        exchange.head_sent = True
        await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    await rig.dispatcher.give_up(exchange)
    assert b"internal_error" in client.body
    assert client.complete


@pytest.mark.parametrize("is_free", [True, False])
async def test_a_stream_is_the_same_on_a_free_line_and_on_a_busy_one(rig: Rig, is_free: bool) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True)
    exchange.line = line = ClientLine(client)
    line.is_free = is_free

    def turn() -> None:
        line.is_free = not line.is_free

    steps: list[Step] = [chunk("a"), chunk("b"), turn, chunk("c"), turn, chunk("d"), chunk(finish="stop"), usage(12, 8)]
    rig.script("first", ScriptedCall(steps=steps))
    await rig.serve(exchange)
    assert client.status == 200
    assert [event["choices"][0]["delta"].get("content") for event in events(client)[:-1]] == ["a", "b", "c", "d", None]
    assert client.complete
    assert len(line.written) == (3 if is_free else 1)
    assert not any(b'finish_reason":"stop' in data for data in line.written)
    assert rig.settlement.rated == CHARGE_12_8


@pytest.mark.parametrize("is_free", [True, False])
async def test_what_came_before_an_error_in_one_read_is_sent_first(rig: Rig, is_free: bool) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True)
    exchange.line = line = ClientLine(client)
    line.is_free = is_free

    class OneRead(ScriptedCall):
        async def pour(self, taker: Taker) -> None:
            await hand_over([chunk("before"), b'{"error":{"message":"x","type":"server_error"}}'], taker)
            raise AssertionError("the error was not raised")

    rig.script("first", OneRead())
    await rig.serve(exchange)
    first, last = events(client)
    assert first["choices"][0]["delta"]["content"] == "before"
    assert last["error"]["code"] == "upstream_error"
    assert rig.record.status == "cut"


async def test_a_client_that_left_is_written_nothing_and_the_rest_is_billed(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True)
    exchange.line = line = ClientLine(client)

    def leave() -> None:
        exchange.client_gone = True

    rig.script(
        "first", ScriptedCall(steps=[chunk("a"), leave, chunk("b"), chunk("c"), chunk(finish="stop"), usage(12, 8)])
    )
    await rig.serve(exchange)
    assert len(line.written) == 1
    assert rig.record.status == "client_closed"
    assert rig.settlement.rated == CHARGE_12_8


async def test_what_came_out_before_a_bug_of_ours_is_billed(rig: Rig) -> None:
    client = Client()
    exchange = make_exchange(client, stream=True)
    rig.script("first", ScriptedCall(steps=[chunk("x" * 8), ValueError("a bug")]))
    with pytest.raises(ValueError, match="a bug"):
        await rig.serve(exchange)
    await rig.dispatcher.give_up(exchange)
    assert events(client)[-1]["error"]["code"] == "internal_error"
    assert rig.record.status == "cut"
    assert rig.settlement.rated == rig.record.input_tokens * 500 + 2 * 1500
