"""The proofs' client against servers that misbehave on purpose: what it says of each ending, and that it raises for none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from proofs.client import Answer, Ending, Leave, ask_once, chat_request, connect, encode_request
from rig.upstream import UpstreamProtocol

WHOLE = b"HTTP/1.1 200 OK\r\nX-Request-Id: ab12\r\ncontent-length: 4\r\n\r\nbody"


@contextlib.asynccontextmanager
async def answering(*pieces: bytes, then_close: bool = False) -> AsyncIterator[int]:
    """Serve the same bytes to every request, on a free port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if then_close:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.sleep(0.02)  # the handlers see that we have gone


@contextlib.asynccontextmanager
async def mock_upstream() -> AsyncIterator[int]:
    """Serve the mock upstream on a free port."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _ask(port: int, model: str, *, stream: bool = False, leave: Leave | None = None) -> Answer:
    return await ask_once(
        port, chat_request(model, key="lx-k", prompt="nonce-000000000003", stream=stream), leave=leave
    )


async def test_a_whole_answer_on_a_connection_that_is_kept() -> None:
    async with answering(WHOLE[:30], WHOLE[30:]) as port:
        connection = await connect(port)
        answers = [await connection.ask(encode_request("GET", "/")) for _ in range(2)]
        connection.close()
    for answer in answers:
        assert (answer.status, bytes(answer.body), answer.ending) == (200, b"body", Ending.WHOLE)
        assert answer.raw == WHOLE
        assert answer.request_id == "ab12"
        assert answer.is_finished
    assert not connection.stray


async def test_a_stream_is_finished_with_done_and_not_before() -> None:
    async with mock_upstream() as port:
        whole = await _ask(port, "mock-stream-3-0", stream=True)
        left = await _ask(port, "mock-stream-20-20", stream=True, leave=Leave(seconds=0.15))
    assert whole.is_finished
    assert whole.is_stream
    assert b"nonce-000000000003" in whole.body
    assert (left.status, left.ending, left.is_finished) == (200, Ending.LEFT, False)
    assert b"nonce-000000000003" in left.body


@pytest.mark.parametrize("with_reset", [False, True])
async def test_leaving_by_bytes_stops_there(with_reset: bool) -> None:
    async with mock_upstream() as port:
        answer = await _ask(port, "mock-json", leave=Leave(received=40, with_reset=with_reset))
        unsent = await _ask(port, "mock-json", leave=Leave(sent=40, with_reset=with_reset))
    assert len(answer.raw) >= 40
    assert (unsent.ending, unsent.status) == (Ending.LEFT, 0)


async def test_a_server_that_breaks_off_is_lost_and_one_that_is_not_there_refused() -> None:
    async with answering(WHOLE[:-2], then_close=True) as port:
        lost = await ask_once(port, encode_request("GET", "/"))
    refused = await ask_once(port, encode_request("GET", "/"))
    assert (lost.status, bytes(lost.body), lost.ending, lost.is_finished) == (200, b"bo", Ending.LOST, False)
    assert (refused.status, refused.ending) == (0, Ending.REFUSED)


async def test_a_server_that_sends_no_http_is_lost_and_one_that_says_nothing_silent() -> None:
    async with answering(b"no such thing\r\n\r\n") as port:
        assert (await ask_once(port, encode_request("GET", "/"))).ending is Ending.LOST
    async with answering() as port:
        connection = await connect(port)
        answer = await connection.ask(encode_request("GET", "/"), patience=0.05)
    assert (answer.ending, connection.is_open) == (Ending.SILENT, False)


async def test_bytes_that_nobody_asked_for_are_kept_apart() -> None:
    async with answering(WHOLE + WHOLE) as port:
        connection = await connect(port)
        answer = await connection.ask(encode_request("GET", "/"))
        connection.close()
    assert answer.body == b"body"
    assert b"body" in connection.stray


async def test_cancelling_the_task_that_asks_leaves() -> None:
    async with mock_upstream() as port:
        connection = await connect(port)
        task = asyncio.create_task(connection.ask(chat_request("mock-json-2000", key="lx-k")))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not connection.is_open


async def test_the_code_of_an_error_is_read_and_what_is_no_error_has_none() -> None:
    body = b'{"error":{"code":"insufficient_credits","message":"No."}}'
    async with answering(b"HTTP/1.1 402 No\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)) as port:
        refused = await ask_once(port, encode_request("GET", "/"))
    assert (refused.status, refused.error_code, refused.is_finished) == (402, "insufficient_credits", False)
    assert Answer().error_code == ""
