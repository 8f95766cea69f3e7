"""An OpenAI-protocol server that is not ours, added with `catalog apply`, answers through the gateway, whole and streamed."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam

from lumyx.children import spawn, stop
from tests.flows import nodejs
from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, InstallationError, Tenant

CONTENT = "An answer of a server that other people wrote."
CATALOG = """
[[upstreams]]
name = "foreign"
provider = "openai-compatible"
protocol = "openai_chat"
base_url = "http://127.0.0.1:{port}/v1"
credential = "sk-foreign-secret"
allow_private_network = true

[[models]]
id = "foreign/chat"
display_name = "Foreign"
kind = "chat"
context_window = 8000
max_output_tokens = 1000
tags = ["streaming", "tools"]
[models.price]
input = "1.00"
output = "2.00"
[[models.routes]]
upstream = "foreign"
model = "gpt-4o"

[[models]]
id = "foreign/embedding"
kind = "embedding"
context_window = 8000
price = {{ input = "1.00" }}
routes = [{{ upstream = "foreign", model = "text-embedding-3-small" }}]
"""
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object"}},
}
CALL = {"name": "get_weather", "arguments": json.dumps({"location": "SF"})}
FIXTURES = {
    "fixtures": [
        {"match": {"userMessage": "weather"}, "response": {"toolCalls": [CALL]}},
        {"match": {"userMessage": "Hello"}, "response": {"content": CONTENT}},
        {"match": {"userMessage": "ping"}, "response": {"content": "pong"}},
        {"match": {"inputText": "Text to embed"}, "response": {"embedding": [0.5, -0.25, 0.125]}},
    ]
}


@pytest.fixture(scope="module")
def foreign(installation: Installation) -> Iterator[None]:
    """Run the server (npm's @copilotkit/aimock) and add it to the catalog."""
    home = nodejs.install()
    fixtures = installation.folder / "foreign.json"
    fixtures.write_text(json.dumps(FIXTURES))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = installation.folder / "foreign.log"
    program = home / "node_modules/@copilotkit/aimock/dist/cli.js"
    process = spawn([nodejs.require("node"), program, "-p", str(port), "-f", fixtures, "--strict"], log=log)
    try:
        _wait_until_healthy(port, log=log)
        catalog = installation.folder / "foreign.toml"
        catalog.write_text(CATALOG.format(port=port))
        installation.manage("catalog", "apply", str(catalog))
        yield
    finally:
        stop(process, timeout=5)


def _wait_until_healthy(port: int, *, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise InstallationError(f"The foreign server did not start:\n{log.read_text()}")


@pytest.fixture
def client(foreign: None, gateway: Gateway, tenant: Tenant) -> Iterator[OpenAI]:
    """The official client with a fresh workspace's key, once the gateway knows the model."""
    with OpenAI(base_url=gateway.base_url, api_key=tenant.key) as made:
        deadline = time.monotonic() + 5
        while "foreign/chat" not in [model.id for model in made.models.list()]:
            assert time.monotonic() < deadline, "the running gateway does not know the new model"
            time.sleep(0.05)
        yield made


def test_it_answers_whole_under_our_name_and_is_charged_by_its_own_usage(
    client: OpenAI, tenant: Tenant, books: Books
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="foreign/chat", messages=[{"role": "user", "content": "Hello"}]
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == CONTENT
    assert answer.model == "foreign/chat"
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    (event,) = books.wait_for_events(tenant, 1)
    assert event["usage_source"] == "upstream"
    assert event["charge"] == answer.usage.prompt_tokens * 1000 + answer.usage.completion_tokens * 2000
    for secret in ("gpt-4o", "sk-foreign-secret", "aimock"):
        assert secret not in raw.text
        assert secret not in str(raw.headers)


def test_it_answers_streamed(client: OpenAI, tenant: Tenant, books: Books) -> None:
    with client.chat.completions.create(
        model="foreign/chat",
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == CONTENT
    assert {chunk.model for chunk in chunks} == {"foreign/chat"}
    usage = chunks[-1].usage
    assert usage is not None
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == usage.prompt_tokens * 1000 + usage.completion_tokens * 2000


def test_its_tool_calls_pass_through_a_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="foreign/chat",
        messages=[{"role": "user", "content": "What is the weather?"}],
        tools=[WEATHER],
    ) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.name == "get_weather"
    assert json.loads(message.tool_calls[0].function.arguments) == {"location": "SF"}


def test_its_vectors_come_in_the_form_that_is_asked_for_though_it_knows_one_and_counts_nothing(
    client: OpenAI, tenant: Tenant, books: Books
) -> None:
    raw = client.embeddings.with_raw_response.create(model="foreign/embedding", input="Text to embed")
    answer = raw.parse()
    assert answer.data[0].embedding == [0.5, -0.25, 0.125]
    assert '"AAAAPwAAgL4AAAA+"' in raw.text  # the library asks for base64
    (event,) = books.wait_for_events(tenant, 1)
    # It reports 0 tokens. "Text to embed" is 15 bytes with its quotes: 4 tokens by our count.
    assert (event["flags"], event["input_tokens"], event["charge"]) == ("usage_zero_input", 4, 4 * 1000)
    assert answer.usage.prompt_tokens == 4
    assert "text-embedding" not in raw.text


def test_the_operators_test_of_it_succeeds(foreign: None, installation: Installation) -> None:
    answer = installation.manage("upstream", "test", "foreign")
    assert answer["ok"] is True
    assert answer["status"] == 200


def test_what_it_refuses_is_told_in_our_words(client: OpenAI, tenant: Tenant, books: Books) -> None:
    before = books.posted(tenant)
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=0).chat.completions.create(
            model="foreign/chat", messages=[{"role": "user", "content": "nothing that it knows"}]
        )
    assert caught.value.status_code in {502, 503}
    assert caught.value.type == "server_error"
    assert "fixture" not in caught.value.response.text
    assert books.wait_for_events(tenant, 1)[0]["charge"] == 0
    assert books.posted(tenant) == before
