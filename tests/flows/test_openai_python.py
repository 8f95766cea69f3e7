"""The official Python client against a running gateway: whole answers, streams, models, and which exception each error becomes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there, gateway"}]


@pytest.fixture
def connect(gateway: Gateway) -> Iterator[Callable[[str], OpenAI]]:
    """Make clients with a key, everything else as the library ships it."""
    made: list[OpenAI] = []

    def make(key: str) -> OpenAI:
        made.append(OpenAI(base_url=gateway.base_url, api_key=key))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_a_whole_answer_costs_what_its_usage_says(
    connect: Callable[[str], OpenAI], tenant: Tenant, books: Books
) -> None:
    before = books.posted(tenant)
    answer = connect(tenant.key).chat.completions.create(model="sandbox/paid", messages=HELLO)
    assert answer.usage is not None
    assert "Hello there, gateway" in (answer.choices[0].message.content or "")
    charge = answer.usage.prompt_tokens * 500 + answer.usage.completion_tokens * 1500
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == charge == before - books.posted(tenant)
    assert event["status"] == "ok"
    assert not event["is_stream"]
    assert (event["input_tokens"], event["output_tokens"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def test_a_stream_arrives_in_pieces_and_is_charged_without_showing_usage_that_was_not_asked_for(
    connect: Callable[[str], OpenAI], tenant: Tenant, books: Books
) -> None:
    before = books.posted(tenant)
    with connect(tenant.key).chat.completions.create(model="sandbox/paid", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "Hello there, gateway" in text
    assert len(chunks) > 2
    assert {chunk.model for chunk in chunks} == {"sandbox/paid"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    (event,) = books.wait_for_events(tenant, 1)
    assert event["is_stream"]
    assert event["charge"] > 0
    assert before - books.posted(tenant) == event["charge"]


def test_a_stream_shows_usage_in_one_last_chunk_when_asked(
    connect: Callable[[str], OpenAI], tenant: Tenant, books: Books
) -> None:
    with connect(tenant.key).chat.completions.create(
        model="sandbox/paid", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == last.usage.prompt_tokens * 500 + last.usage.completion_tokens * 1500


def test_a_streamed_tool_call_is_put_together_by_the_library(connect: Callable[[str], OpenAI], tenant: Tenant) -> None:
    with connect(tenant.key).chat.completions.stream(
        model="sandbox/three-tool-calls",
        messages=HELLO,
        tools=[{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}],
    ) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert [call.function.name for call in message.tool_calls] == ["look_up"] * 3
    assert len({call.id for call in message.tool_calls}) == 3


def test_an_async_client_gets_the_same_stream(gateway: Gateway, tenant: Tenant) -> None:
    async def read() -> str:
        async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=tenant.key) as client:
            stream = await client.chat.completions.create(model="sandbox/paid", messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert "Hello there, gateway" in asyncio.run(read())


def test_models_are_listed_and_found_by_ids_with_a_slash(connect: Callable[[str], OpenAI], tenant: Tenant) -> None:
    client = connect(tenant.key)
    ids = [model.id for model in client.models.list()]
    assert {"lumyx-plus_v1", "sandbox/paid", "sandbox/echo"} <= set(ids)
    assert client.models.retrieve("sandbox/paid").id == "sandbox/paid"


COLON = """
[[models]]
id = "flows/colon:free"
display_name = "Colon"
kind = "chat"
context_window = 8000
max_output_tokens = 1000
free = true
[[models.routes]]
upstream = "sandbox"
model = "echo"
"""


def test_a_model_id_with_a_colon_added_at_run_time_is_found_within_seconds(
    connect: Callable[[str], OpenAI], tenant: Tenant, installation: Installation
) -> None:
    catalog = installation.folder / "colon.toml"
    catalog.write_text(COLON)
    installation.manage("catalog", "apply", str(catalog))
    client = connect(tenant.key)
    deadline = time.monotonic() + 5
    while "flows/colon:free" not in [model.id for model in client.models.list()]:
        assert time.monotonic() < deadline, "the running gateway does not know the new model"
        time.sleep(0.05)
    assert client.models.retrieve("flows/colon:free").id == "flows/colon:free"
    answer = client.chat.completions.create(model="flows/colon:free", messages=HELLO)
    assert answer.model == "flows/colon:free"


def _create(client: OpenAI, **changes: Any) -> None:
    client.chat.completions.create(**{"model": "sandbox/paid", "messages": HELLO, **changes})


def _create_twice(client: OpenAI) -> None:
    _create(client)
    _create(client)


@pytest.mark.parametrize(
    ("changes", "exception", "status", "code"),
    [
        ({"model": "no/such-model"}, openai.NotFoundError, 404, "model_not_found"),
        ({"messages": "not a list"}, openai.BadRequestError, 400, "invalid_parameter"),
        ({"temperature": "hot"}, openai.BadRequestError, 400, "invalid_parameter"),
        ({"max_tokens": -1}, openai.BadRequestError, 400, "invalid_parameter"),
        ({"model": "embedding-model-id"}, openai.BadRequestError, 400, "wrong_model_kind"),
    ],
)
def test_a_bad_request_is_the_documented_exception(
    connect: Callable[[str], OpenAI],
    tenant: Tenant,
    changes: dict[str, Any],
    exception: type[openai.APIStatusError],
    status: int,
    code: str,
) -> None:
    with pytest.raises(exception) as caught:
        _create(connect(tenant.key), **changes)
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]


def test_a_wrong_key_is_an_authentication_error_at_once(connect: Callable[[str], OpenAI]) -> None:
    began = time.monotonic()
    with pytest.raises(openai.AuthenticationError, match="Invalid API key") as caught:
        _create(connect("lx-wrong"))
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert time.monotonic() - began < 2


def test_no_credit_is_402_and_names_what_can_be_afforded(
    connect: Callable[[str], OpenAI], new_tenant: Callable[..., Tenant]
) -> None:
    poor = new_tenant(credits_usd=None)
    with pytest.raises(openai.APIStatusError) as caught:
        _create(connect(poor.key), max_tokens=100)
    assert caught.value.status_code == 402
    assert caught.value.code == "insufficient_credits"


def test_a_spent_daily_quota_does_not_put_the_library_to_sleep(
    connect: Callable[[str], OpenAI], new_tenant: Callable[..., Tenant], installation: Installation
) -> None:
    tenant = new_tenant(credits_usd=None)
    installation.manage("workspace", "limits", tenant.slug, "--daily", "1")
    client = connect(tenant.key)
    first = client.chat.completions.with_raw_response.create(model="sandbox/echo", messages=HELLO)
    assert first.headers["x-ratelimit-limit-requests"] == "1"
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    began = time.monotonic()
    with pytest.raises(openai.RateLimitError) as caught:
        _create(client, model="sandbox/echo")
    assert time.monotonic() - began < 2
    assert caught.value.code == "daily_quota_exceeded"
    assert "retry-after" not in caught.value.response.headers
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_limit_a_minute_is_429_with_a_short_retry_after(gateway: Gateway, new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(rpm=1)
    with OpenAI(base_url=gateway.base_url, api_key=tenant.key, max_retries=0) as client:
        first = client.chat.completions.with_raw_response.create(model="sandbox/paid", messages=HELLO)
        assert first.headers["x-ratelimit-limit-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            _create_twice(client)  # a minute may turn after the first request
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"


def test_an_upstream_failure_before_the_first_byte_is_502_and_free(
    connect: Callable[[str], OpenAI], tenant: Tenant, books: Books
) -> None:
    before = books.posted(tenant)
    client = connect(tenant.key).with_options(max_retries=0)
    with pytest.raises(openai.InternalServerError) as caught:
        _create(client, model="sandbox/error-before-first-byte")
    assert caught.value.status_code in {502, 503, 504}
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == 0
    assert books.posted(tenant) == before


def test_an_upstream_failure_in_mid_stream_is_an_error_event_and_what_came_is_charged(
    connect: Callable[[str], OpenAI], tenant: Tenant, books: Books
) -> None:
    before = books.posted(tenant)
    received: list[object] = []
    with (
        pytest.raises(openai.APIError) as caught,
        connect(tenant.key).chat.completions.create(
            model="sandbox/error-mid-stream", messages=HELLO, stream=True
        ) as stream,
    ):
        received.extend(stream)
    assert received
    assert caught.value.code in {"upstream_error", "upstream_invalid_response", "upstream_unavailable"}
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] > 0
    assert before - books.posted(tenant) == event["charge"]


def test_an_answer_without_usage_is_charged_by_our_own_count(
    connect: Callable[[str], OpenAI], tenant: Tenant, books: Books
) -> None:
    answer = connect(tenant.key).chat.completions.create(model="sandbox/no-usage", messages=HELLO)
    (event,) = books.wait_for_events(tenant, 1)
    assert event["usage_source"] == "estimated"
    assert event["charge"] > 0
    assert answer.usage is not None
    assert event["charge"] == answer.usage.prompt_tokens * 500 + answer.usage.completion_tokens * 1500
