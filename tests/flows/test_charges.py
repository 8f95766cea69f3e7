"""The official clients against a running gateway: told charges, quotes, receipts and the books agree to the nano-dollar."""

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.fakes.upstream import chunks_of, garbage, raw_stream, whole
from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.test_embeddings import Server, vectors
from tests.flows.wire import encode_request, exchange

CATALOG = """
[[upstreams]]
name = "scripted"
provider = "openai-compatible"
protocol = "openai_chat"
base_url = "{url}"
credential = "sk-scripted-secret"
allow_private_network = true

[[models]]
id = "scripted/chat"
context_window = 8000
max_output_tokens = 1000
price = {{ input = "0.000137", output = "1.500001", cache_read = "0.0000137", cache_write = "0.25" }}
routes = [{{ upstream = "scripted", model = "theirs" }}]

[[models]]
id = "scripted/vectors"
kind = "embedding"
context_window = 8000
price = {{ input = "0.000137" }}
routes = [{{ upstream = "scripted", model = "theirs" }}]
"""
REQUESTS = 60
COST = {"usage": {"include": True}}
WAYS = ("chat", "chat stream", "messages", "messages stream", "embeddings")


@pytest.fixture(scope="module")
def server(installation: Installation, gateway: Gateway) -> Iterator[Server]:
    """A scripted upstream in the catalog of the running gateway."""
    made = Server()
    catalog = installation.folder / "charges.toml"
    catalog.write_text(CATALOG.format(url=made.start()))
    installation.manage("catalog", "apply", str(catalog))
    deadline = time.monotonic() + 5
    while b"scripted/vectors" not in exchange(gateway.port, encode_request(path="/api/v1/models", method="GET")).body:
        assert time.monotonic() < deadline, "the running gateway does not know the new models"
        time.sleep(0.05)
    yield made
    made.stop()


class Clients:
    """A tenant's official clients, and plain HTTP for what they have no method for."""

    def __init__(self, gateway: Gateway, tenant: Tenant, server: Server) -> None:
        self.openai = OpenAI(base_url=gateway.base_url, api_key=tenant.key, max_retries=0)
        self.anthropic = Anthropic(base_url=gateway.base_url, api_key=tenant.key, max_retries=0)
        self._base_url, self._key, self._fake = gateway.base_url, tenant.key, server.fake

    def close(self) -> None:
        """Close their connections."""
        self.openai.close()
        self.anthropic.close()

    def fetch(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return an answer's JSON, numbers with a point as decimals."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self._base_url + path, data, headers), timeout=30) as answer:
            return json.loads(answer.read(), parse_float=Decimal)

    def ask(self, way: str, usage: dict[str, Any]) -> tuple[str, str | None, Any]:
        """Ask in one of the ways; return the answer's id, its charge by header, and its cost."""
        messages: Any = [{"role": "user", "content": "Hello there"}]
        scripted = raw_stream(
            b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks_of(["Hi", "."], usage=usage)) + b"data: [DONE]\n\n"
        )
        self._fake.script(
            vectors([0.5], usage=usage["prompt_tokens"])
            if way == "embeddings"
            else scripted
            if way.endswith("stream")
            else whole("Hi.", usage=usage)
        )
        match way:
            case "chat":
                raw = self.openai.chat.completions.with_raw_response.create(
                    model="scripted/chat", messages=messages, max_tokens=300, extra_body=COST
                )
                answer = raw.parse()
                return answer.id, raw.headers["x-lumyx-charge"], getattr(answer.usage, "cost", None)
            case "chat stream":
                stream = self.openai.chat.completions.create(
                    model="scripted/chat", messages=messages, max_tokens=300, stream=True, extra_body=COST
                )
                *_, last = list(stream)
                return last.id, None, getattr(last.usage, "cost", None)
            case "messages":
                message = self.anthropic.messages.with_raw_response.create(
                    model="scripted/chat", messages=messages, max_tokens=300, extra_body=COST
                )
                told = message.parse()
                return told.id, message.headers["x-lumyx-charge"], getattr(told.usage, "cost", None)
            case "messages stream":
                events = list(
                    self.anthropic.messages.create(
                        model="scripted/chat", messages=messages, max_tokens=300, stream=True, extra_body=COST
                    )
                )
                (start,) = [event for event in events if event.type == "message_start"]
                (delta,) = [event for event in events if event.type == "message_delta"]
                return start.message.id, None, getattr(delta.usage, "cost", None)
            case _:
                found = self.openai.embeddings.with_raw_response.create(
                    model="scripted/vectors", input="Hello there", extra_body=COST
                )
                usage_told = found.parse().usage
                return found.headers["x-request-id"], found.headers["x-lumyx-charge"], getattr(usage_told, "cost", None)


@pytest.fixture
def clients(gateway: Gateway, tenant: Tenant, server: Server) -> Iterator[Clients]:
    """The clients of a fresh workspace."""
    server.fake.requests.clear()
    made = Clients(gateway, tenant, server)
    yield made
    made.close()


def random_usage(draw: random.Random) -> dict[str, Any]:
    """Return what the upstream reports; sometimes more than can have been set aside."""
    most = draw.choice([50, 200, 200, 4_000])
    read, write, plain, output = (draw.randint(0, most) for _ in range(4))
    prompt = read + write + plain + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output + 1,
        "total_tokens": prompt + output + 1,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "completion_tokens_details": {"reasoning_tokens": draw.randint(0, output)},
    }


def quote_of(clients: Clients, way: str) -> int:
    """Return what a request of this way may cost at most, in nano-USD."""
    name = way.partition(" ")[0]
    messages = [{"role": "user", "content": "Hello there"}]
    body: dict[str, Any] = {"model": "scripted/chat", "messages": messages, "max_tokens": 300}
    if name == "embeddings":
        body = {"model": "scripted/vectors", "input": "Hello there", "encoding_format": "base64"}
    if way.endswith("stream"):
        body["stream"] = True
    quote = clients.fetch(f"/quote?protocol={name}", body)
    assert quote["affordable"]
    return int(quote["max_charge_nano"])


def test_what_clients_are_told_is_what_is_booked(
    clients: Clients, server: Server, tenant: Tenant, books: Books
) -> None:
    draw, before, seen = random.Random(7), books.posted(tenant), {}
    for number in range(REQUESTS):
        way = WAYS[number % len(WAYS)]
        quoted = quote_of(clients, way)
        answer_id, header, cost = clients.ask(way, random_usage(draw))
        receipt = clients.fetch(f"/generation?id={answer_id}")["data"]
        charge = int(receipt["charge_nano"])
        assert 0 < charge <= quoted
        assert Decimal(receipt["charge"]) * 10**9 == charge
        # The libraries give a float; the digits that were sent are its shortest form.
        assert Decimal(str(cost)) * 10**9 == charge
        assert header is None or Decimal(header) * 10**9 == charge
        assert sum(int(paid["amount_nano"]) for paid in receipt["paid_by"]) == charge
        assert int(receipt["arithmetic"]["rounded_up_nano"]) == charge + int(receipt["absorbed_nano"])
        seen[receipt["id"]] = charge
    events = books.wait_for_events(tenant, REQUESTS)
    assert {event["id"].hex: event["charge"] for event in events} == seen
    assert before - books.posted(tenant) == sum(seen.values())
    status, verified = books.installation.try_manage("ledger", "verify", "--workspace", tenant.slug)
    assert (status, verified["wrong"]) == (0, [])
    assert verified["checked"] > REQUESTS
    assert all("usage" not in body for body in (request.json for request in server.fake.requests))
    assert len(server.fake.requests) == REQUESTS


def test_a_receipt_is_not_told_to_another_workspace(
    clients: Clients, gateway: Gateway, installation: Installation
) -> None:
    answer_id, _, _ = clients.ask("chat", random_usage(random.Random(1)))
    stranger = installation.new_tenant()
    path = f"/api/v1/generation?id={answer_id}"
    for key, status in ((stranger.key, 404), ("", 401)):
        headers = [("authorization", f"Bearer {key}")] if key else []
        answer = exchange(gateway.port, encode_request(path=path, method="GET", headers=headers))
        assert answer.status == status, answer


def test_an_answer_that_is_no_answer_has_no_charge(clients: Clients, server: Server, gateway: Gateway) -> None:
    server.fake.script(garbage(), garbage(), garbage())
    raw = urllib.request.Request(
        f"{gateway.base_url}/chat/completions",
        json.dumps({"model": "scripted/chat", "messages": [{"role": "user", "content": "Hi"}], **COST}).encode(),
        {"authorization": f"Bearer {clients.openai.api_key}", "content-type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(raw, timeout=30)
    assert caught.value.code == 502
    assert caught.value.headers["x-lumyx-charge"] is None
    receipt = clients.fetch(f"/generation?id={caught.value.headers['x-request-id']}")["data"]
    caught.value.close()
    assert (receipt["status"], receipt["charge"], receipt["paid_by"]) == ("upstream_error", "0", [])
    assert receipt["error_code"] == "upstream_invalid_response"
    assert "scripted" not in json.dumps(receipt).replace("scripted/chat", "")
