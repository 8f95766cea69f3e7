"""Twelve processes on one to six wallets for a minute, some killed, some cut off, and a checker that never sees the books wrong.

Every other wallet is calm: nothing is clawed back there and no hold gets old, so what is left of it after holds may never be
below zero, at any look. To the rough ones everything happens, and debt is possible. The invariants hold for all, at every look.
At the end every transaction is judged for itself (proofs.ledger_recorder), and what the processes were told is held against the
books (proofs.ledger_diary). What they do is in proofs.ledger_racer.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from lumyx.devservices import database_url
from proofs import ledger_recorder
from proofs.ledger_diary import Diaries
from proofs.ledger_site import Cluster, ledger_site
from proofs.report import Report
from rig import accounting
from rig.processes import ROOT

HANDS, WALLETS = 12, 6
SECONDS, SHORT_SECONDS = 60.0, 5.0
#: Seconds that the hands may take to begin and to end, and between two blows.
START_UP, WIND_UP, BLOWS = 90.0, 60.0, (0.05, 0.3)
#: Between two looks, at least.
REST = 0.02
#: What must have happened so many times a second; fewer would prove nothing.
LEAST = {
    "deeds": 20,
    "looks": 0.5,
    "killed": 0.4,
    "cut": 0.2,
    "admit": 20,
    "refuse": 1,
    "settle": 10,
    "settle_twice": 1,
    "grant_twice": 0.1,
    "clawback": 0.1,
}
#: And what must have happened in a long race, by the books.
KINDS = {
    "late": "SELECT count(*) FROM proof_close WHERE before = 'expired' AND after = 'settled'",
    "expired": "SELECT count(*) FROM proof_close WHERE after = 'expired'",
    "written_off": "SELECT count(*) FROM proof_entry WHERE kind = 'expire'",
    "repaid": "SELECT count(*) FROM proof_entry WHERE kind = 'debt_repay' AND amount > 0",
    "below_zero": "SELECT count(*) FROM proof_deed WHERE available < 0",
}
#: No hold of a calm wallet gets old, so there is no late settlement: the one way beyond a budget.
_BEYOND_BUDGET = """
SELECT b.subject, b.held, b.spent, k.budget_nano FROM billing_budgetuse b JOIN accounts_apikey k ON b.subject = 'k:' || k.id
WHERE b.held + b.spent > k.budget_nano AND b.wallet_id = ANY (%s)
"""
_OTHERS = (
    "(SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend') AS others"
)


def ledger_race(report: Report, short: bool) -> None:
    """Run the proof on a server of its own."""
    with (
        ledger_site() as cluster,
        psycopg.connect(database_url(cluster.postgres.sockets), autocommit=True) as connection,
    ):
        ledger_recorder.install(connection)
        race = Race(cluster, report, connection, seconds=SHORT_SECONDS if short else SECONDS)
        race.run()
        race.judge()


@dataclass
class Race:
    """The hands, what is done to them, and what is seen meanwhile."""

    cluster: Cluster
    report: Report
    connection: psycopg.Connection
    seconds: float
    killed: int = 0
    cut: int = 0
    looks: int = 0

    def run(self) -> None:
        """Let the hands work, look at the books all the time, and strike now and then."""
        chance = random.Random(self.report.seed)
        with self._hands() as (nest, calm):
            end, blow_at = time.monotonic() + self.seconds, 0.0
            while (began := time.monotonic()) < end and nest.poll() is None:
                self._look(calm)
                time.sleep(max(REST, time.monotonic() - began))  # half of the time is the hands'
                if time.monotonic() >= blow_at:
                    blow_at = time.monotonic() + chance.uniform(*BLOWS)
                    chance.choice((self._kill_one, self._kill_one, self._cut_one))(nest, chance)
        self.report.require(nest.returncode == 0, f"a hand failed: {self._words_of_hands()}")
        self._look(calm)

    @contextlib.contextmanager
    def _hands(self) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
        """Run the hands for the time of the block; with them comes the list of calm workspaces."""
        options = {"seed": self.report.seed * 1000, "hands": HANDS, "wallets": WALLETS, "folder": self.cluster.folder}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with (self.cluster.folder / "hands.log").open("w") as log:
            nest = subprocess.Popen(
                [sys.executable, "-m", "proofs.ledger_hands", *words],
                cwd=ROOT,
                env=self.cluster.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert nest.stdout is not None
            accounts = json.loads(nest.stdout.readline() or "[]")
            self._wait_for_all()
            yield nest, [workspace_id for workspace_id, _ in accounts[::2]]
        finally:
            nest.terminate()
            try:
                nest.communicate(timeout=WIND_UP)
            except subprocess.TimeoutExpired:
                for pid in accounting.tree_of([nest.pid]):
                    os.kill(pid, signal.SIGKILL)
                nest.communicate()

    def _words_of_hands(self) -> str:
        return (self.cluster.folder / "hands.log").read_text()[-800:]

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + START_UP
        while self._count(f"SELECT count(*) FROM {_OTHERS}") < HANDS:
            if time.monotonic() > deadline:
                self.report.require(False, f"not all hands began: {self._words_of_hands()}")
                return
            time.sleep(0.05)

    def _kill_one(self, nest: subprocess.Popen[str], chance: random.Random) -> None:
        hands = sorted(accounting.tree_of([nest.pid]) - {nest.pid})
        if hands:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(hands), signal.SIGKILL)
                self.killed += 1

    def _cut_one(self, _nest: subprocess.Popen[str], _chance: random.Random) -> None:
        self.cut += self._count(
            f"SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM {_OTHERS} ORDER BY random() LIMIT 1) AS one"
        )

    def _look(self, calm: list[int]) -> None:
        """See everything in one snapshot."""
        with self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            broken = self.connection.execute("SELECT * FROM billing_broken_invariants LIMIT 3").fetchall()
            below = self.connection.execute(
                "SELECT workspace_id, posted, held FROM billing_wallet WHERE posted < held AND workspace_id = ANY (%s)",
                [calm],
            ).fetchall()
            beyond = self.connection.execute(_BEYOND_BUDGET, [calm]).fetchall()
        self.looks += 1
        self.report.require(not beyond, f"look {self.looks}: beyond a budget {beyond}")
        self.report.require(not broken, f"look {self.looks}: broken invariants {broken}")
        self.report.require(not below, f"look {self.looks}: below zero {below}")

    def judge(self) -> None:
        """Judge every transaction, and hold what the hands were told against the books."""
        deeds, wrong = ledger_recorder.judge(self.connection)
        diaries = Diaries.of(self.cluster.folder)
        wrong += diaries.faults(self.connection)
        deadlocks = self._count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        self.report.wrong += wrong
        self.report.require(deadlocks == 0, f"{deadlocks} deadlocks")
        figures = {"deeds": deeds, "looks": self.looks, "killed": self.killed, "cut": self.cut, **diaries.counts}
        figures |= {kind: self._count(statement) for kind, statement in KINDS.items()}
        least = {what: int(often * self.seconds) for what, often in LEAST.items()}
        if self.seconds >= SECONDS:
            least |= dict.fromkeys(KINDS, 10)
        for what, times in least.items():
            self.report.require(figures.get(what, 0) >= times, f"only {figures.get(what, 0)} times: {what}")
        self.report.note(**figures, deadlocks=deadlocks)

    def _count(self, statement: str) -> int:
        row = self.connection.execute(statement.encode()).fetchone()
        return int(row[0]) if row else 0
