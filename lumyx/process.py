"""A web process: guard → the gateway's own application for the data plane, Django for everything else; lifespan and health.

The lifespan only opens and closes what the gateway works with; draining is begun by lumyx.serve on SIGTERM, because uvicorn
closes its listener before anything else and readiness could never say 503.
"""

import asyncio
import gc
from typing import cast

from django.conf import settings
from django.core.asgi import get_asgi_application

from dashboard.api.paths import is_management
from gateway.app import GatewayApp
from gateway.http import Receive, Scope, Send, send_json
from gateway.limits.minute import MinuteLimiter
from gateway.pipeline import Gateway, Limits
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.leases import keep_holds
from gateway.pipeline.settle import Settler
from gateway.store import Store
from gateway.upstreams import UpstreamClient
from lumyx.guard import App, Guard
from lumyx.lib.ids import uuid7


class Process:
    """This web process: its gateway, and whether it is draining."""

    def __init__(self) -> None:
        self.gateway_app = GatewayApp()
        self.draining = False

    async def open(self) -> None:
        """Open the pools. Does not wait for PostgreSQL or Redis; /readyz says when they are there."""
        store, client = Store(), UpstreamClient()
        await store.open()
        await client.open()
        self.gateway_app.gateway = Gateway(
            store=store,
            minute=MinuteLimiter(settings.REDIS_URL),
            dispatcher=Dispatcher(
                client=client,
                settler=Settler(store=store, wait=settings.LUMYX_SETTLEMENT_WAIT),
                keepalive=settings.LUMYX_FIRST_BYTE_KEEPALIVE,
            ),
            limits=Limits(
                body_limit=settings.LUMYX_API_BODY_LIMIT,
                body_deadline=settings.LUMYX_BODY_DEADLINE,
                lease=settings.LUMYX_HOLD_LEASE,
                sandbox_is_open=settings.LUMYX_SANDBOX == "open",
                trusted_proxies=settings.ALLAUTH_TRUSTED_PROXY_COUNT,
                site_url=settings.LUMYX_SITE_URL,
            ),
        )
        self.client = client
        self._keeping = asyncio.create_task(
            keep_holds(self.gateway_app.gateway.running, store=store, lease=settings.LUMYX_HOLD_LEASE)
        )
        # What the start has made stays for good: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()

    async def close(self) -> None:
        """Let admitted requests finish and be settled, then close the pools."""
        gateway = self.gateway_app.gateway
        if gateway is None:
            return
        if gateway.running:
            await asyncio.wait(gateway.running, timeout=settings.LUMYX_SETTLEMENT_WAIT)
        self._keeping.cancel()
        await self.client.close()
        await gateway.minute.close()
        await gateway.store.close()

    async def is_ready(self) -> bool:
        """Tell whether this process should get new requests."""
        gateway = self.gateway_app.gateway
        return not self.draining and gateway is not None and await gateway.store.ping()


# asgiref types scopes and messages more narrowly than servers fill them.
django_app = cast(App, get_asgi_application())
process = Process()


def start_draining() -> None:
    """Say 503 on /readyz from now on; requests are still served."""
    process.draining = True


def is_api(path: str) -> bool:
    """Tell whether a path belongs to the data plane."""
    return path == "/api" or (path.startswith("/api/") and not is_management(path))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await process.open()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await process.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _dispatch(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] != "http":
        return  # websockets: nothing speaks them
    elif is_api(scope["path"]):
        await process.gateway_app(scope, receive, send)
    elif scope["path"] == "/healthz":
        await send_json(send, b'{"status":"alive"}', request_id=uuid7().hex)
    elif scope["path"] == "/readyz":
        ready = await process.is_ready()
        body = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
        await send_json(send, body, request_id=uuid7().hex, status=200 if ready else 503)
    else:
        await django_app(scope, receive, send)


application = Guard(
    _dispatch,
    is_api=is_api,
    site_limit=settings.LUMYX_SITE_BODY_LIMIT,
    api_limit=settings.LUMYX_API_BODY_LIMIT,
    deadline=settings.LUMYX_BODY_DEADLINE,
)
