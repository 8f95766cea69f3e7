"""The mock upstream's answers: each protocol's form, the nonce, the stamps, and usage."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rig.clients import dechunk
from rig.upstream import UpstreamProtocol
from tests.gateway.protocols.grammar import check_chat_stream, check_messages_stream

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
NONCE = "000000000007"


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve the mock on a free port and connect to it."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()


def _request(path: str, model: str, *, stream: bool = False) -> bytes:
    messages = [{"role": "user", "content": f"nonce-{NONCE} and more"}]
    body = json.dumps({"model": model, "max_tokens": 9, "messages": messages, "stream": stream}).encode()
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


async def _read(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Return the head and the body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if "content-length: " in head:
        return head, await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    return head, dechunk(await reader.readuntil(b"\r\n0\r\n\r\n"))


async def _ask(path: str, model: str, *, stream: bool = False) -> tuple[str, bytes]:
    async with connected() as (reader, writer):
        writer.write(_request(path, model, stream=stream))
        return await _read(reader)


async def test_a_whole_chat_answer_has_one_kilobyte_the_nonce_and_usage() -> None:
    head, body = await _ask(CHAT, "mock-json")
    assert head.startswith("HTTP/1.1 200 OK")
    assert 1000 <= len(body) <= 1200
    answer = json.loads(body)
    assert answer["choices"][0]["message"]["content"].startswith(f"nonce-{NONCE} the quick")
    assert answer["usage"] == {"prompt_tokens": 250, "completion_tokens": 150, "total_tokens": 400}


@pytest.mark.parametrize("model", ["mock-json", "mock-json-5", "mock-stream-3-0"])
async def test_a_whole_message_has_one_kilobyte_the_nonce_and_usage(model: str) -> None:
    head, body = await _ask(MESSAGES, model)
    assert head.startswith("HTTP/1.1 200 OK")
    assert 1000 <= len(body) <= 1200
    message = json.loads(body)
    (block,) = message.pop("content")
    assert block["type"] == "text"
    assert block["text"].startswith(f"nonce-{NONCE} the quick")
    assert message == {
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 250,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 150,
        },
    }


def _texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]


async def test_a_burst_of_messages_keeps_the_grammar() -> None:
    head, body = await _ask(MESSAGES, "mock-stream-4-0", stream=True)
    assert "content-type: text/event-stream" in head
    events = check_messages_stream(body)
    assert _texts(events) == [f"nonce-{NONCE}", "token ", "token ", "token "]
    assert [event["type"] for event in events if event["type"] != "content_block_delta"] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 250
    assert events[-2]["usage"] == {"output_tokens": 150}
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


async def test_a_paced_stream_of_messages_has_the_times_of_sending() -> None:
    _, body = await _ask(MESSAGES, "mock-stream-4-200", stream=True)
    first, *stamped = _texts(check_messages_stream(body))
    assert first == f"nonce-{NONCE}"
    times = [int(text.removeprefix("sent-")) for text in stamped]
    assert len(times) == 3
    assert times == sorted(times)


@pytest.mark.parametrize("model", ["mock-stream-4-0", "mock-stream-4-200"])
async def test_streams_of_chat_completions_keep_their_grammar(model: str) -> None:
    _, body = await _ask(CHAT, model, stream=True)
    chunks = check_chat_stream(body, usage=True)
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    assert texts[0] == f"nonce-{NONCE}"
    assert [text is None for text in texts] == [False, False, False, False, True]
    assert chunks[-1]["usage"]["total_tokens"] == 400


async def test_each_request_of_a_connection_is_answered_in_its_own_protocol() -> None:
    async with connected() as (reader, writer):
        for path, form in ((CHAT, "chat.completion"), (MESSAGES, "message"), (CHAT, "chat.completion")):
            writer.write(_request(path, "mock-json"))
            answer = json.loads((await _read(reader))[1])
            assert form in (answer.get("object"), answer.get("type"))


async def test_requests_that_come_in_one_piece_are_answered_in_their_own_protocols() -> None:
    async with connected() as (reader, writer):
        writer.write(_request(CHAT, "mock-json") + _request(MESSAGES, "mock-json"))
        bodies = [json.loads((await _read(reader))[1]) for _ in range(2)]
    assert [body["id"] for body in bodies] == ["chatcmpl-mock", "msg_mock"]
