"""Drives an ASGI application by hand: what is sent, what comes back, and when the client leaves."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from gateway.http import Receive, Send

Message = MutableMapping[str, Any]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Client:
    """One request. ``parts`` are body pieces; with ``stall`` the rest never comes."""

    def __init__(
        self,
        *,
        method: str = "POST",
        path: str = "/api/v1/chat/completions",
        headers: Sequence[tuple[str, str]] = (),
        parts: Sequence[bytes] = (b"",),
        stall: bool = False,
    ) -> None:
        self.scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
        self._parts = list(parts)
        self._stall = stall
        self._left = asyncio.Event()
        self.messages: list[Message] = []
        self.on_message: Callable[[Message], None] | None = None

    async def receive(self) -> Message:
        """Give the next part of the body; after it, wait until the client leaves or the answer is complete."""
        if self._parts:
            body = self._parts.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._parts) or self._stall}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take what the application sends, as servers do: after a disconnect it goes nowhere, silently."""
        if self._left.is_set():
            return
        self.messages.append(message)
        if self.on_message is not None:
            self.on_message(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._left.set()

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def run(self, app: App) -> "Client":
        """Run the application to its end."""
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        """All that was sent of the body."""
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end."""
        return bool(self.messages) and self.messages[-1].get("more_body") is not True and len(self.messages) > 1

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)
