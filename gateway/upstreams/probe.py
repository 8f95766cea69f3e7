"""One tiny real request to an upstream, to see whether it answers: a call of one token, or its list of models."""

import dataclasses
import time

import msgspec

from gateway.protocols.openai_errors import failure_from_status
from gateway.types import RouteInfo, UpstreamInfo
from gateway.upstreams import FailureKind, UpstreamClient, UpstreamFailure, open_upstream
from gateway.upstreams.anthropic_messages import VERSION_HEADER, AnthropicMessagesCall
from gateway.upstreams.client import MAX_ERROR_BODY
from gateway.upstreams.openai_chat import OpenAIChatCall

#: An operator waits for the answer: no test takes longer, whatever the upstream's own time limits are. Seconds.
TIME_LIMIT = 20.0
_MODEL_LIST_LIMIT = 4 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """What came of a test. ``status`` is the upstream's HTTP status, None when there was no answer; ``detail`` is for operators."""

    ok: bool
    status: int | None
    latency_ms: int
    detail: str


async def probe_upstream(upstream: UpstreamInfo, *, upstream_model: str = "") -> Probe:
    """Test an upstream: call ``upstream_model`` for one token; without one, ask for its list of models."""
    upstream = dataclasses.replace(
        upstream,
        first_byte_timeout=min(upstream.first_byte_timeout, TIME_LIMIT),
        total_timeout=min(upstream.total_timeout, TIME_LIMIT),
    )
    began = time.monotonic()
    try:
        async with UpstreamClient() as client:
            if upstream_model or upstream.protocol == "sandbox":
                detail = await _call(client, upstream, upstream_model or "echo")
            else:
                detail = await _list_models(client, upstream)
    except UpstreamFailure as failure:
        return Probe(False, failure.status, _since(began), _explained(failure))
    return Probe(True, 200, _since(began), detail)


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
    if upstream.protocol == "anthropic_messages":
        auth = AnthropicMessagesCall.auth_for(upstream)
        response = await client.get(upstream, "/v1/models", auth=auth, headers=VERSION_HEADER)
    else:
        response = await client.get(upstream, "/models", auth=OpenAIChatCall.auth_for(upstream))
    try:
        limit = _MODEL_LIST_LIMIT if response.status == 200 else MAX_ERROR_BODY
        body = await client.read(response, at_most=limit)
    finally:
        response.close()
    if response.status != 200:
        # Some providers quote the key that they refuse.
        text = body.replace(upstream.credential.encode() or b"\xff", b"***").decode(errors="replace")
        raise failure_from_status(response.status, text, retry_after=None)
    models = _decoded(body).get("data")
    if not isinstance(models, list):
        raise UpstreamFailure(FailureKind.INVALID, "its list of models has no data", status=200)
    return f"It lists {len(models)} model{'' if len(models) == 1 else 's'}."


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


def _explained(failure: UpstreamFailure) -> str:
    return f"{_ADVICE[failure.kind]} ({failure})"
