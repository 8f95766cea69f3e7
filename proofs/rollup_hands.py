"""Writers of usage and workers that roll it up, as forks of one process that kills the workers. Run by proofs.rollups.

When the writers have ended, everything is rolled up once more; then what was done and the dashboard's totals are printed as JSON.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence

import django

django.setup()

from django.db import connection, transaction  # noqa: E402  models need Django set up

from billing.services import ledger  # noqa: E402
from billing.types import Admission, Settlement  # noqa: E402
from gateway.selectors.usage import totals_of  # noqa: E402
from gateway.services.settlement import settle_exchanges  # noqa: E402
from gateway.services.sweeping import sweep_expired_holds  # noqa: E402
from gateway.services.usage import UsageRecord  # noqa: E402
from gateway.tasks import aggregate_usage  # noqa: E402
from lumyx.lib import clock  # noqa: E402
from lumyx.lib.ids import uuid7  # noqa: E402
from proofs.ledger_hands import make_accounts  # noqa: E402
from proofs.ledger_model import Account  # noqa: E402

WORKERS = 2
HOLD, CREDIT = 1_000, 10**12
SIZES = (1, 1, 3, 30, 100, 200)
#: Shares of transactions that stay open for long, and of batches whose holds get old before they are settled; seconds.
LONG, OLD = 0.12, 0.2
OPEN, LONG_OPEN = (0.0, 0.02), (0.2, 1.5)
BLOWS = (0.1, 0.4)
#: How an exchange ends: status, HTTP status, whether it is charged.
ENDS = (("ok", 200, True), ("client_closed", 499, True), ("cut", 200, True), ("upstream_error", 502, False))
_BEHIND = """
SELECT EXISTS (SELECT FROM gateway_usageevent WHERE greatest(committed_xid, amended_xid) >=
               (SELECT coalesce(max(xid), 0) FROM gateway_usagewatermark)::text::xid8)
"""


def write(account: Account, *, events: int, chance: random.Random) -> None:
    """Admit and settle so many requests of one workspace, in transactions of all sizes that end in no order."""
    left = events
    while left > 0:
        size = min(left, chance.choice(SIZES))
        left -= size
        gets_old = chance.random() < OLD
        batch = [_request(account, ttl=0.01 if gets_old else 600.0, chance=chance) for _ in range(size)]
        ledger.admit(batch)
        if gets_old:
            time.sleep(0.03)
            sweep_expired_holds()
            time.sleep(chance.uniform(0, 0.3))  # a roll-up comes between, or not
        with transaction.atomic():
            settle_exchanges([_ending(request, chance) for request in batch])
            time.sleep(chance.uniform(*(LONG_OPEN if chance.random() < LONG else OPEN)))


def _request(account: Account, *, ttl: float, chance: random.Random) -> Admission:
    model = chance.choice(("proof/small", "proof/large"))
    return Admission(
        request_id=uuid7(),
        workspace_id=account.workspace_id,
        api_key_id=account.api_key_id,
        model=model,
        amount=HOLD,
        floor=HOLD,
        ttl=ttl,
    )


def _ending(request: Admission, chance: random.Random) -> tuple[Settlement, UsageRecord]:
    status, http_status, is_charged = chance.choice(ENDS)
    record = UsageRecord(
        id=request.request_id,
        workspace_id=request.workspace_id,
        api_key_id=request.api_key_id,
        model=request.model,
        input_tokens=chance.randrange(5_000),
        cache_read_tokens=chance.randrange(500),
        cache_write_tokens=chance.randrange(50),
        output_tokens=chance.randrange(2_000),
        upstream_id=chance.choice((None, 1, 2)),
        cost=chance.choice((None, 0, chance.randrange(HOLD))),
        usage_source="upstream",
        status=status,
        http_status=http_status,
        started_at=clock.now() - dt.timedelta(seconds=chance.uniform(0, 3 * 86_400)),
        duration_ms=1,
    )
    return Settlement(request.request_id, chance.randint(1, HOLD) if is_charged else None), record


def roll_up_for_ever() -> None:
    """Do what the worker does every minute, without a pause."""
    while True:
        aggregate_usage()


def start(work: Callable[[], None]) -> int:
    """Fork a process that works, and return its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(accounts: Sequence[Account], *, events: int, seed: int) -> dict[str, int]:
    """Let the writers write while workers are killed and replaced; returns how many were, and how many processes failed."""
    share, chance = events // len(accounts) + 1, random.Random(seed)
    writers = {
        start(lambda one=one, number=number: write(one, events=share, chance=random.Random(seed * 1000 + number)))  # type: ignore[misc]
        for number, one in enumerate(accounts)
    }
    workers = {start(roll_up_for_ever) for _ in range(WORKERS)}
    killed = failed = 0
    while writers:
        time.sleep(chance.uniform(*BLOWS))
        victim = chance.choice(sorted(workers))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        status = os.waitpid(victim, 0)[1]
        is_killed = os.WIFSIGNALED(status)
        killed, failed = killed + is_killed, failed + (not is_killed)
        workers ^= {victim, start(roll_up_for_ever)}
        for pid in sorted(writers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                writers.discard(pid)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"killed": killed, "failed": failed}


def roll_up_the_rest(*, seconds: float) -> bool:
    """Roll up until nothing is left; False: it did not come to an end in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        aggregate_usage()
        with connection.cursor() as cursor:
            cursor.execute(_BEHIND)
            if cursor.fetchone() == (False,):
                return True
        time.sleep(0.05)
    return False


def main() -> int:
    """Make the accounts, run, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--writers", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    options = parser.parse_args()
    accounts = make_accounts(options.writers, with_budgets=False)
    for one in accounts:
        ledger.grant(workspace_id=one.workspace_id, kind="paid", amount=CREDIT, source=f"proof:{one.workspace_id}")
    connection.close()
    done = run(accounts, events=options.events, seed=options.seed)
    caught_up = roll_up_the_rest(seconds=60)
    totals = {
        one.workspace_id: (totals_of(one.workspace_id).requests, totals_of(one.workspace_id).charge) for one in accounts
    }
    sys.stdout.write(json.dumps({**done, "caught_up": caught_up, "totals": totals}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
