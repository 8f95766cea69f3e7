"""The benchmark's own programs on a real PostgreSQL: one hot wallet, and the roll-up of what requests left."""

import asyncio
import json

import pytest

from accounts.services.apikeys import NewApiKey
from bench import hot_wallet, rollup
from billing.selectors.ledger import balance_of, open_holds
from gateway.models import HourlyUsage, UsageEvent
from tests.factories import fund, make_api_key, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def make_key(usd: str) -> NewApiKey:
    """Make a key of a workspace with this much credit."""
    workspace = make_workspace()
    fund(workspace, usd)
    return make_api_key(workspace)


def drive(key: NewApiKey) -> hot_wallet.Count:
    """Keep twenty requests in flight for a moment."""
    return asyncio.run(hot_wallet.drive(key.secret, model="any", in_flight=20, seconds=0.3, warm_up=0.1))


def test_every_request_of_the_hot_wallet_is_charged_once() -> None:
    key = make_key("100")
    before = balance_of(key.row.workspace_id).posted
    count = drive(key)
    assert 20 <= count.requests < count.all_requests
    assert 0.25 < count.seconds < 5
    assert count.cpu_seconds > 0
    assert balance_of(key.row.workspace_id).posted == before - count.all_requests * hot_wallet.RATED
    assert not open_holds()
    assert UsageEvent.objects.filter(workspace_id=key.row.workspace_id, status="ok").count() == count.all_requests


def test_a_refused_request_ends_the_run_of_the_hot_wallet() -> None:
    with pytest.raises(hot_wallet.DriverError, match="insufficient_credits"):
        drive(make_key("0.01"))


def test_the_roll_up_tells_what_it_counted_and_what_it_took(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key("100")
    count = drive(key)
    monkeypatch.setattr("sys.argv", ["rollup"])
    events = 0
    for _ in range(100):  # a transaction elsewhere in the cluster may hold it up for a moment
        rollup.main()
        told = json.loads(capsys.readouterr().out)
        events += told["events"]
        if events == count.all_requests:
            break
    assert events == count.all_requests
    assert told["cpu_seconds"] > 0
    assert told["postgres_cpu_seconds"] >= 0
    assert sum(row.requests for row in HourlyUsage.objects.filter(workspace_id=key.row.workspace_id)) == events
