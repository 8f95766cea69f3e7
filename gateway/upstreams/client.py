"""The one HTTP client that speaks to providers: pools, time limits, size limits, and addresses checked at connect.

It follows no redirect, keeps no cookie, reads no proxy from the environment and asks for no compression. A connection goes
back to the pool only when its answer has come in to the end; one of a cancelled or failed call is dropped, because what
is left on it would be the start of somebody else's answer.
"""

import asyncio
import logging
import socket
import ssl
from io import BytesIO
from typing import Self

from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.types import UpstreamInfo
from gateway.upstreams.addresses import host_is_private
from gateway.upstreams.answer import Answer
from gateway.upstreams.http1 import Connection
from gateway.upstreams.target import Auth, Target, address_and_head

log = logging.getLogger(__name__)

MAX_ANSWER = 64 * 1024 * 1024
MAX_ERROR_BODY = 16 * 1024
#: Seconds that a free connection is kept. Servers commonly close theirs after 60 or more.
KEEP_ALIVE = 30.0
#: Seconds that the addresses of a name are remembered; they are checked whenever they are used.
DNS_CACHE = 30.0
#: Free connections kept for one upstream.
MAX_FREE = 512
#: An answer that is complete but for the end of its HTTP body gets this long to end, so that its connection can be kept.
DRAIN_TIMEOUT = 1.0


class UpstreamClient:
    """The connections of one process to all upstreams. ``open`` and ``close`` belong to the server's lifespan."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl = ssl_context
        self._is_open = False
        self._free: dict[Target, list[Connection]] = {}
        self._all: dict[Connection, Target] = {}
        self._addresses: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def open(self) -> Self:
        """Make ready to call. Call it inside the running loop."""
        if self._ssl is None:
            self._ssl = ssl.create_default_context()
        self._is_open = True
        return self

    async def close(self) -> None:
        """Drop every connection; calls that still run fail."""
        self._is_open = False
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._all):
            connection.fail(UpstreamFailure(FailureKind.CUT, "the gateway is stopping"))
        # Transports close in the loop's next turns.
        for _ in range(3):
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def post(
        self,
        upstream: UpstreamInfo,
        path: str,
        body: bytes,
        *,
        accept: str,
        auth: Auth = Auth.BEARER,
        headers: str = "",
    ) -> Answer:
        """Send ``body`` and return the answer when its status and headers are there. Raises UpstreamFailure.

        ``headers`` are further lines, each with its end, made by us: nothing that a client sent stands in them unchecked.
        """
        target, head = address_and_head(
            "POST", upstream.base_url, path, upstream.credential, accept, upstream.allow_private_network, auth, headers
        )
        return await self._call(upstream, target, head + b"Content-Length: %d\r\n\r\n" % len(body), body)

    async def get(self, upstream: UpstreamInfo, path: str, *, auth: Auth = Auth.BEARER, headers: str = "") -> Answer:
        """Ask for ``path`` and return the answer when its status and headers are there. Raises UpstreamFailure."""
        target, head = address_and_head(
            "GET",
            upstream.base_url,
            path,
            upstream.credential,
            "application/json",
            upstream.allow_private_network,
            auth,
            headers,
        )
        return await self._call(upstream, target, head + b"\r\n", b"")

    async def read(self, answer: Answer, *, at_most: int = MAX_ANSWER) -> bytes:
        """Return the whole body. Raises UpstreamFailure for a cut, a time-out, or a body above the cap."""
        data = await answer.readany()
        if answer.complete and len(data) <= at_most:
            return data
        # Grows in place and is given out without a copy: to join 60 MB would hold everybody up.
        body = BytesIO()
        while data:
            body.write(data)
            if body.tell() > at_most:
                answer.close()
                raise UpstreamFailure(FailureKind.INVALID, f"its answer is larger than {at_most} bytes")
            data = await answer.readany()
        return body.getvalue()

    def finish(self, answer: Answer) -> None:
        """Let an answer go whose content is complete: keep its connection if the HTTP body ends in time, else drop it."""
        answer.finish_within(DRAIN_TIMEOUT)

    async def _call(self, upstream: UpstreamInfo, target: Target, head: bytes, body: bytes) -> Answer:
        """Send a request on a kept connection or a new one.

        A kept connection that the upstream had closed in the meantime fails before any byte of an answer: then, and only
        then, the call is repeated once on a new one.
        """
        if not self._is_open:
            raise RuntimeError("UpstreamClient.open() has not been awaited")
        deadline = asyncio.get_running_loop().time() + upstream.total_timeout
        connection = self._take(target) or await self._connect(target, upstream.connect_timeout)
        try:
            return await self._ask(connection, upstream, head, body, deadline)
        except UpstreamFailure as failure:
            if connection.calls == 0 or connection.answered or failure.kind is not FailureKind.CONNECT:
                raise
        log.debug("a kept connection to %s was stale; trying a new one", upstream.name)
        connection = await self._connect(target, upstream.connect_timeout)
        return await self._ask(connection, upstream, head, body, deadline)

    async def _ask(
        self, connection: Connection, upstream: UpstreamInfo, head: bytes, body: bytes, deadline: float
    ) -> Answer:
        answer = connection.ask(
            head, body, first_byte=upstream.first_byte_timeout, idle=upstream.idle_timeout, deadline=deadline
        )
        try:
            await answer.head()
        except BaseException:
            answer.close()
            raise
        return answer

    # --- the pool -----------------------------------------------------------------------------------------------------

    def _take(self, target: Target) -> Connection | None:
        """Return the connection that became free last, so that the others age and are closed."""
        free = self._free.get(target)
        while free:
            connection = free.pop()
            if connection.usable:
                return connection
        return None

    def _put(self, connection: Connection) -> None:
        free = self._free.setdefault(self._all[connection], [])
        if not self._is_open or len(free) >= MAX_FREE:
            connection.fail(UpstreamFailure(FailureKind.CUT, "not needed"))
            return
        loop = asyncio.get_running_loop()
        connection.free_since = loop.time()
        free.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_ALIVE, self._close_old)

    def _forget(self, connection: Connection) -> None:
        target = self._all.pop(connection, None)
        free = self._free.get(target) if target is not None else None
        if free and connection in free:
            free.remove(connection)

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() - KEEP_ALIVE
        oldest = loop.time()
        for target, free in list(self._free.items()):
            for connection in [one for one in free if one.free_since <= limit]:
                free.remove(connection)
                connection.fail(UpstreamFailure(FailureKind.CUT, "not needed"))
            if free:
                oldest = min(oldest, free[0].free_since)
            else:
                del self._free[target]
        self._sweep = loop.call_at(oldest + KEEP_ALIVE, self._close_old) if self._free else None

    # --- connecting ---------------------------------------------------------------------------------------------------

    async def _connect(self, target: Target, limit: float) -> Connection:
        """Return a new connection. Raises UpstreamFailure within ``limit`` seconds."""
        try:
            async with asyncio.timeout(limit):
                addresses = await self._resolve(target)
                return await self._connect_to_any(target, addresses, limit)
        except TimeoutError:
            raise UpstreamFailure(FailureKind.TIMEOUT, f"no connection within {limit} s") from None
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise UpstreamFailure(FailureKind.CONNECT, f"{type(error).__name__}: {error}") from None

    async def _connect_to_any(self, target: Target, addresses: list[str], limit: float) -> Connection:
        """Try the addresses in turn; one that does not answer may take its share of the time only."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        for position, address in enumerate(addresses):
            share = (until - loop.time()) / (len(addresses) - position)
            try:
                async with asyncio.timeout(share):
                    # The address itself, not the name: nothing is looked up again after the check.
                    _, connection = await loop.create_connection(
                        lambda: Connection(on_free=self._put, on_lost=self._forget),
                        address,
                        target.port,
                        ssl=self._ssl if target.is_tls else None,
                        server_hostname=target.host if target.is_tls else None,
                    )
            except (OSError, TimeoutError):
                if position == len(addresses) - 1:
                    raise
            else:
                self._all[connection] = target
                return connection
        raise OSError("the name has no address")

    async def _resolve(self, target: Target) -> list[str]:
        """Return the addresses of the target's host, all of which it may have. Raises UpstreamFailure and OSError."""
        loop = asyncio.get_running_loop()
        key = (target.host, target.port)
        expires, addresses = self._addresses.get(key, (0.0, []))
        if loop.time() >= expires:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
            self._addresses[key] = (loop.time() + DNS_CACHE, addresses)
        if not target.allow_private and any(host_is_private(address) for address in addresses):
            raise UpstreamFailure(FailureKind.PRIVATE_ADDRESS, "its name leads to a private address")
        return addresses
