"""A Messages exchange through dispatch and settlement: what the client sees, in which order, and what is billed."""

import asyncio
import json
from typing import Any

import pytest

from gateway.protocols.failures import FailureKind, UpstreamFailure
from tests.gateway.asgi import Client
from tests.gateway.exchanges import ScriptedCall, Step, make_messages_exchange, make_model, make_route
from tests.gateway.protocols.grammar import check_messages_stream
from tests.gateway.test_dispatch import Rig

START = (
    b'{"type":"message_start","message":{"id":"msg_theirs","type":"message","role":"assistant","model":"their-name",'
    b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"output_tokens":1}}}'
)
OPEN = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
CLOSE = b'{"type":"content_block_stop","index":0}'
DELTA = b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":8}}'
STOP = b'{"type":"message_stop"}'
#: 12 tokens in and 8 out at $0.50 and $1.50 per million, in nano-USD.
CHARGE = 12 * 500 + 8 * 1500


def text(words: str) -> bytes:
    """Make a delta of text as an upstream sends it."""
    delta = {"type": "text_delta", "text": words}
    return json.dumps({"type": "content_block_delta", "index": 0, "delta": delta}).encode()


def events(client: Client) -> list[dict[str, Any]]:
    """Return the events that a client got."""
    lines = client.body.decode().split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A rig with the usual times."""
    return Rig(monkeypatch)


async def test_a_stream_is_relayed_with_our_names_and_its_end_waits_for_the_bill(rig: Rig) -> None:
    client = Client()
    exchange = make_messages_exchange(client, stream=True)
    rig.script("first", ScriptedCall(steps=[START, OPEN, text("Hel"), text("lo"), CLOSE, DELTA, STOP]))
    rig.store.gate.clear()
    serving = asyncio.create_task(rig.serve(exchange))
    await rig.store.asked.wait()
    await asyncio.sleep(0.01)
    assert [event["type"] for event in events(client)][-1] == "content_block_stop"
    rig.store.gate.set()
    await serving
    check_messages_stream(client.body)
    first, *_, delta, _ = events(client)
    assert first["message"]["id"] == f"msg_{exchange.request_id}"
    assert first["message"]["model"] == "our-name"
    assert delta["usage"]["output_tokens"] == 8
    assert rig.settlement.rated == CHARGE
    assert b"their" not in client.body


async def test_a_whole_message_is_told_with_our_names_and_billed(rig: Rig) -> None:
    client = Client()
    message = {
        "id": "msg_theirs",
        "type": "message",
        "role": "assistant",
        "model": "their-name",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 8},
    }
    exchange = make_messages_exchange(client)
    rig.script("first", ScriptedCall(body=json.dumps(message).encode()))
    await rig.serve(exchange)
    usage = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 8}
    assert client.json() == message | {"id": f"msg_{exchange.request_id}", "model": "our-name", "usage": usage}
    assert rig.settlement.rated == CHARGE


async def test_a_waiting_client_gets_a_comment_before_the_message_and_pings_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig, client = Rig(monkeypatch, keepalive=0.02), Client()
    steps: list[Step] = [START, 0.05, OPEN, text("Hi"), 0.05, CLOSE, DELTA, STOP]
    rig.script("first", ScriptedCall(steps=steps))
    await rig.serve(make_messages_exchange(client, stream=True))
    before, _, after = client.body.partition(b"event: message_start")
    assert before.startswith(b": keep-alive\n\n")
    assert b"event: ping" not in before
    assert b"event: ping\n" in after
    assert b": keep-alive" not in after
    check_messages_stream(client.body)


async def test_a_failure_amid_a_message_is_an_error_event_and_what_came_out_is_billed(rig: Rig) -> None:
    client = Client()
    failure = UpstreamFailure(FailureKind.CUT, "their-name broke off")
    rig.script("first", ScriptedCall(steps=[START, OPEN, text("x" * 8), failure]))
    await rig.serve(make_messages_exchange(client, stream=True))
    check_messages_stream(client.body)
    last = events(client)[-1]
    assert (last["type"], last["error"]["type"]) == ("error", "server_error")
    assert client.body.endswith(b"\n\n")
    assert b"event: error\n" in client.body
    assert b"their" not in client.body
    assert rig.record.status == "cut"
    assert (rig.settlement.rated or 0) > 0


async def test_a_failure_before_content_keeps_its_status_and_another_upstream_is_tried(rig: Rig) -> None:
    client = Client()
    routes = [
        make_route(name, priority=at, protocol="anthropic_messages") for at, name in enumerate(["first", "second"])
    ]
    rig.script("first", ScriptedCall(steps=[START, UpstreamFailure(FailureKind.SERVER_ERROR, status=529)]))
    rig.script("second", ScriptedCall(start=UpstreamFailure(FailureKind.TIMEOUT)))
    await rig.serve(make_messages_exchange(client, stream=True, model=make_model(*routes)))
    assert rig.tried == ["first", "second"]
    assert (client.status, client.json()["type"], client.json()["error"]["code"]) == (504, "error", "upstream_timeout")
    assert rig.settlement.rated is None
