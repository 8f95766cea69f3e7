"""A stand-in for lumyx.asgi, to test how lumyx.serve ends: a slow answer, and readiness that follows the drain."""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.http import LINE, Line
from lumyx.settings.test import *  # noqa: F403  it is its own settings module, too

LUMYX_DRAIN_SECONDS = float(os.environ.get("STANDIN_DRAIN", "0"))
LUMYX_GRACE_SECONDS = 5
LUMYX_HEAD_DEADLINE = LUMYX_READ_DEADLINE = float(os.environ.get("STANDIN_DEADLINE", "20"))

draining = False


def start_draining() -> None:
    """Say 503 from now on."""
    global draining
    draining = True


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answer /slow after a second, /much?N with N bytes, /echo with the body, /pieces?N in pieces, everything else at once."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/pieces":
        await send_pieces(scope["extensions"][LINE], int(scope["query_string"]), send)
        return
    status = 503 if draining and scope["path"] == "/readyz" else 200
    body = b"done"
    if scope["path"] == "/much":
        body = bytes(int(scope["query_string"]))
    elif scope["path"] == "/echo":
        body = await read_body(receive)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    await send({"type": "http.response.body", "body": body})


async def send_pieces(line: Line, count: int, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
    """Send ``count`` pieces of a thousand bytes on the client's line while it is free, and say at the end how many went so."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    written = 0
    for number in range(count):
        piece = b"%04d" % number * 250
        if line.is_free:
            line.write(piece)
            written += 1
        else:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"%d" % written})
    try:
        line.write(b"late")
    except RuntimeError:
        return
    raise AssertionError("a piece was sent after the end")


async def read_body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    """Return a whole body."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
