"""The sandbox upstream: models that run in this process, for trying the service and for testing it. No network, no chance.

How it counts: a word between white space is a token, an image is 64, a tool call is one for its name and one for each word of
its arguments. Its usage is exact by this rule, it honours ``max_tokens``, ``stop`` and ``n``, and streams a chunk a word.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.protocols.openai_chat import parse_chat_request
from gateway.types import RouteInfo
from gateway.upstreams.sandbox_models import Reply, reply_of, text_of
from gateway.upstreams.taker import Taker, hand_over
from lumyx.lib import clock

IMAGE_TOKENS = 64
#: Chunks handed over at once where there is no pause, as one read of a network would.
BATCH = 32
_WORD = re.compile(r"\s*\S+|\s+\Z")
_ERROR = {"message": "The sandbox broke off, as asked.", "type": "server_error", "code": "sandbox_error"}


class SandboxCall:
    """One call of a sandbox model."""

    #: Nobody bills for it.
    stops_billing_on_cancel = True

    def __init__(self, route: RouteInfo, body: bytes) -> None:
        self._request = request = parse_chat_request(body)
        self._behaviour = route.upstream_model
        self._max_tokens = request.max_tokens
        self._reply = Reply()
        self._finish_reason = "stop"

    async def start(self) -> None:
        """Make up the answer. Raises UpstreamFailure for the model that fails before its first byte."""
        reply = reply_of(self._behaviour, self._request)
        if reply.fails_at == 0:
            raise UpstreamFailure(FailureKind.SERVER_ERROR, "the sandbox failed, as asked", status=500)
        self._reply = reply
        self._finish_reason = _limit(reply, self._request.stop, self._max_tokens)

    async def pour(self, taker: Taker) -> None:
        """Give ``taker`` the payloads of the stream: one at a time where the model is slow, else some at a time."""
        pause, batch = self._reply.pause, []
        for chunk in self._chunks():
            batch.append(msgspec.json.encode(chunk))
            if pause or len(batch) == BATCH:
                await asyncio.sleep(pause)
                if not await hand_over(batch, taker):
                    return
                batch = []
        if batch:
            await hand_over(batch, taker)

    async def read(self) -> bytes:
        """Return the whole answer. Raises UpstreamFailure for the model that fails midway."""
        reply = self._reply
        if reply.fails_at is not None:
            raise UpstreamFailure(FailureKind.SERVER_ERROR, "the sandbox failed, as asked", status=500)
        await asyncio.sleep(reply.pause * len(reply.content.split()))
        message: dict[str, Any] = {"role": "assistant", "content": reply.content or None}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.calls:
            message["tool_calls"] = [_call(index, *call) for index, call in enumerate(reply.calls)]
        answer = {
            **self._head("chat.completion"),
            "choices": [
                {"index": index, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
                for index in range(self._request.n)
            ],
        }
        if reply.reports_usage:
            answer["usage"] = self._usage()
        return msgspec.json.encode(answer)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "sandbox", "object": kind, "created": int(clock.now().timestamp()), "model": self._behaviour}

    def _chunks(self) -> Iterator[dict[str, Any]]:
        head = self._head("chat.completion.chunk")
        for index in range(self._request.n):
            opening = {"role": "assistant", "content": "" if self._reply.content else None}
            yield {**head, "choices": [_choice(index, opening)]}
            for position, delta in enumerate(_deltas(self._reply)):
                if position == self._reply.fails_at:
                    yield {"error": _ERROR}
                    return
                yield {**head, "choices": [_choice(index, delta)]}
            yield {**head, "choices": [_choice(index, {}, self._finish_reason)]}
        if self._reply.reports_usage:
            yield {**head, "choices": [], "usage": self._usage()}

    def _usage(self) -> dict[str, Any]:
        request, reply = self._request, self._reply
        asked = sum(len(text_of(message).split()) for message in request.messages)
        asked += IMAGE_TOKENS * len(request.images)
        thought = _words(reply.reasoning)
        made = thought + _words(reply.content) + sum(_call_tokens(*call) for call in reply.calls)
        return {
            "prompt_tokens": asked,
            "completion_tokens": made * request.n,
            "total_tokens": asked + made * request.n,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought * request.n},
        }


def _limit(reply: Reply, stop: tuple[str, ...], max_tokens: int | None) -> str:
    """Apply stop sequences and the ceiling on tokens to a reply; return the finish reason."""
    ends = [at for at in (reply.content.find(mark) for mark in stop if mark) if at >= 0]
    if ends:
        reply.content = reply.content[: min(ends)]
    reason = "tool_calls" if reply.calls else "stop"
    if max_tokens is None:
        return reason
    left = max_tokens
    for name in ("reasoning", "content"):
        text = getattr(reply, name)
        if _words(text) > left:
            setattr(reply, name, "".join(_WORD.findall(text)[:left]))
            reason = "length"
        left -= _words(getattr(reply, name))
    kept = []
    for call in reply.calls:
        left -= _call_tokens(*call)
        if left < 0:
            reason = "length"
            break
        kept.append(call)
    reply.calls = kept
    return reason


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    for word in _WORD.findall(reply.reasoning):
        yield {"reasoning_content": word}
    for word in _WORD.findall(reply.content):
        yield {"content": word}
    for index, (name, arguments) in enumerate(reply.calls):
        call = _call(index, name, arguments)
        text = call["function"]["arguments"]
        call["function"]["arguments"] = ""
        yield {"tool_calls": [{"index": index, **call}]}
        # In two pieces, as providers do: clients must join them by index.
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _choice(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _call(index: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    text = msgspec.json.encode(arguments).decode()
    return {"id": f"call_sandbox_{index}", "type": "function", "function": {"name": name, "arguments": text}}


def _words(text: str) -> int:
    return len(text.split())


def _call_tokens(_name: str, arguments: dict[str, Any]) -> int:
    return 1 + len(msgspec.json.encode(arguments).split())
