"""The guard in front of everything: refuses requests that are hostile by their headers, and reads the site's bodies under a
cap and a deadline before Django sees them. The gateway reads its own bodies, after it has authenticated the caller.

Fails closed, with the API's error body. Facts behind each rule: docs/architecture.md, "The guard".
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.errors import ApiError
from gateway.http import Receive, Scope, Send, read_body, send_error
from lumyx.lib.ids import uuid7

App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HEADERS = 100
MAX_HEADER_BYTES = 64 * 1024
MAX_CONTENT_TYPE = 200
#: Headers that change what a request means: twice is an attack or a broken proxy, never a client.
SINGLE = frozenset({b"host", b"content-length", b"content-type"})


def header_fault(headers: list[tuple[bytes, bytes]], *, body_limit: int) -> ApiError | None:
    """Return the refusal that a request's headers call for, or None.

    Args:
        headers: names in lower case, as ASGI gives them.
        body_limit: bytes that a body may have on this path.
    """
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return ApiError(431, "headers_too_large", "The request's headers are too many or too large.")
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"transfer-encoding":
            # Chunked trailers would join the headers, so that a trailer could carry an Authorization.
            return ApiError(411, "length_required", "Send the body with a Content-Length, not chunked.")
        if name in SINGLE:
            if name in seen:
                return ApiError(400, "invalid_parameter", f"The header {name.decode()} was sent twice.")
            seen[name] = value
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return ApiError(415, "unsupported_media_type", "Compressed bodies are not accepted. Send plain JSON.")
    content_type = seen.get(b"content-type", b"")
    # A parameter like a*=x''y raises inside Django before its error handling, and a long value blocks the loop.
    if len(content_type) > MAX_CONTENT_TYPE or b"*" in content_type:
        return ApiError(400, "invalid_parameter", "The Content-Type header is not valid.")
    length = seen.get(b"content-length", b"0")
    if not length.isdigit():
        return ApiError(400, "invalid_parameter", "The Content-Length header is not a number.")
    if len(length) > 15 or int(length) > body_limit:
        return ApiError(413, "body_too_large", f"The body is larger than the limit of {body_limit} bytes.")
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return replayed


class Guard:
    """ASGI middleware: checks headers on every request, and bodies of the paths that ``is_api`` does not claim."""

    def __init__(
        self, app: App, *, is_api: Callable[[str], bool], site_limit: int, api_limit: int, deadline: float
    ) -> None:
        self.app = app
        self.is_api = is_api
        self.site_limit = site_limit
        self.api_limit = api_limit
        self.deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        api = self.is_api(scope["path"])
        fault = header_fault(scope["headers"], body_limit=self.api_limit if api else self.site_limit)
        if fault is not None:
            await send_error(send, fault, request_id=uuid7().hex, unread=receive)
            return
        if not api and scope["method"] not in ("GET", "HEAD"):
            try:
                body = await read_body(receive, limit=self.site_limit, deadline=self.deadline)
            except ApiError as error:
                await send_error(send, error, request_id=uuid7().hex, unread=receive)
                return
            if body is None:
                return
            receive = _replay(body, receive)
        await self.app(scope, receive, send)
