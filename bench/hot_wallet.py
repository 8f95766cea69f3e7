"""One wallet that everybody wants: admissions and settlements below HTTP, through the store that the gateway uses.

``python -m bench.hot_wallet`` runs in the environment of an installation, with a key's secret in ``BENCH_KEY``; it keeps a number
of requests in flight and prints one JSON object: ``{"requests", "seconds", "cpu_seconds", "all_requests"}``. A request is one
admission and its settlement with its usage event, both committed. ``all_requests`` counts those outside of the measured time too.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass

import django
import uvloop

django.setup()

from billing.types import Admission, Settlement  # noqa: E402  Django must be set up first
from gateway.store import Store, UsageRecord  # noqa: E402
from gateway.types import Principal  # noqa: E402
from lumyx.lib import clock  # noqa: E402
from lumyx.lib.ids import uuid7  # noqa: E402

#: Nano-USD: held at the admission and charged at the end.
HOLD, RATED = 2_000_000, 350_000
HOLD_SECONDS = 900.0


class DriverError(Exception):
    """The store did not become ready, or refused a request."""


@dataclass(slots=True)
class Count:
    """What was done in the measured time."""

    requests: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    all_requests: int = 0


def usage_record(admission: Admission) -> UsageRecord:
    """Return the usage event of a request that was answered."""
    return UsageRecord(
        id=admission.request_id,
        workspace_id=admission.workspace_id,
        api_key_id=admission.api_key_id,
        model=admission.model,
        input_tokens=250,
        output_tokens=150,
        usage_source="upstream",
        status="ok",
        http_status=200,
        started_at=clock.now(),
        duration_ms=1,
    )


async def wait_for_principal(store: Store, secret: str) -> Principal:
    """Return the key's holder once the store is ready. Raises DriverError."""
    for _ in range(100):
        if await store.ping():
            principal = await store.principal(secret)
            if principal is None:
                raise DriverError("nobody has this key")
            return principal
        await asyncio.sleep(0.1)
    raise DriverError("the store is not ready")


async def serve_one(store: Store, principal: Principal, *, model: str) -> None:
    """Admit and settle one request. Raises DriverError when it is refused."""
    admission = Admission(
        uuid7(), principal.workspace_id, principal.api_key_id, model, amount=HOLD, floor=HOLD, ttl=HOLD_SECONDS
    )
    admitted = await store.admit(admission)
    if admitted.refusal is not None:
        raise DriverError(f"a request was refused: {admitted.refusal}")
    settled = await store.settle(Settlement(admission.request_id, RATED), usage_record(admission))
    if not settled.applied or settled.charge != RATED:
        raise DriverError(f"a settlement was not applied as it was asked: {settled}")


async def drive(secret: str, *, model: str, in_flight: int, seconds: float, warm_up: float) -> Count:
    """Keep ``in_flight`` requests on their way and count what ends in the measured time, after a warm-up. Raises DriverError."""
    store, count = Store(), Count()
    await store.open()
    try:
        principal = await wait_for_principal(store, secret)
        begin = time.perf_counter() + warm_up
        end = begin + seconds

        async def keep_asking() -> None:
            while time.perf_counter() < end:
                await serve_one(store, principal, model=model)
                count.all_requests += 1

        async def measure() -> None:
            await asyncio.sleep(begin - time.perf_counter())
            requests, cpu, at = count.all_requests, time.process_time(), time.perf_counter()
            await asyncio.sleep(end - time.perf_counter())
            count.requests = count.all_requests - requests
            count.seconds, count.cpu_seconds = time.perf_counter() - at, time.process_time() - cpu

        async with asyncio.TaskGroup() as group:
            group.create_task(measure())
            for _ in range(in_flight):
                group.create_task(keep_asking())
    except ExceptionGroup as faults:
        raise DriverError(str(faults.exceptions[0])) from faults
    finally:
        await store.close()
    return count


def main() -> None:
    """Drive the store and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--cores", type=int, nargs="+", help="where to run")
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, options.cores)
    work = drive(
        os.environ["BENCH_KEY"],
        model=options.model,
        in_flight=options.in_flight,
        seconds=options.seconds,
        warm_up=options.warm_up,
    )
    sys.stdout.write(json.dumps(asdict(uvloop.run(work))) + "\n")


if __name__ == "__main__":
    main()
