"""One upstream's stream on its way: what is kept back has a bound."""

import asyncio

import pytest

from gateway.pipeline.streaming import StreamRelay
from gateway.pipeline.writer import StreamWriter
from gateway.protocols.answers import Labels
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.translate import pair_for
from tests.gateway.asgi import Client
from tests.gateway.exchanges import ScriptedCall, Step, chunk, make_exchange

LIMIT = 20_000


@pytest.mark.parametrize(
    ("steps", "again"),
    [
        pytest.param([], chunk(), id="before its first content"),
        pytest.param([chunk("a"), chunk(finish="stop")], chunk("b"), id="after its finish"),
    ],
)
async def test_an_upstream_that_goes_on_where_nothing_may_go_out_is_given_up(
    monkeypatch: pytest.MonkeyPatch, steps: list[Step], again: bytes
) -> None:
    monkeypatch.setattr("gateway.pipeline.streaming.MAX_KEPT", LIMIT)
    exchange = make_exchange(Client(), stream=True)
    flood: list[Step] = [again] * 1000
    call = ScriptedCall(steps=[*steps, *flood])
    answer = pair_for("openai_chat", "openai_chat").stream(exchange.request, Labels("id", "our-name", 0))
    relay = StreamRelay(exchange, call, answer, StreamWriter(exchange, keepalive=30))
    with pytest.raises(UpstreamFailure) as caught:
        await asyncio.wait_for(relay.run(), 10)
    assert caught.value.kind is FailureKind.INVALID
    assert 100 < call.played < 400
