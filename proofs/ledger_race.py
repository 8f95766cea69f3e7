"""Twelve processes on six wallets for a minute, some killed, some cut off, and a checker that never sees the books wrong.

Three wallets are calm: nothing is clawed back there and no hold gets old, so what is left of them after holds may never be
below zero at any look. Three are rough: everything happens to them, and debt is possible; the invariants hold for all. What the
processes do is in proofs.ledger_racer.
"""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import psycopg

from lumyx.devservices import database_url
from proofs.ledger_site import Cluster, ledger_site
from proofs.report import Report
from rig.processes import ROOT

HANDS, SECONDS, SHORT_SECONDS = 12, 60.0, 6.0
WALLETS = 6
#: Fewer would prove nothing: holds a second, and looks of the checker.
HOLDS_A_SECOND, LOOKS = 100, 5
#: Seconds that the hands may take to begin, and between two blows.
START_UP, BLOWS = 90.0, (0.5, 1.5)

ACCOUNTS = """
import json, django
django.setup()
from accounts.services.apikeys import create_api_key
from accounts.services.users import create_user
from accounts.services.workspaces import create_workspace
owner = create_user("race@example.com", password="a-long-enough-password", verified=True)
made = [create_workspace(f"race-{number}", owner=owner) for number in range({wallets})]
print(json.dumps([[one.pk, create_api_key(workspace=one, name="race").row.pk] for one in made]))
"""

_CLIENTS = (
    "(SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend') AS clients"
)


def ledger_race(report: Report, short: bool) -> None:
    """Run the proof on a server of its own."""
    with ledger_site() as cluster:
        race = Race(cluster, report, seconds=SHORT_SECONDS if short else SECONDS)
        race.run()


@dataclass
class Race:
    """The hands, what is done to them, and what is seen meanwhile."""

    cluster: Cluster
    report: Report
    seconds: float
    hands: list[subprocess.Popen[str]] = field(default_factory=list)
    killed: int = 0
    cut: int = 0
    looks: int = 0

    def run(self) -> None:
        """Race, then judge."""
        chance = random.Random(self.report.seed)
        made = self._python(ACCOUNTS.replace("{wallets}", str(WALLETS)))
        self.accounts: list[list[int]] = json.loads(made)
        url = database_url(self.cluster.postgres.sockets)
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(HANDS):
                self.hands.append(self._start(number))
            self._wait_for_all(connection)
            end = time.monotonic() + self.seconds
            blow_at = 0.0
            while time.monotonic() < end:
                self._look(connection)
                if time.monotonic() >= blow_at:
                    blow_at = time.monotonic() + chance.uniform(*BLOWS)
                    self._cut_one(connection)
                    self._kill_one(chance)
            self._collect()
            self._look(connection)
            self._judge(connection)

    def _start(self, number: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "proofs.ledger_racer", "--accounts", json.dumps(self.accounts)]
        return subprocess.Popen(
            [*command, "--seed", str(self.report.seed * 1000 + number)],
            cwd=ROOT,
            env=self.cluster.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _wait_for_all(self, connection: psycopg.Connection) -> None:
        deadline = time.monotonic() + START_UP
        while time.monotonic() < deadline:
            row = connection.execute(f"SELECT count(*) FROM {_CLIENTS}".encode()).fetchone()
            if row is not None and row[0] >= HANDS:
                return
            time.sleep(0.2)
        self.report.require(False, "not all hands began")

    def _kill_one(self, chance: random.Random) -> None:
        place = chance.randrange(len(self.hands))
        victim = self.hands[place]
        victim.kill()
        victim.communicate()
        self.killed += 1
        self.hands[place] = self._start(100 + self.killed)

    def _cut_one(self, connection: psycopg.Connection) -> None:
        done = connection.execute(
            f"SELECT pg_terminate_backend(pid) FROM {_CLIENTS} ORDER BY random() LIMIT 1".encode()
        )
        self.cut += len(done.fetchall())

    def _look(self, connection: psycopg.Connection) -> None:
        """See everything in one snapshot."""
        calm = [account[0] for account in self.accounts[: WALLETS // 2]]
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            broken = connection.execute("SELECT * FROM billing_broken_invariants LIMIT 3").fetchall()
            below = connection.execute(
                "SELECT workspace_id, posted, held FROM billing_wallet WHERE posted < held AND workspace_id = ANY (%s)",
                [calm],
            ).fetchall()
        self.looks += 1
        self.report.require(not broken, f"look {self.looks}: broken invariants {broken}")
        self.report.require(not below, f"look {self.looks}: below zero {below}")

    def _collect(self) -> None:
        acts = lost = 0
        for hand in self.hands:
            hand.terminate()
        for hand in self.hands:
            output, errors = hand.communicate(timeout=60)
            if hand.returncode == -signal.SIGTERM:
                continue  # it had not begun
            if hand.returncode or not output.strip():
                self.report.require(False, f"a hand ended with {hand.returncode}: {errors[-600:]}")
                continue
            result = json.loads(output.strip().splitlines()[-1])
            acts, lost = acts + result["acts"], lost + result["lost"]
        self.report.note(acts=acts, lost=lost)

    def _judge(self, connection: psycopg.Connection) -> None:
        def count(statement: str) -> int:
            row = connection.execute(statement.encode()).fetchone()
            return int(row[0]) if row else 0

        holds = count("SELECT count(*) FROM billing_hold")
        settled = count("SELECT count(*) FROM billing_hold WHERE state = 'settled'")
        deadlocks = count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        unlike = count(
            "SELECT count(*) FROM billing_hold h LEFT JOIN gateway_usageevent e ON e.id = h.id"
            " WHERE h.state <> 'open' AND (e.id IS NULL OR e.charge <> coalesce(h.actual, 0))"
        )
        self.report.require(holds >= HOLDS_A_SECOND * self.seconds, f"only {holds} holds were placed")
        self.report.require(settled * 5 >= holds, f"only {settled} of {holds} holds were settled")
        self.report.require(self.looks >= LOOKS, f"only {self.looks} looks at the books")
        self.report.require(self.killed > 0 and self.cut > 0, "nothing was killed or cut off")
        self.report.require(deadlocks == 0, f"{deadlocks} deadlocks")
        self.report.require(unlike == 0, f"{unlike} closed holds without their one usage event")
        self.report.note(holds=holds, settled=settled, looks=self.looks, killed=self.killed, cut=self.cut)

    def _python(self, script: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=self.cluster.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip().splitlines()[-1]
