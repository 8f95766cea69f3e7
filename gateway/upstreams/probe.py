"""One tiny real request to an upstream, to see whether it answers: a call of one token, or its list of models."""

import asyncio
import dataclasses
import time

import msgspec

from gateway.types import RouteInfo, UpstreamInfo
from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure, open_upstream
from gateway.upstreams.model_list import ModelList, list_models

#: An operator waits for the answer: no test takes longer, whatever the upstream's own time limits are. Seconds.
TIME_LIMIT = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """What came of a test. ``status`` is the upstream's HTTP status, None when there was no answer; ``detail`` is for operators."""

    ok: bool
    status: int | None
    latency_ms: int
    detail: str


async def ask_for_models(upstream: UpstreamInfo) -> ModelList:
    """Return an upstream's list of models, within the time of a test. Raises UpstreamFailure."""
    try:
        async with asyncio.timeout(TIME_LIMIT), UpstreamClient() as client:
            return await list_models(client, _hurried(upstream))
    except TimeoutError:
        raise UpstreamFailure(FailureKind.TIMEOUT, f"no list within {TIME_LIMIT:g} s") from None


async def probe_upstream(upstream: UpstreamInfo, *, upstream_model: str = "") -> Probe:
    """Test an upstream: call ``upstream_model`` for one token; without one, ask for its list of models."""
    upstream = _hurried(upstream)
    began = time.monotonic()
    try:
        async with UpstreamClient() as client:
            if upstream_model or upstream.protocol == "sandbox":
                detail = await _call(client, upstream, upstream_model or "echo")
            else:
                detail = await _list_models(client, upstream)
    except UpstreamFailure as failure:
        return Probe(False, failure.status, _since(began), explained(failure))
    return Probe(True, 200, _since(began), detail)


def _hurried(upstream: UpstreamInfo) -> UpstreamInfo:
    return dataclasses.replace(
        upstream,
        connect_timeout=min(upstream.connect_timeout, TIME_LIMIT),
        first_byte_timeout=min(upstream.first_byte_timeout, TIME_LIMIT),
        total_timeout=min(upstream.total_timeout, TIME_LIMIT),
    )


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


async def _call(client: UpstreamClient, upstream: UpstreamInfo, model: str) -> str:
    body = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1})
    call = open_upstream(client, RouteInfo(upstream, model, 1, 100), body, stream=False)
    try:
        await call.start()
        answer = _decoded(await call.read())
    finally:
        await call.aclose()
    # The same tiny body is a request in both protocols; their answers differ.
    content = "content" if upstream.protocol == "anthropic_messages" else "choices"
    if not answer.get(content):
        raise UpstreamFailure(FailureKind.INVALID, f"its answer has no {content}", status=200)
    return f"{model} answered a call."


async def _list_models(client: UpstreamClient, upstream: UpstreamInfo) -> str:
    count = len((await list_models(client, upstream)).models)
    return f"It lists {count} model{'' if count == 1 else 's'}."


def _decoded(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamFailure(FailureKind.INVALID, "its answer is not a JSON object", status=200) from None


#: What an operator can do about it.
_ADVICE = {
    FailureKind.CONNECT: "It could not be reached: check base_url and the network.",
    FailureKind.TIMEOUT: "It did not answer in time.",
    FailureKind.RATE_LIMITED: "It answers, but limits us now.",
    FailureKind.AUTH: "It refuses the credential.",
    FailureKind.NOT_FOUND: "It knows no such path or model: check base_url (most end in /v1) and the route's model.",
    FailureKind.SERVER_ERROR: "It failed.",
    FailureKind.CLIENT_CONTENT: "It refuses the test's request.",
    FailureKind.INVALID: "It does not answer as this protocol does.",
    FailureKind.CUT: "It broke off.",
    FailureKind.PRIVATE_ADDRESS: "Its name leads to a private address: set allow_private_network if that is meant.",
}


def explained(failure: UpstreamFailure) -> str:
    """Return what an operator can do about a failure, and what it was."""
    return f"{_ADVICE[failure.kind]} ({failure})"
