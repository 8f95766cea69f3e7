"""Every recorded answer once through a running gateway, to a client of either protocol: the grammar, the words, the usage."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.translate import PAIRS
from tests import recordings
from tests.fakes.strict import CREDENTIAL, StrictUpstream
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.judging import CHAT_MODEL, MODEL, TAGS, UPSTREAM
from tests.flows.wire import CHAT, Answer, encode_request, exchange
from tests.gateway.protocols.grammar import check_chat_stream, check_messages_stream
from tests.reading import Reading, read_chat_stream, read_chat_whole, read_messages_stream, read_messages_whole

MESSAGES = "/api/v1/messages"
PROTOCOLS = {"chat": "openai_chat", "messages": "anthropic_messages"}
STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
#: The status, before anything has come out, and the code of each kind of failure.
TOLD_AS = {
    "cut": (502, "upstream_error"),
    "timeout": (504, "upstream_timeout"),
    "server_error": (502, "upstream_error"),
    "rate_limited": (503, "upstream_unavailable"),
    "invalid": (502, "upstream_invalid_response"),
    "client_content": (400, "context_length_exceeded"),
}
#: Silence is waited for in the clients' suite.
NAMES = [name for kind in PROTOCOLS for name in recordings.names(kind) if recordings.load(name).ending != "stall"]


@pytest.fixture(scope="module")
def players(gateway: Gateway, installation: Installation) -> Iterator[dict[str, str]]:
    """A model on an upstream of each protocol that plays recordings."""
    with StrictUpstream() as strict:
        urls = {"chat": strict.chat_url, "messages": strict.messages_url}
        parts = [
            UPSTREAM.format(
                name=f"player-{kind}",
                provider="player",
                protocol=PROTOCOLS[kind],
                url=urls[kind],
                credential=CREDENTIAL,
            )
            for kind in PROTOCOLS
        ]
        parts += [
            MODEL.format(
                id=f"player/{kind}",
                kind="chat",
                tags=json.dumps(TAGS),
                price=CHAT_MODEL,
                upstream=f"player-{kind}",
                model=f"{strict.mark}-{kind}",
            )
            for kind in PROTOCOLS
        ]
        catalog = installation.folder / "players.toml"
        catalog.write_text("".join(parts))
        installation.manage("catalog", "apply", str(catalog))
        yield {kind: f"player/{kind}" for kind in PROTOCOLS}


@pytest.fixture(scope="module")
def listener(installation: Installation) -> Tenant:
    """One workspace for all."""
    return installation.new_tenant()


def _ask(gateway: Gateway, key: str, client: str, model: str, name: str) -> Answer:
    is_stream = recordings.load(name).is_stream
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": f"[play:{name}]"}],
        "stream": is_stream,
    }
    if client == "messages":
        body["max_tokens"] = 1000
    elif is_stream:
        body["stream_options"] = {"include_usage": True}
    path = CHAT if client == "chat" else MESSAGES
    answer = exchange(gateway.port, encode_request(path=path, key=key, body=json.dumps(body).encode()))
    if b"model_not_found" in answer.body:  # the running gateway learns of a new model within a second
        return _ask(gateway, key, client, model, name)
    return answer


def _read(client: str, answer: Answer, *, is_stream: bool) -> Reading:
    if not is_stream:
        return (read_chat_whole if client == "chat" else read_messages_whole)(answer.body)
    if client == "chat":
        check_chat_stream(answer.body)
        return read_chat_stream(answer.body)
    check_messages_stream(answer.body)
    return read_messages_stream(answer.body)


@pytest.mark.parametrize("client", PROTOCOLS)
@pytest.mark.parametrize("name", NAMES)
def test_a_recording_comes_out_as_written_down(
    gateway: Gateway, listener: Tenant, players: dict[str, str], name: str, client: str
) -> None:
    recording = recordings.load(name)
    kind = recording.protocol
    if (PROTOCOLS[client], PROTOCOLS[kind]) not in PAIRS:
        pytest.skip(f"no translator from {client} to {kind}")
    answer = _ask(gateway, listener.key, client, players[kind], name)
    assert b"zyxgard" not in answer.body
    if recording.fails:
        _check_failure(client, answer, recording.case, is_stream=recording.is_stream)
        return
    if (client, kind) == ("messages", "chat") and recording.case["finish"] not in STOPS:
        # Its own word for an answer that was broken off: Messages has none, so there it is a failure.
        assert answer.status == 502
        return
    assert answer.status == 200, answer.body
    seen = _read(client, answer, is_stream=recording.is_stream)
    assert seen.complete
    assert seen.model == players[kind]
    _check_content(seen, recording.case, client=client, kind=kind)
    _check_usage(seen, recording.case)


def _check_failure(client: str, answer: Answer, case: dict[str, Any], *, is_stream: bool) -> None:
    status, code = TOLD_AS[case["failure"]]
    if not is_stream:
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)
        return
    assert answer.status == 200
    seen = _read(client, answer, is_stream=True)
    assert not seen.complete
    assert seen.error is not None
    assert seen.error["code"] == code
    assert seen.text == case.get("text", "")


def _check_content(seen: Reading, case: dict[str, Any], *, client: str, kind: str) -> None:
    refusal = case.get("refusal", "")
    assert seen.text + seen.refusal == case["text"] + refusal
    assert seen.reasoning == case.get("reasoning", "")
    assert seen.tools == case.get("tools", [])
    assert seen.redacted == case.get("redacted", []) or (client, kind) == ("messages", "chat")
    if client == "chat":
        assert seen.finish == case["finish"]
        assert seen.signatures == case.get("signatures", [])
    elif kind == "messages":
        assert seen.finish == case["stop_reason"]
        assert seen.signatures == case.get("signatures", [])
    else:
        assert seen.finish in ("refusal" if refusal else "", STOPS.get(case["finish"], "end_turn"))
        assert all(seen.signatures)


def _check_usage(seen: Reading, case: dict[str, Any]) -> None:
    told = seen.classes()
    assert told is not None
    assert all(type(count) is int and 0 <= count <= 100_000_000 for count in told.values()), told
    expected = case.get("usage")
    if not case["text"] and not case.get("tools") and not case.get("refusal"):
        assert not any(told.values()), "an answer without a word is not billed"
    elif expected is None or "flags" in case:
        assert told["output"] > 0
    else:
        assert told == {name: expected[name] for name in told}
