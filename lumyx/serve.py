"""One web process: uvicorn on a socket, and an end that loses no request.

SIGTERM sets draining: ``/readyz`` says 503 while requests are still served, so that a load balancer can look away; after
``DRAIN_SECONDS`` the socket is closed, and what is under way has ``GRACE_SECONDS`` to end. A second signal skips the waiting.
uvicorn's own handler would close the socket first, and readiness could never say 503.

    python -m lumyx.serve --bind 0.0.0.0:8000    several processes may bind one port; the kernel shares out connections
    python -m lumyx.serve --fd 3                 a listening socket that the parent opened
"""

import argparse
import importlib
import logging
import os
import socket
import sys
from types import FrameType

import django
import uvicorn
from django.conf import settings

from lumyx.connection import PatientProtocol, limit_unread
from lumyx.env import EnvironmentVariableError

logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """A server whose first signal starts the drain instead of the end."""

    def __init__(self, config: uvicorn.Config, *, module: str, drain_seconds: float) -> None:
        super().__init__(config)
        self.module = module
        self.drain_seconds = drain_seconds
        self._is_draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Set draining at the first signal; end at the second."""
        if self._is_draining or not self.started:
            self.should_exit = True
            return
        self._is_draining = True
        importlib.import_module(self.module).start_draining()
        if self.drain_seconds <= 0:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Count down the drain: uvicorn calls this ten times a second."""
        if self._is_draining:
            self.drain_seconds -= 0.1
            self.should_exit = self.should_exit or self.drain_seconds <= 0
        return await super().on_tick(counter)


def open_socket(bind: str) -> socket.socket:
    """Return a socket bound to ``host:port`` ([::1]:8000 for IPv6). Raises OSError, or ValueError for what is no such address."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104  ":8000" means every address, as people write it
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, int(port)))
    listener.set_inheritable(True)
    return listener


def make_server(module: str) -> DrainingServer:
    """Return the server for the ASGI application in ``module``, which also has ``start_draining``."""
    PatientProtocol.head_deadline = settings.LUMYX_HEAD_DEADLINE
    config = uvicorn.Config(
        f"{module}:application",
        loop="uvloop",
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,  # Django's logging is set up already
        access_log=False,
        # X-Forwarded-* headers are read in one place, by TRUSTED_PROXY_COUNT.
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.LUMYX_GRACE_SECONDS,
    )
    return DrainingServer(config, module=module, drain_seconds=settings.LUMYX_DRAIN_SECONDS)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m lumyx.serve", description="Serve the site and the API.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--bind", metavar="HOST:PORT", help="listen here")
    where.add_argument("--fd", type=int, help="file descriptor of a listening socket")
    parser.add_argument(
        "--app", default="lumyx.asgi", metavar="MODULE", help="module with application and start_draining"
    )
    chosen = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumyx.settings.prod")
    try:
        listener = socket.socket(fileno=chosen.fd) if chosen.bind is None else open_socket(chosen.bind)
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(f"It is not possible to listen on {chosen.bind or f'file descriptor {chosen.fd}'}: {error}")
    try:
        django.setup()
    except EnvironmentVariableError as error:
        sys.exit(str(error))
    limit_unread(listener, settings.LUMYX_READ_DEADLINE)
    server = make_server(chosen.app)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)  # uvicorn has logged why


if __name__ == "__main__":
    main()
