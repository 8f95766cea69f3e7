"""Stage 5: the bill. Real usage times the model's rates, never above the hold; committed before the client sees the end.

Nothing came out: the hold is released, the daily quota given back, nothing charged. The settlement waits for PostgreSQL at
most ``wait`` seconds; then the client gets an error instead of an end, and the bill is written when PostgreSQL is back.
"""

import asyncio
import logging

from billing.rating import TokenUsage, charge_for
from billing.types import Settled, Settlement
from gateway.errors import unavailable
from gateway.pipeline.exchange import Exchange
from gateway.store import Store, StoreUnavailableError, UsageRecord
from gateway.types import RouteInfo
from lumyx.lib import clock

log = logging.getLogger(__name__)

NOTHING = TokenUsage()
#: Marks the usage of a test key (gateway.protocols.receipt.FLAGS).
TEST_KEY = "test_key"


class Settler:
    """Closes admitted exchanges in the books."""

    def __init__(self, *, store: Store, wait: float) -> None:
        self._store = store
        self._wait = wait

    async def settle(self, exchange: Exchange) -> None:
        """Write the end of an exchange; sets ``charge``, or ``error`` when the commit did not come in time."""
        rated = self._rate(exchange)
        future = self._store.settle(Settlement(exchange.id, rated, exchange.admission), usage_record(exchange))
        # The future itself is ended when it takes too long, the settlement is not: it stays queued until it is written.
        timer = asyncio.get_running_loop().call_later(self._wait, _give_up, future)
        try:
            settled = await future
        except TimeoutError:
            log.error("settlement of %s waits for the database; the client was told to try again", exchange.request_id)
            exchange.error = unavailable("The answer could not be recorded in time. Try again in a few seconds.")
        except StoreUnavailableError as error:
            log.error("settlement of %s was not taken: %s; the sweeper will close its hold", exchange.request_id, error)
            exchange.error = unavailable("The answer could not be recorded. Try again in a few seconds.")
        else:
            exchange.charge = settled.charge
            if settled.absorbed:
                log.error(
                    "absorbed %d nano-USD: %s used more than its hold (%s)",
                    settled.absorbed,
                    exchange.request_id,
                    exchange.served_model().public_id,
                )
        finally:
            timer.cancel()

    def _rate(self, exchange: Exchange) -> int | None:
        if not exchange.produced or exchange.usage is None:
            return None
        return charge_for(exchange.usage, exchange.served_model().rates)


def _give_up(future: "asyncio.Future[Settled]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _status(exchange: Exchange) -> str:
    if exchange.error is not None:
        return "cut" if exchange.produced else "upstream_error"
    if not exchange.produced:
        return "released"
    return "client_closed" if exchange.client_gone else "ok"


def _cost(route: RouteInfo | None, usage: TokenUsage) -> int | None:
    """Return what the tokens cost us (nano-USD); None where that is not known. No tokens cost nothing on any route."""
    if usage is NOTHING:
        return 0
    # Arithmetic on what is in memory already: the catalog's snapshot brought the rates along with the route.
    return None if route is None or route.cost is None else charge_for(usage, route.cost)


def usage_record(exchange: Exchange) -> UsageRecord:
    """Return the usage event of an exchange; charge and absorbed are the ledger's to fill in."""
    model, usage = exchange.served_model(), (exchange.usage if exchange.produced else None) or NOTHING
    source = "none" if usage is NOTHING else "estimated" if exchange.usage_is_estimate else "upstream"
    error, route = exchange.error, exchange.route
    first, is_test = exchange.first_token, exchange.principal.is_test
    return UsageRecord(
        id=exchange.id,
        workspace_id=exchange.principal.workspace_id,
        api_key_id=exchange.principal.api_key_id,
        model=model.public_id,
        upstream_id=route.upstream.id if route is not None else None,
        price_id=model.price_id,
        route_cost_id=route.cost_id if route is not None else None,
        input_tokens=usage.input,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        cost=_cost(route, usage),
        usage_source=source,
        flags=",".join(filter(None, (exchange.flags, TEST_KEY))) if is_test else exchange.flags,
        status=_status(exchange),
        http_status=200 if error is None or exchange.head_sent else error.status,
        error_code=error.code if error is not None else "",
        is_stream=exchange.request.stream,
        # Nothing costs a test key anything, whatever the model.
        is_free=model.is_free or is_test,
        started_at=exchange.started_at,
        first_token_ms=int((first - exchange.started) * 1000) if first is not None and exchange.produced else None,
        duration_ms=int((clock.monotonic() - exchange.started) * 1000),
    )
