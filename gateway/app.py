"""The gateway's own ASGI application: the data plane's routes, and the one place where errors become answers."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.endpoints import chat, count_tokens, embeddings, generation, key, messages, models, quote
from gateway.errors import ApiError, internal_error, not_found, shown, unavailable
from gateway.http import LINE, Receive, Scope, Send, send_error, send_json
from gateway.pipeline import Arrival, Gateway
from gateway.protocols.wording import RequestShapeError
from gateway.store import StoreUnavailableError

log = logging.getLogger(__name__)

#: Bases under which every endpoint answers; Anthropic's SDKs add their own /v1 to the base URL.
BASES = ("/api/v1/v1", "/api/v1")
#: Where clients of Messages look whose base is /api and who add nothing to it.
SHORT_BASE, SHORT_ENDPOINTS = "/api", frozenset({"/messages", "/messages/count_tokens"})
ONE_MODEL = "/models/"
#: Claude Code asks {base}/api/hello whether anybody is there.
HELLO, HELLOS = "/api/hello", frozenset({"/api/api/hello", "/api/v1/api/hello"})
POSTS: dict[str, Callable[[Arrival, Gateway], Awaitable[None]]] = {
    "/chat/completions": chat.serve,
    "/embeddings": embeddings.serve,
    "/messages": messages.serve,
    "/messages/count_tokens": count_tokens.serve,
    "/quote": quote.serve,
}
GETS: dict[str, Callable[[Arrival, Gateway], Awaitable[None]]] = {
    "/generation": generation.serve,
    "/key": key.serve,
    "/models": models.serve_list,
}
NONE: dict[str, Any] = {}


class GatewayApp:
    """Answers data-plane requests. ``gateway`` is set by the lifespan before the first request."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        # Taken out: a server's line may know the scope, and two that know each other are left to the garbage collector.
        line = scope.pop("extensions", NONE).get(LINE)
        peer = scope.get("client")
        arrival = Arrival(
            headers=scope["headers"],
            receive=receive,
            send=send,
            line=line,
            query=scope.get("query_string", b""),
            peer=peer[0] if peer else "",
        )
        started = False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        arrival.send = watched
        try:
            await self._route(scope["method"], scope["path"], arrival)
            return
        except ApiError as error:
            failure = error
        except RequestShapeError as error:
            failure = ApiError(400, error.code, error.message)
        except StoreUnavailableError as error:
            log.warning("request %s refused: %s", arrival.id.hex, error)
            failure = unavailable()
        except Exception:
            log.exception("request %s met a bug", arrival.id.hex)
            if started:
                return
            failure = internal_error()
        unread = receive if _has_body(scope) and not arrival.is_read else None
        await send_error(send, failure, request_id=arrival.id.hex, unread=unread)

    async def _route(self, method: str, path: str, arrival: Arrival) -> None:
        name = _endpoint_of(path)
        if name == HELLO:
            _require(method, "HEAD", path)
            await send_json(arrival.send, b"{}", request_id=arrival.id.hex)
            return
        gateway = self.gateway
        if gateway is None:
            raise unavailable("The service is starting. Try again in a second.")
        serve = POSTS.get(name)
        if serve is not None:
            _require(method, "POST", path)
            await serve(arrival, gateway)
        elif (serve := GETS.get(name)) is not None:
            _require(method, "GET", path)
            await serve(arrival, gateway)
        elif name.startswith(ONE_MODEL) and len(name) > len(ONE_MODEL):
            _require(method, "GET", path)
            await models.serve_one(arrival, gateway, name.removeprefix(ONE_MODEL))
        else:
            raise not_found(path)


def _has_body(scope: Scope) -> bool:
    return any(name == b"content-length" and value != b"0" for name, value in scope["headers"])


def _endpoint_of(path: str) -> str:
    if path in HELLOS:
        return HELLO
    for base in BASES:
        if path.startswith(base + "/"):
            return path[len(base) :]
    short = path.removeprefix(SHORT_BASE)
    return short if short in SHORT_ENDPOINTS else ""


def _require(method: str, allowed: str, path: str) -> None:
    if method != allowed:
        raise ApiError(
            405, "method_not_allowed", f"{shown(path)} answers {allowed} only.", headers=[(b"allow", allowed.encode())]
        )
