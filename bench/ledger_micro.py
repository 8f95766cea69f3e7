"""Measures admit + settle alone, without HTTP: `python -m bench.ledger_micro` on a migrated scratch database.

Prints, by batch size, requests a second and milliseconds a call, with and without the commit. One process, one wallet (the
worst case: every request of the batch meets the same rows) or many.
"""

import argparse
import os
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import django
from django.db import connection, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumyx.settings.test")
django.setup()

from accounts.services.apikeys import create_api_key  # noqa: E402  models need Django set up
from accounts.services.users import create_user  # noqa: E402
from accounts.services.workspaces import create_workspace  # noqa: E402
from billing.services import ledger  # noqa: E402
from billing.types import Admission, QuotaClaim, Settlement  # noqa: E402
from lumyx.lib.ids import uuid7  # noqa: E402

HOLD, RATED = 2_000_000, 1_234_567


def make_accounts(count: int) -> list[tuple[int, int]]:
    """Make workspaces with a key and much credit; return (workspace id, key id)."""
    accounts = []
    for _ in range(count):
        name = f"bench-{uuid.uuid4().hex[:10]}"
        owner = create_user(f"{name}@example.com", password=uuid.uuid4().hex, verified=True)
        workspace = create_workspace(name, owner=owner)
        ledger.grant(workspace_id=workspace.pk, kind="paid", amount=10**17, source=f"bench:{name}")
        accounts.append((workspace.pk, create_api_key(workspace=workspace, name="bench").row.pk))
    return accounts


def admissions(accounts: list[tuple[int, int]], size: int, *, free: bool) -> list[Admission]:
    """Return a batch over the accounts in turn."""
    batch = []
    for number in range(size):
        workspace_id, key_id = accounts[number % len(accounts)]
        quota = QuotaClaim(f"w:{workspace_id}", 0) if free else None
        amount = 0 if free else HOLD
        batch.append(Admission(uuid7(), workspace_id, key_id, "bench", amount, amount, 600.0, quota))
    return batch


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(accounts: list[tuple[int, int]], *, size: int, seconds: float, free: bool) -> str:
    """Return a line of the table."""
    inner, outer, requests, rounds = [0.0, 0.0], [0.0, 0.0], 0, 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        batch = admissions(accounts, size, free=free)
        endings = [Settlement(admission.request_id, 0 if free else RATED) for admission in batch]
        for index, call in enumerate((lambda: ledger.admit(batch), lambda: ledger.settle(endings))):  # noqa: B023

            def whole(index: int = index, call: Callable[[], Any] = call) -> None:
                with transaction.atomic():
                    inner[index] += timed(call)

            outer[index] += timed(whole)
        requests += size
        rounds += 1
    each = [1000 * total / rounds for total in (inner[0], outer[0], inner[1], outer[1])]
    rate = requests / sum(outer)
    return (
        f"{size:>6} {rate:>12,.0f} {each[0]:>10.3f} {each[1]:>10.3f} {each[2]:>10.3f} {each[3]:>10.3f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each line")
    parser.add_argument("--wallets", type=int, default=1)
    parser.add_argument("--free", action="store_true", help="requests to free models: quota instead of money")
    options = parser.parse_args()
    accounts = make_accounts(options.wallets)
    write = sys.stdout.write
    write(f"{options.wallets} wallet(s), {'free' if options.free else 'paid'}; milliseconds a call\n")
    write(f"{'batch':>6} {'requests/s':>12} {'admit':>10} {'+commit':>10} {'settle':>10} {'+commit':>10}\n")
    for size in (1, 10, 100, 500):
        measure(accounts, size=size, seconds=0.3, free=options.free)
        write(measure(accounts, size=size, seconds=options.seconds, free=options.free) + "\n")
        sys.stdout.flush()
    connection.close()


if __name__ == "__main__":
    main()
