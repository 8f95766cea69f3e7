"""Measures admit + settle alone, without HTTP: `python -m bench.ledger_micro` on a migrated scratch database.

Prints, by batch size, requests a second and median milliseconds a call without and with the commit, and the CPU that a request
costs here and in PostgreSQL (which other work on the machine does not change). One process, and one wallet (the worst case:
every request of a batch meets the same rows) or many.
"""

import argparse
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

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


def backend_cpu() -> float:
    """Return the CPU seconds of this connection's server process, if it runs on this machine and shows them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        row = cursor.fetchone()
    stat = Path(f"/proc/{row[0]}/stat") if row else Path()
    if not stat.is_file():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(accounts: list[tuple[int, int]], *, size: int, seconds: float, free: bool) -> str:
    """Return a line of the table."""
    times: list[list[float]] = [[], [], [], []]
    cpu, server_cpu, start = time.process_time(), backend_cpu(), time.perf_counter()
    while time.perf_counter() < start + seconds:
        batch = admissions(accounts, size, free=free)
        endings = [Settlement(admission.request_id, 0 if free else RATED) for admission in batch]
        calls: tuple[Callable[[], object], ...] = (partial(ledger.admit, batch), partial(ledger.settle, endings))
        for index, call in enumerate(calls):
            begun = time.perf_counter()
            with transaction.atomic():
                call()
                times[2 * index].append(time.perf_counter() - begun)
            times[2 * index + 1].append(time.perf_counter() - begun)
    requests = size * len(times[0])
    python, server = (
        1e6 * (now - then) / requests for now, then in ((time.process_time(), cpu), (backend_cpu(), server_cpu))
    )
    medians = [1000 * statistics.median(column) for column in times]
    rate = size / (medians[1] + medians[3]) * 1000
    return f"{size:>6} {rate:>10,.0f} " + " ".join(f"{ms:>9.3f}" for ms in medians) + f" {python:>9.0f} {server:>9.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each line")
    parser.add_argument("--wallets", type=int, default=1)
    parser.add_argument("--free", action="store_true", help="requests to free models: quota instead of money")
    options = parser.parse_args()
    accounts = make_accounts(options.wallets)
    write = sys.stdout.write
    write(f"{options.wallets} wallet(s), {'free' if options.free else 'paid'}; median ms a call, CPU µs a request\n")
    heads = ("requests/s", "admit", "+commit", "settle", "+commit", "Python", "server")
    write(f"{'batch':>6} " + " ".join(f"{head:>9}" for head in heads) + "\n")
    for size in (1, 10, 100, 500):
        measure(accounts, size=size, seconds=0.3, free=options.free)
        write(measure(accounts, size=size, seconds=options.seconds, free=options.free) + "\n")
        sys.stdout.flush()
    connection.close()


if __name__ == "__main__":
    main()
