"""Embeddings against a running gateway: the official clients, hand-made requests, upstreams that misbehave, and the books."""

import asyncio
import base64
import json
import math
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.fakes.upstream import FakeUpstream, Seen, garbage, status, whole
from tests.flows import nodejs
from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant
from tests.flows.wire import Answer, assert_is_error, encode_request, exchange

#: "numbers" is asked for numbers, "compact" for base64; "fake/both" tries the one and then the other. $0.10 per million tokens.
CATALOG = """
[[upstreams]]
name = "numbers"
provider = "openai-compatible"
protocol = "openai_chat"
base_url = "{url}"
credential = "sk-numbers-secret"
allow_private_network = true

[[upstreams]]
name = "compact"
provider = "openai"
protocol = "openai_chat"
base_url = "{url}"
credential = "sk-compact-secret"
allow_private_network = true

[[models]]
id = "fake/numbers"
kind = "embedding"
context_window = 8192
price = {{ input = "0.10" }}
routes = [{{ upstream = "numbers", model = "their-first" }}]

[[models]]
id = "fake/compact"
kind = "embedding"
context_window = 8192
price = {{ input = "0.10" }}
routes = [{{ upstream = "compact", model = "their-second" }}]

[[models]]
id = "fake/both"
kind = "embedding"
context_window = 8192
price = {{ input = "0.10" }}
[[models.routes]]
upstream = "numbers"
model = "their-first"
priority = 1
[[models.routes]]
upstream = "compact"
model = "their-second"
priority = 2

[[models]]
id = "fake/free"
kind = "embedding"
context_window = 8192
free = true
routes = [{{ upstream = "numbers", model = "their-first" }}]
"""
#: nano-USD a token.
RATE = 100
VECTOR = [0.5, -0.25, 0.125]


class Server:
    """A fake upstream in a thread of its own, for the time of a module."""

    def __init__(self) -> None:
        self.fake = FakeUpstream()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> str:
        """Start it and return its base URL."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.fake.__aenter__(), self._loop).result(10)
        return self.fake.base_url

    def stop(self) -> None:
        """Stop it."""
        asyncio.run_coroutine_threadsafe(self.fake.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def bodies(self) -> list[dict[str, Any]]:
        """Return the bodies of all requests since the last call."""
        seen, self.fake.requests = self.fake.requests, []
        assert all(request.path == "/v1/embeddings" for request in seen)
        return [request.json for request in seen]


@pytest.fixture(scope="module")
def server(installation: Installation, gateway: Gateway) -> Iterator[Server]:
    """The fake, in the catalog of the running gateway."""
    made = Server()
    catalog = installation.folder / "embeddings.toml"
    catalog.write_text(CATALOG.format(url=made.start()))
    installation.manage("catalog", "apply", str(catalog))
    deadline = time.monotonic() + 5
    while b"fake/free" not in exchange(gateway.port, encode_request(path="/api/v1/models", method="GET")).body:
        assert time.monotonic() < deadline, "the running gateway does not know the new models"
        time.sleep(0.05)
    yield made
    made.stop()


@pytest.fixture
def upstream(server: Server) -> Server:
    """The fake with an empty script and no requests seen."""
    server.fake.requests.clear()
    server.fake._script.clear()
    return server


@pytest.fixture
def client(gateway: Gateway, tenant: Tenant) -> Iterator[OpenAI]:
    """The official client, as the library ships it."""
    with OpenAI(base_url=gateway.base_url, api_key=tenant.key) as made:
        yield made


def vectors(*entries: Any, usage: Any = None, **extra: Any) -> Callable[[Seen, asyncio.StreamWriter], Any]:
    """An answer of these vectors, which may be (index, vector)."""
    data = [
        {"object": "embedding", "index": entry[0], "embedding": entry[1]}
        if isinstance(entry, tuple)
        else {"object": "embedding", "index": at, "embedding": entry}
        for at, entry in enumerate(entries)
    ]
    reported = {} if usage is None else {"usage": {"prompt_tokens": usage, "total_tokens": usage}}
    answer = {"object": "list", "id": "up-1", "provider": "Hidden", "model": "their-name", "data": data, **reported}
    return garbage(json.dumps({**answer, **extra}).encode())


def packed(*numbers: float) -> str:
    """Return numbers as base64 of float32."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embed(gateway: Gateway, key: str, **fields: Any) -> Answer:
    """Post a request by hand."""
    body = json.dumps({"model": "sandbox/embedding", "input": "Hello", **fields}).encode()
    return exchange(gateway.port, encode_request(path="/api/v1/embeddings", key=key, body=body))


# --- the official clients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [
        ("Hello there, gateway", 1, 3),
        (["Hello there", "gateway"], 2, 3),
        ([15339, 1070, 11], 1, 3),
        ([[15339, 1070], [11]], 2, 3),
    ],
)
def test_python_gets_a_vector_of_unit_length_for_each_input_and_is_charged_by_the_tokens(
    client: OpenAI, tenant: Tenant, books: Books, given: Any, count: int, tokens: int
) -> None:
    before = books.posted(tenant)
    answer = client.embeddings.create(model="embedding-model-id", input=given)
    assert answer.model == "embedding-model-id"
    assert [entry.index for entry in answer.data] == list(range(count))
    for entry in answer.data:
        assert len(entry.embedding) == 256
        assert math.isclose(math.hypot(*entry.embedding), 1, abs_tol=1e-5)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)
    (event,) = books.wait_for_events(tenant, 1)
    # $0.02 per million tokens are 20 nano-dollars a token.
    assert event["charge"] == tokens * 20 == before - books.posted(tenant)
    assert (event["status"], event["is_stream"], event["usage_source"]) == ("ok", False, "upstream")
    assert (event["input_tokens"], event["output_tokens"]) == (tokens, 0)


def test_python_gets_the_same_numbers_in_both_forms(client: OpenAI) -> None:
    as_numbers = client.embeddings.create(model="sandbox/embedding", input="Text to embed", encoding_format="float")
    by_default = client.embeddings.create(model="sandbox/embedding", input="Text to embed")
    assert by_default.data[0].embedding == as_numbers.data[0].embedding
    raw = client.embeddings.with_raw_response.create(
        model="sandbox/embedding", input="Text to embed", encoding_format="base64"
    )
    text = json.loads(raw.text)["data"][0]["embedding"]
    assert list(struct.unpack("<256f", base64.b64decode(text))) == as_numbers.data[0].embedding


def test_python_gets_as_many_dimensions_as_it_asks_for(client: OpenAI) -> None:
    answer = client.embeddings.create(model="sandbox/embedding", input=["a b c", "d"], dimensions=7)
    assert [len(entry.embedding) for entry in answer.data] == [7, 7]


def test_texts_that_share_words_are_near_each_other(client: OpenAI) -> None:
    texts = ["the cat sat on the mat", "a cat on a mat", "quarterly revenue rose sharply"]
    cat, mat, revenue = (
        entry.embedding for entry in client.embeddings.create(model="sandbox/embedding", input=texts).data
    )
    assert math.sumprod(cat, mat) > math.sumprod(cat, revenue) + 0.2


def test_two_thousand_inputs_are_answered_at_once(client: OpenAI, tenant: Tenant, books: Books) -> None:
    answer = client.embeddings.create(model="sandbox/embedding", input=["one two"] * 2048)
    assert len(answer.data) == 2048
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == 4096 * 20


@pytest.mark.parametrize(
    ("changes", "exception", "code"),
    [
        ({"model": "no/such-model"}, openai.NotFoundError, "model_not_found"),
        ({"model": "sandbox/paid"}, openai.BadRequestError, "wrong_model_kind"),
        ({"input": ""}, openai.BadRequestError, "invalid_parameter"),
        ({"input": ["x", 5]}, openai.BadRequestError, "invalid_parameter"),
        ({"input": ["x"] * 2049}, openai.BadRequestError, "invalid_parameter"),
        ({"dimensions": 0}, openai.BadRequestError, "invalid_parameter"),
        ({"dimensions": 5000}, openai.BadRequestError, "invalid_parameter"),
        ({"input": "word " * 8193}, openai.BadRequestError, "context_length_exceeded"),
    ],
)
def test_a_bad_request_is_the_documented_exception_and_free(
    client: OpenAI, tenant: Tenant, books: Books, changes: Any, exception: type[openai.APIStatusError], code: str
) -> None:
    before = books.posted(tenant)
    with pytest.raises(exception) as caught:
        client.embeddings.create(**{"model": "sandbox/embedding", "input": "Hello", **changes})
    assert caught.value.code == code
    assert caught.value.request_id
    assert books.posted(tenant) == before
    assert books.held(tenant) == 0


def test_a_chat_request_to_an_embedding_model_says_where_it_belongs(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="answers /embeddings only") as caught:
        client.chat.completions.create(model="sandbox/embedding", messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.code == "wrong_model_kind"


NODE = """
import OpenAI from "openai";
const [baseURL, apiKey, model, form] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const format = form ? { encoding_format: form } : {};
const answer = await client.embeddings.create({ model, input: ["First text", "Second"], ...format });
process.stdout.write(JSON.stringify(answer));
"""


@pytest.mark.parametrize("model", ["fake/numbers", "fake/compact"])
@pytest.mark.parametrize("form", ["", "float"])
def test_node_gets_numbers_whichever_form_the_upstream_gives(
    gateway: Gateway, tenant: Tenant, upstream: Server, model: str, form: str
) -> None:
    given = packed if model == "fake/compact" else lambda *numbers: list(numbers)
    upstream.fake.script(vectors((1, given(1.0, 2.0)), (0, given(*VECTOR[:2])), usage=3))
    answer = json.loads(nodejs.run_script(NODE, gateway.base_url, tenant.key, model, form))
    assert [entry["embedding"] for entry in answer["data"]] == [VECTOR[:2], [1.0, 2.0]]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    (sent,) = upstream.bodies()
    assert sent["encoding_format"] == ("base64" if model == "fake/compact" else "float")
    assert sent["input"] == ["First text", "Second"]


# --- what goes to the upstream, and what comes back -------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["float", "base64"])
@pytest.mark.parametrize("model", ["fake/numbers", "fake/compact"])
@pytest.mark.parametrize("gives", ["numbers", "base64"])
def test_every_client_gets_the_form_that_it_asked_for(
    gateway: Gateway, tenant: Tenant, upstream: Server, asked: str, model: str, gives: str
) -> None:
    upstream.fake.script(vectors(VECTOR if gives == "numbers" else packed(*VECTOR), usage=1))
    answer = embed(gateway, tenant.key, model=model, encoding_format=asked)
    assert answer.status == 200, answer.body
    assert answer.json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": VECTOR if asked == "float" else packed(*VECTOR)}],
        "model": model,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    assert answer.headers["x-request-id"] == answer.headers["request-id"]


def test_everything_else_of_a_request_is_passed_on(gateway: Gateway, tenant: Tenant, upstream: Server) -> None:
    upstream.fake.script(vectors(VECTOR, usage=2))
    embed(gateway, tenant.key, model="fake/numbers", input=[5, 6], dimensions=3, user="u", input_type="query")
    assert upstream.bodies() == [
        {
            "model": "their-first",
            "input": [5, 6],
            "dimensions": 3,
            "user": "u",
            "input_type": "query",
            "encoding_format": "float",
        }
    ]


def test_nothing_of_the_upstream_is_told(gateway: Gateway, tenant: Tenant, upstream: Server) -> None:
    refusal = {"message": "their-first at 10.0.0.7 says no to sk-numbers-secret", "code": "bad"}
    upstream.fake.script(vectors(VECTOR, usage=2), status(400, refusal))
    for answer in (embed(gateway, tenant.key, model="fake/numbers") for _ in range(2)):
        told = answer.body.decode() + str(answer.headers)
        for secret in ("their", "up-1", "Hidden", "10.0.0.7", "secret", str(upstream.fake.port)):
            assert secret not in told


def test_it_answers_under_the_base_with_a_second_v1_too_and_to_post_only(gateway: Gateway, tenant: Tenant) -> None:
    body = b'{"model":"sandbox/embedding","input":"x"}'
    path = "/api/v1/v1/embeddings"
    assert exchange(gateway.port, encode_request(path=path, key=tenant.key, body=body)).status == 200
    got = exchange(gateway.port, encode_request(path="/api/v1/embeddings", method="GET", key=tenant.key))
    assert_is_error(got, 405, "method_not_allowed")
    assert got.headers["allow"] == "POST"
    assert_is_error(embed(gateway, "lx-wrong"), 401, "invalid_api_key")


# --- failures and the books -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failing",
    [
        status(500),
        status(429, retry_after="30"),
        status(401),
        garbage(),
        whole(),
        vectors(VECTOR, VECTOR, usage=1),
        vectors((1, VECTOR), usage=1),
        vectors([1.0, None], usage=1),
        vectors("AADAfw==", usage=1),
        vectors(usage=1),
    ],
    ids=["500", "429", "401", "html", "chat", "two", "index", "null", "nan", "none"],
)
def test_an_upstream_that_fails_is_followed_by_the_next_and_the_bill_is_one(
    gateway: Gateway, tenant: Tenant, upstream: Server, books: Books, failing: Any
) -> None:
    before = books.posted(tenant)
    upstream.fake.script(failing, vectors(packed(*VECTOR), usage=4))
    answer = embed(gateway, tenant.key, model="fake/both")
    assert answer.status == 200, answer.body
    assert answer.json()["data"][0]["embedding"] == VECTOR
    assert [body["model"] for body in upstream.bodies()] == ["their-first", "their-second"]
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == 4 * RATE == before - books.posted(tenant)


@pytest.mark.parametrize(
    ("failing", "code", "error"),
    [
        (status(500), 502, "upstream_error"),
        (status(401), 502, "upstream_error"),
        (status(404), 502, "upstream_error"),
        (status(429), 503, "upstream_unavailable"),
        (status(400), 400, "invalid_parameter"),
        (status(400, {"message": "maximum context length is 8192"}), 400, "context_length_exceeded"),
        (garbage(), 502, "upstream_invalid_response"),
        (vectors(VECTOR, VECTOR, usage=1), 502, "upstream_invalid_response"),
        (vectors([float("inf")], usage=1), 502, "upstream_invalid_response"),
    ],
)
def test_a_failure_keeps_its_status_and_costs_nothing(
    gateway: Gateway, tenant: Tenant, upstream: Server, books: Books, failing: Any, code: int, error: str
) -> None:
    before = books.posted(tenant)
    upstream.fake.script(failing)
    assert_is_error(embed(gateway, tenant.key, model="fake/numbers"), code, error, secret="their")
    (event,) = books.wait_for_events(tenant, 1)
    assert (event["charge"], event["input_tokens"], event["error_code"]) == (0, 0, error)
    assert books.posted(tenant) == before


@pytest.mark.parametrize(
    ("usage", "tokens", "source", "flags"),
    [
        (5, 5, "upstream", ""),
        (None, 2, "estimated", ""),
        (0, 2, "upstream", "usage_zero_input"),
        (-3, 2, "upstream", "usage_clamped"),
        # The body is {"model": "fake/numbers", "input": "Hello"}, 43 bytes; 64 and 16 come on top.
        (10**9, 43 + 64 + 16, "upstream", "usage_clamped"),
    ],
)
def test_what_is_told_is_what_is_billed_and_never_more_than_was_held(
    gateway: Gateway,
    tenant: Tenant,
    upstream: Server,
    books: Books,
    usage: int | None,
    tokens: int,
    source: str,
    flags: str,
) -> None:
    before = books.posted(tenant)
    upstream.fake.script(vectors(VECTOR, usage=usage))
    answer = embed(gateway, tenant.key, model="fake/numbers")
    assert answer.json()["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    (event,) = books.wait_for_events(tenant, 1)
    assert (event["usage_source"], event["flags"], event["absorbed"]) == (source, flags, 0)
    assert event["charge"] == tokens * RATE == before - books.posted(tenant)


def test_what_can_be_paid_for_is_let_in_and_no_more(
    gateway: Gateway, new_tenant: Callable[..., Tenant], upstream: Server, books: Books
) -> None:
    # "Hello" may be 123 tokens, at 100 nano-dollars each.
    poor = new_tenant(credits_usd="0.0000122")
    message = assert_is_error(embed(gateway, poor.key, model="fake/numbers"), 402, "insufficient_credits")
    assert "max_tokens" not in message
    assert upstream.bodies() == []
    enough = new_tenant(credits_usd="0.0000123")
    upstream.fake.script(vectors(VECTOR, usage=123))
    answer = embed(gateway, enough.key, model="fake/numbers")
    assert answer.status == 200, answer.body
    assert "x-lumyx-max-tokens" not in answer.headers
    books.wait_for_events(enough, 1)
    assert books.posted(enough) == 0


def test_a_free_model_counts_one_request_however_many_inputs(
    gateway: Gateway, new_tenant: Callable[..., Tenant], installation: Installation, upstream: Server, books: Books
) -> None:
    tenant = new_tenant(credits_usd=None)
    installation.manage("workspace", "limits", tenant.slug, "--daily", "2")
    upstream.fake.script(vectors(VECTOR, VECTOR, usage=2), status(500), vectors(VECTOR, usage=1))
    first = embed(gateway, tenant.key, model="fake/free", input=["a", "b"])
    assert (first.status, first.headers["x-ratelimit-remaining-requests"]) == (200, "1")
    # What failed is given back.
    assert embed(gateway, tenant.key, model="fake/free").status == 502
    books.wait_for_events(tenant, 2)
    second = embed(gateway, tenant.key, model="fake/free")
    assert (second.status, second.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    spent = embed(gateway, tenant.key, model="fake/free")
    assert_is_error(spent, 429, "daily_quota_exceeded")
    assert spent.headers["x-should-retry"] == "false"
    assert "retry-after" not in spent.headers
    events = books.wait_for_events(tenant, 3)
    assert [(event["charge"], event["is_free"]) for event in events] == [(0, True)] * 3


def test_the_pace_is_that_of_all_requests(gateway: Gateway, new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(rpm=1)
    answers = [embed(gateway, tenant.key) for _ in range(3)]  # a minute may turn after the first
    assert answers[0].headers["x-ratelimit-limit-requests"] == "1"
    assert_is_error(next(one for one in answers if one.status != 200), 429, "rate_limit_exceeded")
