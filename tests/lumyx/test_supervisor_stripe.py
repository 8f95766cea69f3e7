"""``STRIPE=fake make run``: the stand-in runs beside the site, its events arrive, and a restart keeps its customers."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import stripe

from lumyx.supervisor_stripe import StandIn
from tests.lumyx.test_supervisor import ROOT, Run, local

__all__ = ["local"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


def _client(run: Run) -> Any:
    found = run.run_file
    base: Any = {"api": found["STRIPE_API_BASE"]}
    return stripe.StripeClient(found["STRIPE_SECRET_KEY"], base_addresses=base).v1


def _arrived(run: Run, customer: str, *, within: float) -> bool:
    """Wait until the event of a customer is in the installation's inbox."""
    deadline = time.monotonic() + within
    query = "SELECT count(*) FROM billing_stripeevent WHERE type = 'customer.created' AND object_id = %s"
    while time.monotonic() < deadline:
        with psycopg.connect(run.run_file["DATABASE_URL"]) as line:
            if line.execute(query, [customer]).fetchone() == (1,):
                return True
        time.sleep(0.2)
    return False


def test_the_stand_in_runs_beside_the_site(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE", "fake")
    run = Run(local).wait_until_ready()
    assert f"test cards only, at {run.run_file['STRIPE_API_BASE']}" in run.printed
    [pid] = run.run_file["stripe"]
    customer = _client(run).customers.create({"email": "a@example.org"}).id
    assert _arrived(run, customer, within=15)
    os.kill(pid, signal.SIGKILL)
    run.read_until("[stripe] ended")
    assert run.end(signal.SIGINT) == 0
    assert run.is_gone(within=0)

    again = Run(local).wait_until_ready()
    assert _client(again).customers.retrieve(customer).email == "a@example.org"
    assert again.end(signal.SIGTERM) == 0
    assert (local / "stripe.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("given", [{"STRIPE": "real"}, {"STRIPE": "fake", "STRIPE_SECRET_KEY": "sk_test_own"}])
def test_what_does_not_go_together_is_said(local: Path, given: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lumyx.supervisor"],
        cwd=ROOT,
        env={**os.environ, "LUMYX_LOCAL_DIR": str(local), "PORT": "0", **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "STRIPE can be fake" in done.stderr


def test_another_port_is_taken_when_somebody_has_the_usual_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stand_in = StandIn(tmp_path / "stripe.json", port=port)
        assert stand_in.port not in (0, port)
    assert StandIn(tmp_path / "stripe.json", port=port).port == port
