"""A million random operations of the ledger against a model of it: no balance differs, no invariant is broken.

Several processes, each on a database of its own, do histories of 30 to 70 steps on four fresh wallets: admissions (fixed,
flexible, free, too dear, repeated, by keys that may not, under budgets that come and go) and settlements in batches, with usage
events and without, releases, expiries, sweeps, grants, clawbacks, duplicates of each, what the books must refuse, holds that a
crash lost, transactions that die at a random statement, and connections that the server ends. See proofs.ledger_steps.
"""

import json
import os
import subprocess
import sys
from collections import Counter

from proofs.ledger_case import operations_in
from proofs.ledger_site import Cluster, ledger_site
from proofs.report import Report
from rig.processes import ROOT

OPERATIONS, SHORT_OPERATIONS = 1_000_000, 4_000
#: What every run must hold, and what a long one must hold so many times; fewer would prove nothing of it.
KINDS = (
    "admit",
    "refused",
    "settle",
    "release",
    "expire",
    "extend",
    "grant",
    "clawback",
    "crash",
    "plain_batches",
    "budget",
)
RARE = (
    *("key_revoked", "key_expired", "workspace_suspended", "quota_exceeded", "wallet_frozen", "insufficient_credits"),
    *("admitted_twice", "settled_twice", "granted_twice", "clawed_twice", "conflict", "placed_again", "cut", "ended"),
    *("key_budget_exceeded", "member_budget_exceeded", "key_orphaned", "key_disabled"),
    *("done_again", "sweep", "written_off", "brief", "repaid", "odd_batches"),
)
OFTEN = 100


def ledger(report: Report, short: bool) -> None:
    """Run the proof on a server of its own."""
    operations = SHORT_OPERATIONS if short else OPERATIONS
    workers = 1 if short else max(2, os.cpu_count() or 2)
    with ledger_site() as cluster:
        each = str(-(-operations // workers))
        processes = [_start(cluster, number, seed=report.seed, operations=each) for number in range(workers)]
        outputs = [process.communicate()[0] for process in processes]
    counts: Counter[str] = Counter()
    histories = 0
    for number, (process, output) in enumerate(zip(processes, outputs, strict=True)):
        if process.returncode or not output.strip():
            report.require(False, f"process {number} ended with {process.returncode}")
            continue
        result = json.loads(output.strip().splitlines()[-1])
        counts += Counter(result["counts"])
        histories += result["histories"]
        report.require(result["fault"] is None, f"process {number}: {result['fault']}")
    done = operations_in(counts)
    report.require(done >= operations, f"only {done} operations were done")
    least = dict.fromkeys(KINDS, 1) | ({} if short else dict.fromkeys(RARE, OFTEN))
    for kind, times in least.items():
        report.require(counts[kind] >= times, f"only {counts[kind]} times: {kind}")
    report.note(operations=done, histories=histories, **dict(sorted(counts.items())))


def _start(cluster: Cluster, number: int, *, seed: int, operations: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proofs.ledger_worker", "--operations", operations]
    return subprocess.Popen(
        [*command, "--seed", str(seed * 1000 + number)],
        cwd=ROOT,
        env=cluster.copy(f"proof{number}"),
        stdout=subprocess.PIPE,
        text=True,
    )
