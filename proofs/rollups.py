"""Tens of thousands of usage events by writers that commit in no order, rolled up by workers that are killed all the time.

At the end the hourly and daily tables are held against a plain recount of the events, which knows nothing of transactions and
windows, and the dashboard's totals against the lines of the ledger. The processes are in proofs.rollup_hands.
"""

import json
import subprocess
import sys

import psycopg

from lumyx.devservices import database_url
from proofs.ledger_site import Cluster, ledger_site
from proofs.report import Report
from rig.processes import ROOT

WRITERS = 6
EVENTS, SHORT_EVENTS = 60_000, 3_000
LEAST_KILLS, SHORT_LEAST_KILLS = 20, 2
#: Seconds, after which the processes are lost.
PATIENCE = 900

_NUMBERS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "charge", "absorbed")
_MEASURES = ("requests", "errors", *_NUMBERS, "cost", "costed")
_DAY = {"day": "(started_at AT TIME ZONE 'UTC')::date"}
_THEIRS = {"workspace_id": "workspace_id", "api_key_id": "coalesce(api_key_id, 0)", "model": "model"}
#: Each table's keys, as an event says them.
_ROLLUPS = {
    "gateway_hourlyusage": {**_THEIRS, "hour": "date_trunc('hour', started_at, 'UTC')"},
    "gateway_dailyusage": {**_THEIRS, **_DAY},
    "gateway_upstreamusage": {**_DAY, "model": "model", "upstream_id": "coalesce(upstream_id, 0)"},
}


def rollups(report: Report, short: bool) -> None:
    """Run the proof on a server of its own."""
    with (
        ledger_site() as cluster,
        psycopg.connect(database_url(cluster.postgres.sockets), autocommit=True) as connection,
    ):
        done = _let_them_work(cluster, report, events=SHORT_EVENTS if short else EVENTS)
        if done is not None:
            judge(connection, report, done, least_kills=SHORT_LEAST_KILLS if short else LEAST_KILLS)
            written = report.figures["events"]
            assert isinstance(written, int)
            report.require(written >= (SHORT_EVENTS if short else EVENTS), f"only {written} events were written")


def _let_them_work(cluster: Cluster, report: Report, *, events: int) -> dict[str, object] | None:
    options = {"seed": report.seed, "writers": WRITERS, "events": events}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    ended = subprocess.run(
        [sys.executable, "-m", "proofs.rollup_hands", *words],
        cwd=ROOT,
        env=cluster.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    report.require(ended.returncode == 0, f"the processes failed: {ended.stderr[-800:]}")
    report.require("Traceback" not in ended.stderr, f"a process failed: {ended.stderr[-800:]}")
    if ended.returncode:
        return None
    done: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return done


def judge(connection: psycopg.Connection, report: Report, done: dict[str, object], *, least_kills: int) -> None:
    """Hold the roll-ups against the events, and the dashboard's totals (``done["totals"]``) against the ledger."""
    rows = 0
    for table in _ROLLUPS:
        differences = _differences(connection, table)
        report.require(
            not differences, f"{len(differences)} rows of {table} are not what the events say: {differences[:1]}"
        )
        rows += _count(connection, f"SELECT count(*) FROM {table}")
    charged: dict[int, int] = dict(
        connection.execute(
            "SELECT wallet_id, -sum(amount)::bigint FROM billing_ledgerentry WHERE kind = 'usage' GROUP BY 1"
        ).fetchall()
    )
    counted: dict[int, int] = dict(
        connection.execute("SELECT workspace_id, count(*) FROM gateway_usageevent GROUP BY 1").fetchall()
    )
    totals = done["totals"]
    assert isinstance(totals, dict)
    shown = {int(workspace_id): tuple(pair) for workspace_id, pair in totals.items()}
    booked = {workspace_id: (count, charged.get(workspace_id, 0)) for workspace_id, count in counted.items()}
    report.require(shown == booked, f"the dashboard shows {shown}, the books say {booked}")
    broken = connection.execute("SELECT * FROM billing_broken_invariants LIMIT 3").fetchall()
    report.require(not broken, f"broken invariants {broken}")
    report.require(done["caught_up"] is True, "the roll-up did not come to an end")
    report.require(done["failed"] == 0, f"{done['failed']} workers ended by themselves")
    killed, amended = done["killed"], _count(connection, "SELECT count(amended_xid) FROM gateway_usageevent")
    assert isinstance(killed, int)
    report.require(killed >= least_kills, f"only {killed} workers were killed")
    report.require(amended > 0, "no expired event was amended")
    disordered = _count(
        connection,
        # Ids of later requests, of younger transactions: what a watermark by id would have to see in order, and would not.
        "SELECT count(*) FROM (SELECT committed_xid, max(committed_xid::text::bigint) OVER (ORDER BY id) AS newest"
        " FROM gateway_usageevent) AS e WHERE committed_xid::text::bigint < newest",
    )
    report.note(
        events=sum(counted.values()),
        amended=amended,
        disordered=disordered,
        killed=killed,
        rows=rows,
        charged=sum(charged.values()),
        workspaces=len(counted),
    )


def _differences(connection: psycopg.Connection, table: str) -> list[tuple[object, ...]]:
    """Count the events in the plainest way and return the rows that say something else."""
    keys = ", ".join(_ROLLUPS[table])
    expressions = ", ".join(f"{said} AS {key}" for key, said in _ROLLUPS[table].items())
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in _NUMBERS)
    is_error = "status IN ('upstream_error', 'cut', 'expired') OR (http_status >= 400 AND status <> 'client_closed')"
    # An expired event that was amended leaves a row of zeros at no upstream.
    same = " AND ".join(f"coalesce(a.{name}, 0) = coalesce(b.{name}, 0)" for name in _MEASURES)
    statement = f"""
        WITH a AS (
            SELECT {expressions}, count(*) AS requests, count(*) FILTER (WHERE {is_error}) AS errors, {sums},
                   coalesce(sum(cost), 0)::bigint AS cost, count(cost) AS costed
            FROM gateway_usageevent GROUP BY {", ".join(_ROLLUPS[table].values())}
        )
        SELECT {keys} FROM a FULL JOIN {table} AS b USING ({keys}) WHERE NOT ({same})
    """
    return connection.execute(statement.encode()).fetchall()


def _count(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0
