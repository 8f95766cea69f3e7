"""The one HTTP client that speaks to providers: pools, time limits, size limits, and addresses checked at connect.

It follows no redirect, keeps no cookie, reads no proxy from the environment and asks for no compression. A connection goes
back to the pool only when its answer has been read to the end; one of a cancelled or failed call is dropped, because what
is left on it would be the start of somebody else's answer.
"""

import asyncio
import logging
import socket
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.types import UpstreamInfo
from gateway.upstreams.addresses import ForbiddenAddressError, check_base_url, host_is_private

log = logging.getLogger(__name__)

MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR_BODY = 16 * 1024
KEEP_ALIVE = 30.0
DNS_CACHE = 30
CONNECTIONS_PER_HOST = 0
#: An answer that is complete but for the end of its HTTP body gets this long to end, so that its connection can be kept.
DRAIN_TIMEOUT = 1.0
READ_BUFFER = 256 * 1024

#: Set to True in the context of a call when a connection is opened for it: a call that failed on a used one may be repeated.
_opened: ContextVar[list[bool]] = ContextVar("opened")


class PrivateAddressError(OSError):
    """A name resolved to an address that the operator has not allowed."""


class _PublicResolver(AbstractResolver):
    """Resolves names and refuses those that lead inside. The connector connects to what this returns: no second look-up."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if any(host_is_private(result["host"]) for result in found):
            raise PrivateAddressError("the name resolves to a private address")
        return found

    async def close(self) -> None:
        await self._inner.close()


class _Body(aiohttp.BytesPayload):
    """A request body of any size in one write. The base class warns above 1 MiB, and our bodies hold images."""

    def __init__(self, value: bytes) -> None:
        super(aiohttp.BytesPayload, self).__init__(value, content_type="application/json")
        self._size = len(value)


class UpstreamClient:
    """The connections of one process to all upstreams. ``open`` and ``close`` belong to the server's lifespan."""

    def __init__(self, *, ssl_context: Any = True) -> None:
        self._ssl = ssl_context
        self._public: aiohttp.ClientSession | None = None
        self._private: aiohttp.ClientSession | None = None
        self._drains: set[asyncio.Task[None]] = set()

    async def open(self) -> Self:
        """Open the pools. Call it inside the running loop."""
        self._public = self._session(allow_private=False)
        self._private = self._session(allow_private=True)
        return self

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        for task in self._drains:
            task.cancel()
        for session in (self._public, self._private):
            if session is not None:
                await session.close()
        self._public = self._private = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def post(self, upstream: UpstreamInfo, path: str, body: bytes, *, accept: str) -> aiohttp.ClientResponse:
        """Send ``body`` and return the response when its headers are there. Raises UpstreamFailure.

        A used connection that the upstream had closed in the meantime fails before any byte of an answer: then, and only
        then, the call is repeated once on a new one.
        """
        session = self._private if upstream.allow_private_network else self._public
        if session is None:
            raise RuntimeError("UpstreamClient.open() has not been awaited")
        headers = _headers_of(upstream.credential, accept)
        timeout = _timeout_of(upstream.connect_timeout, upstream.first_byte_timeout, upstream.total_timeout)
        opened = [False]
        _opened.set(opened)
        try:
            url = _checked_url(upstream.base_url, path, upstream.allow_private_network)
            try:
                response = await session.post(
                    url, data=_Body(body), headers=headers, timeout=timeout, allow_redirects=False
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if opened[0] or not _is_stale(error):
                    raise
                log.debug("a kept connection to %s was stale; trying a new one", upstream.name)
                response = await session.post(
                    url, data=_Body(body), headers=headers, timeout=timeout, allow_redirects=False
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise failure_of(error, upstream, answered=False) from None
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            # The connection is still ours, so more is to come: from here on the time limit between reads is the idle one.
            connection.protocol.read_timeout = upstream.idle_timeout
            connection.protocol.start_timeout()
        return response

    async def get(self, upstream: UpstreamInfo, path: str) -> aiohttp.ClientResponse:
        """Ask for ``path`` and return the response when its headers are there. Raises UpstreamFailure."""
        session = self._private if upstream.allow_private_network else self._public
        if session is None:
            raise RuntimeError("UpstreamClient.open() has not been awaited")
        try:
            return await session.get(
                _checked_url(upstream.base_url, path, upstream.allow_private_network),
                headers=_headers_of(upstream.credential, "application/json"),
                timeout=_timeout_of(upstream.connect_timeout, upstream.first_byte_timeout, upstream.total_timeout),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise failure_of(error, upstream, answered=False) from None

    async def read(
        self, response: aiohttp.ClientResponse, upstream: UpstreamInfo, *, at_most: int = MAX_ANSWER
    ) -> bytes:
        """Return the whole body. Raises UpstreamFailure for a cut, a time-out, or a body above the cap."""
        chunks, size = [], 0
        try:
            while True:
                data = await response.content.readany()
                if not data:
                    break
                chunks.append(data)
                size += len(data)
                if size > at_most:
                    response.close()
                    raise UpstreamFailure(FailureKind.INVALID, f"its answer is larger than {at_most} bytes")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            response.close()
            raise failure_of(error, upstream, answered=True) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def finish(self, response: aiohttp.ClientResponse) -> None:
        """Let a response go whose content is complete: keep its connection if the HTTP body ends in time, else drop it."""
        if response.content.at_eof():
            response.release()
            return
        task = asyncio.get_running_loop().create_task(_drain(response))
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    def _session(self, *, allow_private: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=None if allow_private else _PublicResolver(),
            socket_factory=_open_any_socket if allow_private else _open_public_socket,
            limit=0,
            limit_per_host=CONNECTIONS_PER_HOST,
            ttl_dns_cache=DNS_CACHE,
            keepalive_timeout=KEEP_ALIVE,
            ssl=self._ssl,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT):
            while await response.content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()
    except asyncio.CancelledError:
        response.close()
        raise


def failure_of(error: Exception, upstream: UpstreamInfo, *, answered: bool) -> UpstreamFailure:
    """Return the failure that an error of the HTTP client amounts to. ``answered``: the response's headers had come.

    Raise it ``from None``: the client's own exceptions carry the request's headers, and with them the credential.
    """
    detail = f"{type(error).__name__}: {error}"[:500]
    if upstream.credential:
        detail = detail.replace(upstream.credential, "***")
    cause = getattr(error, "os_error", None)
    if isinstance(error, PrivateAddressError | ForbiddenAddressError) or isinstance(cause, PrivateAddressError):
        return UpstreamFailure(FailureKind.PRIVATE_ADDRESS, detail)
    if isinstance(error, TimeoutError):
        return UpstreamFailure(FailureKind.TIMEOUT, detail)
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return UpstreamFailure(FailureKind.INVALID, detail)
    return UpstreamFailure(FailureKind.CUT if answered else FailureKind.CONNECT, detail)


def _is_stale(error: Exception) -> bool:
    """Whether the connection ended before a byte of an answer had come."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # With a part of the headers read, the message is what was read of them.
        return isinstance(error.message, str) and not isinstance(error, aiohttp.ServerTimeoutError)
    return not isinstance(error, aiohttp.ClientConnectorError)


def _open_any_socket(info: tuple[Any, ...]) -> socket.socket:
    _note_open()
    return socket.socket(info[0], info[1], info[2])


def _open_public_socket(info: tuple[Any, ...]) -> socket.socket:
    # The last gate before the network, for host names and literal addresses alike.
    if host_is_private(str(info[4][0])):
        raise PrivateAddressError("the address is private")
    return _open_any_socket(info)


def _note_open() -> None:
    opened = _opened.get(None)
    if opened is not None:
        opened[0] = True


@lru_cache(maxsize=1024)
def _checked_url(base_url: str, path: str, allow_private: bool) -> URL:
    check_base_url(base_url, allow_private=allow_private)
    return URL(base_url.rstrip("/") + path)


@lru_cache(maxsize=1024)
def _headers_of(credential: str, accept: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": accept,
        "Accept-Encoding": "identity",
        "User-Agent": "lumyx",
    }
    if credential:
        headers["Authorization"] = f"Bearer {credential}"
    return headers


@lru_cache(maxsize=1024)
def _timeout_of(connect: float, first_byte: float, total: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=first_byte)
