"""Random requests and what a scripted upstream reports for each: all classes of tokens, both protocols, whole and streamed."""

import json
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.rating import TokenUsage
from gateway.types import RouteInfo
from tests.gateway.asgi import Client
from tests.gateway.exchanges import ScriptedCall, chunk, whole
from tests.gateway.test_messages_dispatch import CLOSE, OPEN, STOP, text

_NUMBER = re.compile(rb"plan-(\d+)")


@dataclass(frozen=True)
class Plan:
    """One request. ``usage`` None: the upstream reports none, and our own count is billed."""

    number: int
    path: str
    model: str
    stream: bool
    asks_cost: bool
    usage: TokenUsage | None
    max_tokens: int

    @property
    def protocol(self) -> str:
        """The protocol as a quote names it."""
        return {"/chat/completions": "chat", "/messages": "messages", "/embeddings": "embeddings"}[self.path]

    def body(self) -> bytes:
        """Return the body that the client sends."""
        words = f"plan-{self.number} Hello"
        fields: dict[str, Any] = {"model": self.model, "usage": {"include": self.asks_cost}}
        if self.path == "/embeddings":
            return json.dumps({**fields, "input": words}).encode()
        messages = [{"role": "user", "content": words}]
        return json.dumps(
            {**fields, "messages": messages, "stream": self.stream, "max_tokens": self.max_tokens}
        ).encode()


def random_plan(draw: random.Random, number: int, *, models: list[str], embedders: list[str]) -> Plan:
    """Make a request; about one in eight reports more than can have been set aside, and one in ten nothing."""
    path = draw.choice(["/chat/completions", "/chat/completions", "/messages", "/messages", "/embeddings"])
    most = draw.choice([40, 200, 200, 5_000])
    output = draw.randint(0, most)
    usage = TokenUsage(
        input=draw.randint(0, most),
        cache_read=draw.choice([0, draw.randint(0, most)]),
        cache_write=draw.choice([0, draw.randint(0, most)]),
        output=output,
        reasoning=draw.choice([0, draw.randint(0, output)]),
    )
    if path == "/embeddings":
        usage = TokenUsage(input=draw.randint(1, 60))
    return Plan(
        number=number,
        path=path,
        model=draw.choice(embedders if path == "/embeddings" else models),
        stream=path != "/embeddings" and draw.random() < 0.5,
        asks_cost=draw.random() < 0.7,
        usage=None if draw.random() < 0.1 else usage,
        max_tokens=draw.randint(1, 400),
    )


def number_in(body: bytes) -> int:
    """Return which plan the body of an upstream's request belongs to."""
    found = _NUMBER.search(body)
    assert found is not None
    return int(found[1])


def call_for(plan: Plan, route: RouteInfo) -> ScriptedCall:
    """Return the upstream's answer to a plan, in the protocol that it speaks."""
    if plan.path == "/embeddings":
        reported = {} if plan.usage is None else {"usage": {"prompt_tokens": plan.usage.input}}
        return ScriptedCall(body=json.dumps({"data": [{"index": 0, "embedding": [0.5]}], **reported}).encode())
    return _message(plan) if route.upstream.protocol == "anthropic_messages" else _chat(plan)


def _chat(plan: Plan) -> ScriptedCall:
    usage = plan.usage
    reported: dict[str, Any] = {}
    if usage is not None:
        prompt = usage.input + usage.cache_read + usage.cache_write
        reported["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": usage.output,
            "total_tokens": prompt + usage.output,
            "prompt_tokens_details": {
                "cached_tokens": usage.cache_read,
                "cache_write_tokens": usage.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        }
    if not plan.stream:
        return ScriptedCall(body=whole("Hello there", **reported))
    return ScriptedCall(steps=[chunk("Hello"), chunk(" there"), chunk(finish="stop", **reported)])


def _message(plan: Plan) -> ScriptedCall:
    usage, reported = plan.usage, {}
    if usage is not None:
        reported["usage"] = {
            "input_tokens": usage.input,
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation_input_tokens": usage.cache_write,
            "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning},
        }
    message = {"id": "msg_theirs", "type": "message", "role": "assistant", "model": "their-name", "stop_reason": None}
    if not plan.stream:
        content = [{"type": "text", "text": "Hello there"}]
        return ScriptedCall(body=json.dumps({**message, "content": content, **reported}).encode())
    start = json.dumps({"type": "message_start", "message": {**message, "content": []}}).encode()
    delta = json.dumps({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **reported}).encode()
    return ScriptedCall(steps=[start, OPEN, text("Hello"), text(" there"), CLOSE, delta, STOP])


@dataclass(frozen=True)
class Told:
    """What a client learned of its answer. ``cost`` in dollars, exact; None where it was not told."""

    id: str
    cost: Decimal | None
    header: str | None


def told_by(client: Client) -> Told:
    """Read an answer as a client does, with money as decimals."""
    costs, ids = [], []
    for line in client.body.decode().splitlines():
        data = line.removeprefix("data: ")
        if not data.startswith("{"):
            continue
        event = json.loads(data, parse_float=Decimal)
        ids.append(event.get("id") or event.get("message", {}).get("id"))
        if "cost" in (event.get("usage") or {}):
            costs.append(Decimal(event["usage"]["cost"]))
    assert len(costs) <= 1
    answer_id = next((found for found in ids if found), None)
    return Told(
        answer_id or client.headers["x-request-id"], costs[0] if costs else None, client.headers.get("x-lumyx-charge")
    )
