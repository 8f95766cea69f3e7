"""Counting tokens against a running gateway, with Anthropic's own client: the number, its mark, and books that nobody touched."""

from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam

from tests.flows.books import Books
from tests.flows.installation import Gateway, Tenant

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello there, gateway"}]
#: "Hello", " there", ",", " gateway"; 4 stand around them, and 3 before the answer.
TOKENS = 11
TOOL: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def test_a_count_costs_nothing_and_says_that_it_is_an_estimate(gateway: Gateway, tenant: Tenant, books: Books) -> None:
    before = books.posted(tenant)
    with Anthropic(base_url=gateway.base_url, api_key=tenant.key) as client:
        counted = client.messages.with_raw_response.count_tokens(model="sandbox/paid", messages=HELLO)
        assert counted.parse().input_tokens == TOKENS
        assert counted.headers["x-lumyx-estimated"] == "true"
        assert b'"_meta":{"estimated":true}' in counted.read()
        more = client.messages.count_tokens(model="sandbox/tool-call", messages=HELLO, tools=[TOOL], system="Be brief.")
        assert more.input_tokens > TOKENS + 15
        long = client.messages.count_tokens(
            model="sandbox/paid", messages=[{"role": "user", "content": "Hello there, gateway. " * 100_000}]
        )
        # Five tokens a sentence; what does not fit into any context is counted all the same.
        assert 490_000 < long.input_tokens < 510_000
    assert books.events(tenant) == []
    assert (books.posted(tenant), books.held(tenant)) == (before, 0)


def test_a_count_uses_nothing_of_the_daily_limit(gateway: Gateway, tenant: Tenant, books: Books) -> None:
    with Anthropic(base_url=gateway.base_url, api_key=tenant.key) as client:
        for _ in range(30):
            assert client.messages.count_tokens(model="sandbox/echo", messages=HELLO).input_tokens == TOKENS
    assert books.events(tenant) == []
