"""The official Node client against a running gateway."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.flows import nodejs
from tests.flows.books import Books
from tests.flows.installation import Gateway, Installation, Tenant

#: ``steps`` fills ``seen``; errors end up in it as the library reports them.
PROGRAM = """
import OpenAI from "openai";
const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
const messages = [{ role: "user", content: "Hello from Node" }];
const seen = {};
try {
  %s
} catch (error) {
  seen.error = {
    name: error.constructor.name, status: error.status, code: error.code, type: error.type,
    requestID: error.requestID, message: error.message,
  };
}
process.stdout.write(JSON.stringify(seen));
"""


def _run(gateway: Gateway, key: str, steps: str) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(nodejs.run_script(PROGRAM % steps, gateway.base_url, key))
    return seen


def test_node_streams_with_usage_and_is_charged_by_it(gateway: Gateway, tenant: Tenant, books: Books) -> None:
    seen = _run(
        gateway,
        tenant.key,
        """
        seen.text = ""; seen.chunks = 0;
        const stream = await client.chat.completions.create({
          model: "sandbox/paid", messages, stream: true, stream_options: { include_usage: true },
        });
        for await (const chunk of stream) {
          seen.chunks += 1;
          seen.text += chunk.choices[0]?.delta?.content ?? "";
          if (chunk.usage) seen.usage = chunk.usage;
        }
        """,
    )
    assert "error" not in seen
    assert "Hello from Node" in seen["text"]
    assert seen["chunks"] > 2
    (event,) = books.wait_for_events(tenant, 1)
    assert event["charge"] == seen["usage"]["prompt_tokens"] * 500 + seen["usage"]["completion_tokens"] * 1500


def test_node_collects_three_parallel_tool_calls(gateway: Gateway, tenant: Tenant) -> None:
    seen = _run(
        gateway,
        tenant.key,
        """
        const runner = client.chat.completions.stream({
          model: "sandbox/three-tool-calls", messages,
          tools: [{ type: "function", function: { name: "look_up", parameters: { type: "object" } } }],
        });
        const final = await runner.finalChatCompletion();
        seen.calls = final.choices[0].message.tool_calls;
        """,
    )
    assert "error" not in seen
    assert [call["function"]["name"] for call in seen["calls"]] == ["look_up"] * 3
    for call in seen["calls"]:
        json.loads(call["function"]["arguments"])


def test_node_finds_models_by_ids_with_a_slash(gateway: Gateway, tenant: Tenant) -> None:
    seen = _run(
        gateway,
        tenant.key,
        """
        seen.ids = [];
        for await (const model of client.models.list()) seen.ids.push(model.id);
        seen.one = await client.models.retrieve("sandbox/paid");
        """,
    )
    assert "sandbox/paid" in seen["ids"]
    assert seen["one"]["id"] == "sandbox/paid"


def test_node_sees_a_mid_stream_failure_as_a_typed_error(gateway: Gateway, tenant: Tenant) -> None:
    seen = _run(
        gateway,
        tenant.key,
        """
        const stream = await client.chat.completions.create({
          model: "sandbox/error-mid-stream", messages, stream: true,
        });
        for await (const chunk of stream) seen.some = true;
        seen.ended = true;
        """,
    )
    assert seen["some"]
    assert "ended" not in seen
    assert seen["error"]["name"] == "APIError"
    assert seen["error"]["type"] == "server_error"
    assert seen["error"]["code"].startswith("upstream_")


def test_a_spent_daily_quota_does_not_put_node_to_sleep(
    gateway: Gateway, new_tenant: Callable[..., Tenant], installation: Installation
) -> None:
    tenant = new_tenant(credits_usd=None)
    installation.manage("workspace", "limits", tenant.slug, "--daily", "1")
    began = time.monotonic()
    seen = _run(
        gateway,
        tenant.key,
        """
        await client.chat.completions.create({ model: "sandbox/echo", messages });
        await client.chat.completions.create({ model: "sandbox/echo", messages });
        """,
    )
    assert time.monotonic() - began < 10
    assert seen["error"]["name"] == "RateLimitError"
    assert seen["error"]["code"] == "daily_quota_exceeded"
    assert seen["error"]["requestID"]
