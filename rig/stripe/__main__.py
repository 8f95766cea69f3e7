"""FakeStripe as a program: `python -m rig.stripe --port P --webhook URL --secret whsec_…`."""

import argparse
import os
import queue
import sys
import threading
import time
from pathlib import Path

from lumyx.lib import clock
from rig.stripe.delivery import pack, post
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record

TICK_S = 5
WAITS_S = (0, 1, 5, 30, 120, 600)


def deliver(events: "queue.Queue[Record]", *, url: str, secret: str) -> None:
    """Post events in their order; one that is not taken is tried again after growing waits, then left."""
    while True:
        event = events.get()
        for wait in WAITS_S:
            time.sleep(wait)
            status = post(url, pack(event, secrets=[secret], at=int(clock.now().timestamp())))
            if 200 <= status < 300:
                break
            sys.stderr.write(f"{event['id']} {event['type']}: {url} answered {status or 'nothing'}\n")


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="rig.stripe", description=__doc__)
    parser.add_argument("--port", type=int, default=12111, help="port on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--key", default="sk_test_fake", help="the API key it takes (default: %(default)s)")
    parser.add_argument("--webhook", help="URL that events are posted to")
    secret = os.environ.get("STRIPE_WEBHOOK_SECRET")
    text = "webhook signing secret, whsec_… (default: STRIPE_WEBHOOK_SECRET)"
    parser.add_argument("--secret", default=secret, help=text)
    parser.add_argument("--state", type=Path, help="file that keeps everything between runs")
    parser.add_argument("--tax", type=int, default=0, help="percent added when automatic tax is on (default: 0)")
    options = parser.parse_args()
    if options.webhook and not options.secret:
        parser.error("--webhook needs --secret.")
    fake = FakeStripe(port=options.port, key=options.key, tax_percent=options.tax, file=options.state)
    if options.webhook:
        events: queue.Queue[Record] = queue.Queue()
        fake.state.listeners.append(events.put)
        settings = {"url": options.webhook, "secret": options.secret}
        threading.Thread(target=deliver, args=(events,), kwargs=settings, daemon=True).start()
    with fake:
        sys.stdout.write(f"FakeStripe on {fake.url}\n")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(TICK_S)
                fake.tick()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
