"""Six official clients, current and older majors, in Python and Node, over upstreams of both protocols: the whole matrix."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from gateway.translate import PAIRS
from tests.fakes.strict import COUNTED, StrictUpstream
from tests.flows import features
from tests.flows.books import Books
from tests.flows.features import CHAT, FAULTS, FEATURES, LIES, MESSAGES, MODELS, ROUTER
from tests.flows.installation import Gateway, Installation
from tests.flows.judging import (
    CLIENTS,
    EMBEDDERS,
    FAULTY,
    WORDS_OF_THE_UPSTREAM,
    Client,
    Court,
    catalog_for,
    wait_for_models,
)

PROTOCOLS = {CHAT: "openai_chat", MESSAGES: "anthropic_messages"}
UPSTREAMS = {model: name for models in (MODELS, FAULTY) for name, model in models.items()} | {ROUTER: "openai_chat"}
CHAT_CLIENTS = [client for client in CLIENTS if client.protocol == CHAT]
MESSAGES_CLIENTS = [client for client in CLIENTS if client.protocol == MESSAGES]


def for_each(clients: Sequence[Client]) -> pytest.MarkDecorator:
    """Run a test for each of these clients."""
    return pytest.mark.parametrize("client", clients, ids=[client.name for client in clients])


@pytest.fixture(scope="session")
def court(gateway: Gateway, installation: Installation) -> Iterator[Court]:
    """All clients at work."""
    with StrictUpstream() as strict:
        catalog = installation.folder / "judges.toml"
        catalog.write_text(catalog_for(strict))
        installation.manage("catalog", "apply", str(catalog))
        wait_for_models(gateway)
        court = Court(gateway, installation, strict)
        yield court
        court.close()


def _result(court: Court, client: Client, job: str, model: str = "openai_chat") -> dict[str, Any]:
    upstream = UPSTREAMS.get(model, model)
    if (PROTOCOLS[client.protocol], upstream) not in PAIRS:
        pytest.skip(f"no translator from {client.protocol} to {upstream}")
    result: dict[str, Any] = court.results_of(client.name)[job]
    return result


def _sound(result: dict[str, Any]) -> dict[str, Any]:
    assert "error" not in result, result["error"]
    return result


MATRIX = [
    pytest.param(client, name, model, mode, id=f"{client.name}-{model}-{mode}-{name}")
    for client in CLIENTS
    for name, feature in FEATURES.items()
    for model in features.upstreams_of(feature)
    for mode in ("whole", "stream")
]


@pytest.mark.parametrize(("client", "name", "model", "mode"), MATRIX)
def test_a_feature_comes_out_as_it_was_sent(court: Court, client: Client, name: str, model: str, mode: str) -> None:
    feature, upstream = FEATURES[name], UPSTREAMS[model]
    seen = _sound(_result(court, client, f"{name} | {model} | {mode}", model))
    assert seen["text"] == feature.text
    assert [(call["name"], call["arguments"]) for call in seen["tools"]] == list(feature.tools)
    assert len({call["id"] for call in seen["tools"]}) == len(feature.tools)
    assert seen["reasoning"] == feature.reasoning
    assert seen["model"] == model
    if client.protocol == CHAT:
        assert seen["finish"] == feature.finish
        assert seen["id"].startswith("chatcmpl-")
    else:
        assert seen["finish"] == feature.stops[list(MODELS).index(upstream)]
        assert seen["id"].startswith("msg_")
        assert seen["stop_sequence"] == ("END" if seen["finish"] == "stop_sequence" else None)
    if feature.usage is not None:
        expected = dict(zip(("input", "cache_read", "cache_write", "output"), feature.usage, strict=True))
        assert seen["usage"] == expected


@pytest.mark.parametrize("mode", ["whole", "stream"])
@pytest.mark.parametrize("model", [*MODELS.values(), ROUTER])
@for_each(MESSAGES_CLIENTS)
def test_thinking_comes_signed_and_first(court: Court, client: Client, model: str, mode: str) -> None:
    seen = _sound(_result(court, client, f"thinking | {model} | {mode}", model))
    assert seen["order"] == ["thinking", "text"]
    assert seen["signed"] == [True]


@pytest.mark.parametrize("mode", ["whole", "stream"])
@for_each(MESSAGES_CLIENTS)
def test_the_order_of_thinking_text_and_tools_is_kept(court: Court, client: Client, mode: str) -> None:
    job = f"thinking, tools, results | {MODELS['anthropic_messages']} | {mode}"
    first = _sound(_result(court, client, job, "anthropic_messages"))["first"]
    assert first["order"] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]


@pytest.mark.parametrize("mode", ["whole", "stream"])
@for_each(CHAT_CLIENTS)
def test_chat_clients_get_signatures_and_redacted_blocks_as_details(court: Court, client: Client, mode: str) -> None:
    job = f"thinking, tools, results | {MODELS['anthropic_messages']} | {mode}"
    first = _sound(_result(court, client, job, "anthropic_messages"))["first"]
    assert [detail["type"] for detail in first["details"]] == ["reasoning.text", "reasoning.encrypted"]
    assert first["details"][0]["text"] == features.THOUGHT
    assert first["details"][0]["signature"]
    assert first["details"][1]["data"]


@pytest.mark.parametrize("model", MODELS.values())
@for_each(MESSAGES_CLIENTS)
def test_reasoning_effort_is_accepted_on_messages_too(court: Court, client: Client, model: str) -> None:
    seen = _sound(_result(court, client, f"effort | {model} | whole", model))
    assert seen["reasoning"] == features.THOUGHT


@pytest.mark.parametrize("model", MODELS.values())
@for_each(CHAT_CLIENTS)
def test_the_librarys_own_helpers_put_streams_and_schemas_together(court: Court, client: Client, model: str) -> None:
    assert _sound(_result(court, client, f"text | {model} | helper", model))["text"] == features.HELLO
    tools = _sound(_result(court, client, f"three tools | {model} | helper", model))["tools"]
    assert [(call["name"], call["arguments"]) for call in tools] == [features.PARIS, features.ROME, features.OSLO]
    parsed = _sound(_result(court, client, f"parse | {model} | parse", model))["parsed"]
    assert parsed == {"city": "Paris", "people": 2_100_000}


@for_each(CLIENTS)
def test_models_are_listed_and_retrieved(court: Court, client: Client) -> None:
    seen = _sound(_result(court, client, "models"))
    assert {*MODELS.values(), ROUTER, *EMBEDDERS} <= set(seen["ids"])
    assert seen["one"] == MODELS["openai_chat"]
    if client.protocol == MESSAGES:
        assert (seen["name"], seen["type"]) == ("Judge", "model")


@for_each(MESSAGES_CLIENTS)
def test_tokens_are_counted_by_the_upstream_that_can(court: Court, client: Client) -> None:
    own = MODELS["anthropic_messages"]
    assert _sound(_result(court, client, f"count | {own} | count", own))["input_tokens"] == COUNTED
    other = MODELS["openai_chat"]
    assert 3 <= _sound(_result(court, client, f"count | {other} | count", other))["input_tokens"] <= 40


EMBEDDED = {"text": 1, "texts": 2, "tokens": 1, "token lists": 2, "floats": 1}


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("model", EMBEDDERS)
@for_each(CHAT_CLIENTS)
def test_embeddings_come_in_the_encoding_that_was_asked_for(
    court: Court, client: Client, model: str, name: str
) -> None:
    seen = _sound(_result(court, client, f"embed {name} | {model} | embed"))
    assert seen["vectors"] == [[0.25 * n, -0.5 * n, 1.0 * n] for n in range(1, EMBEDDED[name] + 1)]
    assert seen["model"] == model
    assert seen["input"] == 5 * EMBEDDED[name]


@pytest.mark.parametrize("kind", ["whole", "stream"])
@pytest.mark.parametrize("word", FAULTS)
@pytest.mark.parametrize("model", FAULTY.values())
@for_each(CLIENTS)
def test_an_upstreams_failure_is_a_typed_error(court: Court, client: Client, model: str, word: str, kind: str) -> None:
    if (word, kind) == ("stalls", "whole"):
        pytest.skip("waits for the first byte as any slow upstream does")
    seen = _result(court, client, f"{word} | {model} | {kind}", model)
    error = seen.get("error")
    assert error is not None, f"a clean answer: {seen}"
    assert error["is_api_error"], error
    assert error["type"] == "server_error", error
    assert error["code"].startswith("upstream_"), error
    assert features.HELLO.startswith(seen.get("text", "")), "text that the upstream never wrote"
    if kind == "whole":
        assert error["status"] in (502, 503, 504)


@pytest.mark.parametrize("kind", ["whole", "stream"])
@pytest.mark.parametrize("word", LIES)
@pytest.mark.parametrize("model", FAULTY.values())
@for_each(CLIENTS)
def test_a_lie_about_usage_spoils_no_answer(court: Court, client: Client, model: str, word: str, kind: str) -> None:
    seen = _sound(_result(court, client, f"{word} | {model} | {kind}", model))
    assert seen["text"] == features.HELLO
    assert all(0 <= count <= 100_000_000 for count in seen["usage"].values()), seen["usage"]
    assert seen["usage"]["output"] > 0


@for_each(CLIENTS)
def test_no_lie_costs_more_than_was_held_or_gives_anything_back(court: Court, client: Client, books: Books) -> None:
    _result(court, client, "models")
    tenant = court.keys[client.name].lied_to
    events = books.events(tenant)
    assert events
    assert all(event["charge"] >= 0 for event in events)
    assert books.held(tenant) == 0
    assert 5 * 10**9 - books.posted(tenant) == sum(event["charge"] for event in events)


@for_each(CLIENTS)
def test_a_wrong_key_is_final_at_once(court: Court, client: Client) -> None:
    seen = _result(court, client, "wrong key")
    assert seen["error"]["class"] == "AuthenticationError"
    assert (seen["error"]["status"], seen["error"]["code"]) == (401, "invalid_api_key")
    assert seen["error"]["request_id"]
    assert seen["seconds"] < 2


@for_each(CLIENTS)
def test_an_unknown_model_is_not_found(court: Court, client: Client) -> None:
    seen = _result(court, client, "wrong model")
    assert seen["error"]["class"] == "NotFoundError"
    assert (seen["error"]["status"], seen["error"]["code"]) == (404, "model_not_found")


@for_each(CLIENTS)
def test_a_spent_daily_quota_does_not_put_the_client_to_sleep(court: Court, client: Client) -> None:
    seen = _result(court, client, "spent quota")
    assert seen["error"]["class"] == "RateLimitError"
    assert (seen["error"]["status"], seen["error"]["code"]) == (429, "daily_quota_exceeded")
    assert seen["seconds"] < 5


def test_nothing_of_the_upstream_reached_any_client(court: Court) -> None:
    for client in CLIENTS:
        court.results_of(client.name)
    secrets = [court.strict.mark.encode(), f"127.0.0.1:{court.strict.port}".encode(), *WORDS_OF_THE_UPSTREAM]
    received = court.tap.received()
    assert len(received) > len(CLIENTS)
    for line in received:
        for secret in secrets:
            at = line.find(secret)
            assert at < 0, line[max(0, at - 300) : at + 100]


def test_the_strict_upstream_had_nothing_to_refuse(court: Court) -> None:
    for client in CLIENTS:
        court.results_of(client.name)
    assert sorted({refusal.message for refusal in court.strict.refusals}) == []
