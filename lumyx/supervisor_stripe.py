"""``STRIPE=fake make run``: a stand-in for Stripe (``rig/stripe``) beside the installation, with test cards and no money."""

import contextlib
import http.client
import secrets
import socket
import sys
import time
from pathlib import Path

#: Where it is when nobody else is there: addresses that were stored stay good from run to run.
USUAL_PORT = 12_111
START_TIMEOUT = 20.0
KEY = "sk_test_fake"


class StandIn:
    """Where the stand-in of one run listens, what starts it, and what leads the installation to it."""

    def __init__(self, file: Path, *, port: int = USUAL_PORT) -> None:
        self.file, self.port = file, _free_port(port)
        self.secret = f"whsec_{secrets.token_urlsafe(24)}"

    @property
    def url(self) -> str:
        """Where its API and its pages are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables for web and worker processes, and for the stand-in, which signs with the same secret."""
        return {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": self.url, "STRIPE_WEBHOOK_SECRET": self.secret}

    def command(self, site: str) -> list[str]:
        """Return what starts it; ``site`` is the installation that its events go to."""
        options = {"--port": str(self.port), "--key": KEY, "--webhook": f"{site}/webhooks/stripe"}
        words = [word for pair in options.items() for word in pair]
        return [sys.executable, "-m", "rig.stripe", *words, "--state", str(self.file)]

    def is_ready(self) -> bool:
        """Wait until it answers, and return whether it did in time."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3)
                try:
                    line.request("GET", "/v1/events", headers={"Authorization": f"Bearer {KEY}"})
                    if line.getresponse().status == 200:
                        return True
                finally:
                    line.close()
            time.sleep(0.05)
        return False


def _free_port(wanted: int) -> int:
    """Return the wanted port, or another one when somebody has it."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    return wanted
