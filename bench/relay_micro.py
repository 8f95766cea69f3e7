"""Times the pure steps of the hot path, alone on one core: parse, body for the upstream, relay of chunks and of whole answers.

Run ``python -m bench.relay_micro``. Best of several rounds, in microseconds of CPU: what the code costs on a quiet core. It says
nothing about sockets; ``python -m bench`` measures the whole gateway.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from gateway.protocols.jsoncheck import check_json
from gateway.protocols.openai_chat import ChunkRelay, input_upper_bound, parse_chat_request, relay_whole, upstream_body
from gateway.protocols.sse import SseParser
from gateway.types import RouteInfo, UpstreamInfo
from gateway.upstreams import UpstreamClient, open_upstream

ROUNDS = 7
CHUNKS = 40


def request_body(size: int = 1024, *, stream: bool = False) -> bytes:
    """Return a chat request whose prompt has ``size`` bytes."""
    words = ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": words}]
    fields: dict[str, Any] = {"model": "lumyx-plus_v1", "messages": messages, "temperature": 0.7, "max_tokens": 256}
    return json.dumps({**fields, "stream": stream}).encode()


def stream_payloads(count: int = CHUNKS) -> list[bytes]:
    """Return the payloads of a stream as OpenAI writes them."""
    head = {"id": "chatcmpl-x", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-x-2026"}
    tail = {"system_fingerprint": "fp_1", "service_tier": "default"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *[{"content": " word"}] * count, {}]
    payloads = []
    for position, delta in enumerate(deltas):
        reason = "stop" if position == len(deltas) - 1 else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        payloads.append(
            json.dumps({**head, **tail, "choices": [choice], "usage": None}, separators=(",", ":")).encode()
        )
    usage = {"prompt_tokens": 250, "completion_tokens": count, "total_tokens": 250 + count}
    payloads.append(json.dumps({**head, **tail, "choices": [], "usage": usage}, separators=(",", ":")).encode())
    return payloads


def whole_body() -> bytes:
    """Return a whole answer of 1 KB."""
    return json.dumps(
        {
            "id": "chatcmpl-x",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-x-2026",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 250, "completion_tokens": 200, "total_tokens": 450},
        }
    ).encode()


def best_of(step: Callable[[], object], *, times: int) -> float:
    """Return the CPU microseconds of one ``step``, the best of several rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(times):
            step()
        found.append((time.process_time() - started) / times * 1e6)
    return min(found)


def pure_steps() -> dict[str, float]:
    """Return the cost of each pure step in microseconds."""
    body, streamed = request_body(), request_body(stream=True)
    request, stream_request = parse_chat_request(body), parse_chat_request(streamed)
    payloads, whole = stream_payloads(), whole_body()
    wire = b"".join(b"data: " + payload + b"\n\n" for payload in payloads) + b"data: [DONE]\n\n"
    burst = b"".join(b"data: " + payload + b"\n\n" for payload in stream_payloads(198))
    large = request_body(300_000)

    def relay() -> None:
        relayer = ChunkRelay("chatcmpl-ours", "lumyx-plus_v1", False)
        for payload in SseParser().feed(wire)[:-1]:
            relayer.feed(payload)

    def relay_burst() -> None:
        relayer = ChunkRelay("chatcmpl-ours", "lumyx-plus_v1", False)
        out = [b"data: " + told + b"\n\n" for payload in SseParser().feed(burst) if (told := relayer.feed(payload))]
        b"".join(out)

    return {
        "check_json, 1 KB": best_of(lambda: check_json(body), times=20_000),
        "check_json, 300 KB": best_of(lambda: check_json(large), times=200),
        "parse_chat_request, 1 KB": best_of(lambda: parse_chat_request(body), times=10_000),
        "parse_chat_request, 300 KB": best_of(lambda: parse_chat_request(large), times=200),
        "input_upper_bound": best_of(lambda: input_upper_bound(request), times=20_000),
        "upstream_body, whole": best_of(lambda: upstream_body(request, model="gpt-x", max_tokens=99), times=10_000),
        "upstream_body, stream": best_of(
            lambda: upstream_body(stream_request, model="gpt-x", max_tokens=None), times=10_000
        ),
        "relay_whole, 1 KB": best_of(lambda: relay_whole(whole, response_id="chatcmpl-o", model="l"), times=10_000),
        "SSE parse of a 43-chunk read": best_of(lambda: SseParser().feed(wire), times=2_000),
        "parse + relay, 40-chunk stream": best_of(relay, times=500),
        "parse + relay, a chunk of a 200-chunk burst": best_of(relay_burst, times=100) / 200,
    }


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of a connection with the same whole answer, as cheaply as this process can."""
    body = whole_body()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
            writer.write(answer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def call_cost(times: int = 4_000) -> float:
    """Return CPU microseconds of one whole call over loopback, the answering side (in this process) included."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = UpstreamInfo(
        1, "micro", "openai", "openai_chat", f"http://127.0.0.1:{port}/v1", "sk-x", allow_private_network=True
    )
    route = RouteInfo(upstream, "gpt-x", 1, 100)
    request = parse_chat_request(request_body())
    async with UpstreamClient() as client:

        async def ask(count: int) -> None:
            for _ in range(count):
                call = open_upstream(client, route, upstream_body(request, model="gpt-x"), stream=False)
                await call.start()
                await call.read()
                await call.aclose()

        await ask(100)
        started = time.process_time()
        await asyncio.gather(*(ask(times // 32) for _ in range(32)))
        cost = (time.process_time() - started) / (times // 32 * 32) * 1e6
    server.close()
    return cost


def main() -> None:
    """Measure and print a table, or JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    found = pure_steps()
    found["one whole call, both sides of the socket"] = uvloop.run(call_cost())
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for name, cost in found.items():
        sys.stdout.write(f"{name:<45} {cost:>10.2f} µs\n")


if __name__ == "__main__":
    main()
