"""Stage 6: the log line of a request. May never fail a request. No content, no key, no upstream secret is in it."""

import logging

from gateway.pipeline.exchange import Exchange
from lumyx.lib import clock

log = logging.getLogger("gateway.requests")


def record(exchange: Exchange) -> None:
    """Log one finished exchange: failures as warnings, the rest for those who turn on DEBUG."""
    level = logging.DEBUG if exchange.error is None else logging.WARNING
    if not log.isEnabledFor(level):
        return
    error = exchange.error
    log.log(
        level,
        "request=%s workspace=%d key=%d model=%s stream=%s status=%s charge=%d attempts=%d ms=%d",
        exchange.request_id,
        exchange.principal.workspace_id,
        exchange.principal.api_key_id,
        exchange.model.public_id if exchange.model else "",
        exchange.request.stream,
        f"{error.status}/{error.code}" if error else "200",
        exchange.charge,
        exchange.attempts,
        int((clock.monotonic() - exchange.started) * 1000),
    )
