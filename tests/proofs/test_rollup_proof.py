"""The proof of the roll-ups, short; and that it sees a roll-up, a total or a charge that is wrong."""

import psycopg
import pytest
from django.db import connection

from billing.services import ledger
from billing.types import Settlement
from gateway.models import DailyUsage, HourlyUsage, UpstreamUsage, UsageEvent
from gateway.services.settlement import settle_exchanges
from proofs.report import Report
from proofs.rollups import judge, rollups
from tests.billing.builders import make_account
from tests.gateway.records import usage_record
from tests.gateway.test_usage_rollups import roll_up_all


def test_killed_workers_and_late_commits_leave_the_roll_ups_exact() -> None:
    report = Report("rollups", 11)
    rollups(report, True)
    assert report.wrong == []
    assert report.line().startswith("PROVED rollups seed=11 events=")
    for figure in ("amended", "disordered", "killed"):
        assert report.figures[figure], figure


@pytest.mark.django_db(transaction=True)
def test_what_is_not_exact_is_seen() -> None:
    account = make_account()
    account.fund(100)
    request = account.request(50)
    ledger.admit([request])
    settle_exchanges(
        [(Settlement(request.request_id, 40), usage_record(id=request.request_id, workspace_id=account.id))]
    )
    roll_up_all()

    def faults(charge: int) -> list[str]:
        report = Report("rollups", 1)
        done: dict[str, object] = {
            "killed": 0,
            "failed": 0,
            "caught_up": True,
            "totals": {str(account.id): [1, charge]},
        }
        with psycopg.connect(**{**connection.get_connection_params(), "autocommit": True}) as reader:
            judge(reader, report, done, least_kills=0)
        return [fault for fault in report.wrong if "amended" not in fault]

    assert faults(40) == []
    assert [fault[:19] for fault in faults(41)] == ["the dashboard shows"]
    HourlyUsage.objects.update(errors=1)
    assert [fault[:29] for fault in faults(40)] == ["1 rows of gateway_hourlyusage"]
    HourlyUsage.objects.update(errors=0)
    DailyUsage.objects.all().delete()
    assert [fault[:28] for fault in faults(40)] == ["1 rows of gateway_dailyusage"]
    UpstreamUsage.objects.update(cost=1)
    assert [fault[:31] for fault in faults(40)][1:] == ["1 rows of gateway_upstreamusage"]
    UpstreamUsage.objects.update(cost=0)
    UsageEvent.objects.update(charge=39)
    assert len(faults(40)) == 3
