"""Sums of costs: by hour, day and upstream, exact under amendments; and what the migration fills in."""

import pytest
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from gateway.models import UpstreamUsage
from gateway.selectors.usage_audit import rollup_differences
from tests.gateway.records import NOON, expired_record, usage_record
from tests.gateway.test_usage_rollups import record, roll_up_all


def by_upstream() -> dict[int, tuple[int, ...]]:
    """Return requests, errors, charge, absorbed, cost and costed requests of each upstream that has requests."""
    rows = UpstreamUsage.objects.exclude(requests=0)
    return {row.upstream_id: (row.requests, row.errors, row.charge, row.absorbed, row.cost, row.costed) for row in rows}


@pytest.mark.django_db(transaction=True)
def test_costs_are_summed_by_upstream_and_those_that_are_not_known_are_counted() -> None:
    record(
        usage_record(charge=10, cost=4, absorbed=1),
        usage_record(charge=20, cost=None),
        usage_record(charge=30, cost=0, upstream_id=5, workspace_id=2),
        usage_record(charge=40, cost=6, upstream_id=None, status="cut"),
    )
    roll_up_all()
    assert by_upstream() == {3: (2, 0, 30, 1, 4, 1), 5: (1, 0, 30, 0, 0, 1), 0: (1, 1, 40, 0, 6, 1)}
    assert rollup_differences(NOON.date()) == []
    UpstreamUsage.objects.filter(upstream_id=5).update(cost=1)
    assert rollup_differences(NOON.date()) == [{"rollup": "upstream", "model": "sandbox/paid", "upstream_id": 5}]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rolled_before_amendment", [True, False])
def test_an_amended_event_moves_to_its_upstream_with_its_cost(rolled_before_amendment: bool) -> None:
    expired = expired_record()
    record(expired)
    if rolled_before_amendment:
        roll_up_all()
        assert by_upstream() == {0: (1, 1, 0, 0, 0, 0)}
    record(usage_record(id=expired.id, charge=40, cost=9))
    roll_up_all()
    assert by_upstream() == {3: (1, 0, 40, 0, 9, 1)}
    assert rollup_differences(NOON.date()) == []


@pytest.mark.django_db(transaction=True)
def test_the_migration_fills_the_sums_with_what_was_rolled_up_before() -> None:
    early, late = expired_record(), expired_record()
    record(early, late, usage_record(charge=10, absorbed=3), usage_record(model="other", upstream_id=5, charge=1))
    record(usage_record(id=early.id, charge=40, absorbed=2))
    roll_up_all()
    record(usage_record(id=late.id, charge=50), usage_record(charge=60, absorbed=4))
    UpstreamUsage.objects.all().delete()
    fill = MigrationLoader(connection).get_migration("gateway", "0015_sums_by_upstream").operations[0]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE gateway_dailyusage SET absorbed = 0; UPDATE gateway_hourlyusage SET absorbed = 0")
        cursor.execute(fill.sql)  # type: ignore[attr-defined]
    assert rollup_differences(NOON.date()) == []
    assert by_upstream() == {3: (2, 0, 50, 5, 0, 0), 5: (1, 0, 1, 0, 0, 0), 0: (1, 1, 0, 0, 0, 0)}
    roll_up_all()
    assert rollup_differences(NOON.date()) == []
