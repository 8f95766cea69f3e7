"""Makes exchanges without a database: a scripted upstream, a store that only notes what it is told."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from billing.rating import Rates
from billing.types import Settled, Settlement
from gateway.pipeline.exchange import Exchange
from gateway.protocols.anthropic_request import parse_messages_request
from gateway.protocols.clients import CHAT, MESSAGES
from gateway.protocols.openai_chat import parse_chat_request
from gateway.store import UsageRecord
from gateway.types import ModelInfo, Principal, RouteInfo, UpstreamInfo
from gateway.upstreams.taker import Taker, hand_over
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.gateway.asgi import Client

#: $0.50 and $1.50 per million tokens.
RATES = Rates(input=500_000_000, output=1_500_000_000)

PRINCIPAL = Principal(
    api_key_id=1,
    workspace_id=10,
    owner_id=100,
    maker_id=100,
    is_test=False,
    allowed_models=frozenset(),
    expires_at=None,
    revoked=False,
    suspended=False,
    email_verified=True,
    policies=frozenset(),
    requests_per_minute=0,
    daily_requests=25,
    quota_subject="u:100",
)


def make_route(name: str, *, priority: int = 1, protocol: str = "openai_chat") -> RouteInfo:
    """Make a route to an upstream of that name."""
    provider = "anthropic" if protocol == "anthropic_messages" else "openai"
    upstream = UpstreamInfo(id=hash(name) % 1000, name=name, provider=provider, protocol=protocol)
    return RouteInfo(upstream=upstream, upstream_model="their-name", priority=priority, weight=100)


def make_model(*routes: RouteInfo, **changes: Any) -> ModelInfo:
    """Make a chat model with everything allowed."""
    model = ModelInfo(
        public_id="our-name",
        display_name="Ours",
        description="",
        kind="chat",
        context_window=8_000,
        max_output_tokens=1_000,
        tags=("tools", "vision", "reasoning"),
        supports_streaming=True,
        is_free=False,
        created=1_700_000_000,
        price_id=5,
        rates=RATES,
        routes=routes or (make_route("first"),),
    )
    return replace(model, **changes)


def make_exchange(client: Client, *, stream: bool = False, model: ModelInfo | None = None, **fields: Any) -> Exchange:
    """Make an admitted exchange whose answer goes to ``client``."""
    body = {"model": "our-name", "messages": [{"role": "user", "content": "Hello"}], "stream": stream, **fields}
    exchange = Exchange(
        id=uuid7(),
        send=client.send,
        started_at=clock.now(),
        started=clock.monotonic(),
        principal=PRINCIPAL,
        protocol=CHAT,
        request=parse_chat_request(msgspec.json.encode(body)),
    )
    exchange.model = model or make_model()
    exchange.routes = exchange.model.routes
    return exchange


def make_messages_exchange(
    client: Client, *, stream: bool = False, model: ModelInfo | None = None, **fields: Any
) -> Exchange:
    """Make an admitted exchange of a client that speaks Messages; its model's upstream speaks them too."""
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "our-name", "max_tokens": 100, "messages": messages, "stream": stream, **fields}
    exchange = Exchange(
        id=uuid7(),
        send=client.send,
        started_at=clock.now(),
        started=clock.monotonic(),
        principal=PRINCIPAL,
        protocol=MESSAGES,
        request=parse_messages_request(msgspec.json.encode(body)),
    )
    exchange.model = model or make_model(make_route("first", protocol="anthropic_messages"))
    exchange.routes = exchange.model.routes
    return exchange


@dataclass
class NotingStore:
    """Takes settlements: remembers them, and commits when the gate is open."""

    settled: list[tuple[Settlement, UsageRecord]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _commits: list[asyncio.Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def settle(self, settlement: Settlement, record: UsageRecord) -> "asyncio.Future[Settled]":
        self.settled.append((settlement, record))
        self.asked.set()
        future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._commits.append(asyncio.ensure_future(self._commit(settlement, future)))
        return future

    async def _commit(self, settlement: Settlement, future: "asyncio.Future[Settled]") -> None:
        await self.gate.wait()
        if not future.done():
            future.set_result(Settled(settlement.request_id, charge=settlement.rated or 0, absorbed=0, applied=True))


class ClientLine:
    """A gateway.http.Line into a client's messages; ``is_free`` is the test's to change."""

    def __init__(self, client: Client) -> None:
        self.is_free = True
        self.written: list[bytes] = []
        self._client = client

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._client.messages.append({"type": "http.response.body", "body": data, "more_body": True})


type Step = bytes | Exception | float | Callable[[], None]


class ScriptedCall:
    """An upstream call that plays steps: bytes are sent, numbers are seconds to wait, exceptions are raised."""

    stops_billing_on_cancel = False

    def __init__(self, *, start: Exception | None = None, steps: Sequence[Step] = (), body: bytes = b"") -> None:
        self._start = start
        self._steps = steps
        self._body = body
        self.closed = False
        self.played = 0

    async def start(self) -> None:
        if self._start is not None:
            raise self._start

    async def pour(self, taker: Taker) -> None:
        for step in self._steps:
            self.played += 1
            match step:
                case bytes():
                    if not await hand_over([step], taker):
                        return
                case Exception():
                    raise step
                case int() | float():
                    await asyncio.sleep(step)
                case _:
                    step()
                    await asyncio.sleep(0)

    async def read(self) -> bytes:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, int | float):
                await asyncio.sleep(step)
        return self._body

    async def aclose(self) -> None:
        self.closed = True


def chunk(content: str | None = None, *, finish: str | None = None, **fields: Any) -> bytes:
    """Make a chunk as an upstream sends it."""
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return msgspec.json.encode({"id": "theirs", "model": "their-name", "choices": choices, **fields})


def usage(prompt: int, completion: int) -> bytes:
    """Make the last chunk of an upstream that reports usage."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return msgspec.json.encode({"id": "theirs", "model": "their-name", "choices": [], "usage": counts})


def whole(content: str, **fields: Any) -> bytes:
    """Make a whole answer as an upstream sends it."""
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return msgspec.json.encode({"id": "theirs", "model": "their-name", "choices": choices, **fields})
