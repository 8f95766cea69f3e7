"""What requests cost the operator: versions by route, the same token classes as the charge, NULL where nobody knows."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Workspace
from billing.rating import Rates, TokenUsage
from billing.types import Settlement
from gateway.models import Route, RouteCost, UsageEvent
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.settle import usage_record as record_of
from gateway.protocols.failures import FailureKind, UpstreamFailure
from gateway.selectors.catalog import load_snapshot
from gateway.selectors.catalog_file import catalog_data
from gateway.selectors.charge_audit import audit_charges
from gateway.services.catalog import apply_catalog
from gateway.services.prices import set_route_cost
from gateway.services.settlement import settle_exchanges
from tests.factories import fund, make_workspace
from tests.gateway.asgi import Client
from tests.gateway.exchanges import ScriptedCall, chunk, make_exchange, make_model, make_route, usage, whole
from tests.gateway.records import NOON, usage_record
from tests.gateway.test_catalog_apply import FILE
from tests.gateway.test_dispatch import Rig, rig
from tests.gateway.test_usage_rollups import record
from tests.gateway.test_usage_settlement import admit

__all__ = ["rig"]  # the fixture is used here too

COST = {"input": "0.30", "output": "1.20", "cache_read": "0.03", "cache_write": "0.0000001"}
RATES = Rates(input=300_000_000, output=1_200_000_000, cache_read=30_000_000, cache_write=100)
ROUTE = replace(make_route("first"), cost=RATES, cost_id=77)
#: 12 x 300 + 2 x 30 + 8 x 1200, and 5 x 100 / 1,000,000, which is rounded up to a whole nano-dollar.
HAND_COMPUTED = 3_600 + 60 + 9_600 + 1


def costed_file(cost: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the catalog file with a cost of the first model's route to "openai"."""
    data = copy.deepcopy(FILE)
    data["models"][0]["routes"][1]["cost"] = COST if cost is None else cost
    return data


def ended(used: TokenUsage | None, **changes: Any) -> Exchange:
    """Make an exchange that has ended on a route with a cost."""
    exchange = make_exchange(Client(), model=make_model(ROUTE))
    exchange.route, exchange.usage, exchange.produced = ROUTE, used, used is not None
    for name, value in changes.items():
        setattr(exchange, name, value)
    return exchange


# --- computing it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "cost"),
    [
        (TokenUsage(input=12), 3_600),
        (TokenUsage(cache_read=2), 60),
        (TokenUsage(cache_write=5), 1),
        (TokenUsage(output=8), 9_600),
        (TokenUsage(input=12, cache_read=2, cache_write=5, output=8, reasoning=6), HAND_COMPUTED),
    ],
)
def test_every_class_of_tokens_costs_what_its_rate_says_rounded_up_once(used: TokenUsage, cost: int) -> None:
    made = record_of(ended(used))
    assert (made.cost, made.route_cost_id) == (cost, 77)


def test_a_class_without_its_own_rate_costs_what_input_costs() -> None:
    route = replace(ROUTE, cost=Rates(input=300_000_000, output=0))
    assert record_of(ended(TokenUsage(cache_read=2, cache_write=3), route=route)).cost == 5 * 300


def test_a_route_without_a_known_cost_makes_it_unknown_and_not_zero() -> None:
    made = record_of(ended(TokenUsage(input=12), route=make_route("first")))
    assert (made.cost, made.route_cost_id) == (None, None)


def test_a_route_that_costs_nothing_makes_it_zero() -> None:
    assert record_of(ended(TokenUsage(input=12), route=replace(ROUTE, cost=Rates(input=0, output=0)))).cost == 0


def test_what_used_no_tokens_or_reached_nobody_costs_nothing() -> None:
    assert record_of(ended(None)).cost == 0
    assert record_of(ended(None, route=None)).cost == 0


def test_a_free_model_and_a_client_that_left_cost_the_same() -> None:
    used = TokenUsage(input=12, cache_read=2, cache_write=5, output=8)
    free = make_model(ROUTE, is_free=True, rates=Rates(input=0, output=0))
    assert record_of(ended(used, model=free)).cost == HAND_COMPUTED
    assert record_of(ended(used, client_gone=True)).cost == HAND_COMPUTED


async def test_the_route_that_answered_is_the_one_whose_cost_counts(rig: Rig) -> None:
    dear = replace(make_route("second"), cost=Rates(input=10**9, output=10**9), cost_id=78)
    exchange = make_exchange(Client(), model=make_model(ROUTE, dear))
    rig.script("first", ScriptedCall(start=UpstreamFailure(FailureKind.CONNECT, "refused")))
    rig.script("second", ScriptedCall(body=whole("Hi", usage={"prompt_tokens": 12, "completion_tokens": 8})))
    await rig.serve(exchange)
    assert (rig.record.cost, rig.record.route_cost_id) == (20_000, 78)


async def test_an_estimated_usage_gives_an_estimated_cost(rig: Rig) -> None:
    rig.script("first", ScriptedCall(steps=[chunk("x" * 32), chunk(finish="stop")]))
    await rig.serve(make_exchange(Client(), stream=True, model=make_model(ROUTE)))
    made = rig.record
    assert made.usage_source == "estimated"
    assert made.cost == made.input_tokens * 300 + made.output_tokens * 1200 > 0


async def test_a_drained_answer_costs_what_the_upstream_counted(rig: Rig) -> None:
    exchange = make_exchange(Client(), stream=True, model=make_model(ROUTE))

    def leave() -> None:
        exchange.client_gone = True

    rig.script("first", ScriptedCall(steps=[chunk("Hel"), leave, chunk("lo"), chunk(finish="stop"), usage(12, 8)]))
    await rig.serve(exchange)
    assert (rig.record.status, rig.record.usage_source) == ("client_closed", "upstream")
    assert rig.record.cost == 12 * 300 + 8 * 1200


# --- keeping it -------------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(db: None) -> Workspace:
    """Make a workspace with one dollar."""
    row = make_workspace()
    fund(row, "1")
    return row


@pytest.mark.parametrize("at_once", [1, 3])
def test_settled_exchanges_keep_their_cost_also_what_was_absorbed(workspace: Workspace, at_once: int) -> None:
    ids = [admit(workspace) for _ in range(at_once)]
    costs = [(None, None), (7, 5), (0, 6)][-at_once:]
    settle_exchanges(
        [
            (
                Settlement(request_id, 1_700),
                usage_record(id=request_id, workspace_id=workspace.pk, cost=cost, route_cost_id=version),
            )
            for request_id, (cost, version) in zip(ids, costs, strict=True)
        ]
    )
    rows = {row.id: row for row in UsageEvent.objects.all()}
    assert [(rows[one].cost, rows[one].route_cost_id) for one in ids] == costs
    assert {row.absorbed for row in rows.values()} == {700}


def test_a_settlement_the_long_way_keeps_it_too(workspace: Workspace) -> None:
    request_id = admit(workspace)
    ending = (
        Settlement(request_id, 700),
        usage_record(id=request_id, workspace_id=workspace.pk, cost=9, route_cost_id=5),
    )
    settle_exchanges([ending, ending])  # a duplicate in one batch: the plain statement declines it
    row = UsageEvent.objects.get()
    assert (row.charge, row.cost, row.route_cost_id) == (700, 9, 5)


def test_processes_of_the_version_before_still_settle_with_the_cost_unknown(workspace: Workspace) -> None:
    request_id = admit(workspace)
    before = [request_id, 700, workspace.pk, None, "m", 3, 4, 12, 0, 0, 8, 0, "upstream", "", "ok", 200, "", "f", "f"]
    values = [None if value is None else str(value) for value in (*before, NOON, None, 5)]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT gateway_settle_one({', '.join(['%s'] * 22)})", values)
        assert cursor.fetchone() == (700,)
    row = UsageEvent.objects.get()
    assert (row.charge, row.cost, row.route_cost_id) == (700, None, None)


@pytest.mark.django_db
def test_a_cost_below_zero_is_refused() -> None:
    with pytest.raises(IntegrityError, match="usage_not_negative"), transaction.atomic():
        record(usage_record(cost=-1))


def test_the_verification_finds_a_cost_that_is_not_usage_times_rate(workspace: Workspace) -> None:
    apply_catalog(costed_file())
    version = RouteCost.objects.get()
    request_id = admit(workspace)
    tokens = {"input_tokens": 12, "cache_read_tokens": 2, "cache_write_tokens": 5, "output_tokens": 8}
    made = usage_record(
        id=request_id, workspace_id=workspace.pk, cost=HAND_COMPUTED, route_cost_id=version.pk, **tokens
    )
    settle_exchanges([(Settlement(request_id, 700), made)])

    def found() -> list[tuple[Any, ...]]:
        wrong = audit_charges(workspace.pk).wrong
        return [
            (row["actual"], row["expected"]) for row in wrong if row["invariant"] == "cost_is_usage_times_route_cost"
        ]

    assert found() == []
    UsageEvent.objects.update(cost=1)
    assert found() == [(1, HAND_COMPUTED)]


# --- versions and the catalog file ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_cost_of_the_file_is_in_the_snapshot_and_a_change_is_a_new_version() -> None:
    diff = apply_catalog(costed_file())
    assert "cost of route plus → openai: gpt-x v1" in diff.created
    first = RouteCost.objects.get()
    with_cost, without = load_snapshot().models["plus"].routes
    assert (with_cost.cost, with_cost.cost_id) == (RATES, first.pk)
    assert (without.cost, without.cost_id) == (None, None)

    assert apply_catalog(costed_file()).changes_nothing
    diff = apply_catalog(costed_file({**COST, "output": "1.30"}))
    assert diff.updated == ["cost of route plus → openai: gpt-x v2"]
    second = RouteCost.objects.get(version=2)
    first.refresh_from_db()
    assert (first.output, second.output) == (1_200_000_000, 1_300_000_000)
    assert second.effective_from > first.effective_from
    assert load_snapshot().models["plus"].routes[0].cost_id == second.pk


@pytest.mark.django_db
def test_a_file_that_says_nothing_of_a_cost_keeps_it() -> None:
    apply_catalog(costed_file())
    assert apply_catalog(FILE, prune=True).changes_nothing
    assert load_snapshot().models["plus"].routes[0].cost == RATES


@pytest.mark.django_db
def test_the_cost_is_exported_as_it_was_written() -> None:
    apply_catalog(costed_file())
    routes = catalog_data()["models"][1]["routes"]
    assert [route.get("cost") for route in routes] == [
        {"input": "0.3", "output": "1.2", "cache_read": "0.03", "cache_write": "0.0000001"},
        None,
    ]


@pytest.mark.django_db
def test_an_event_keeps_the_cost_of_its_time() -> None:
    apply_catalog(costed_file())
    route = Route.objects.get(upstream_model="gpt-x")
    record(usage_record(cost=HAND_COMPUTED, route_cost_id=route.costs.get().pk))
    _, is_new = set_route_cost(route, rates=Rates(input=1, output=1))
    assert is_new
    event = UsageEvent.objects.get()
    assert event.cost == HAND_COMPUTED
    assert RouteCost.objects.filter(pk=event.route_cost_id or 0).values_list("input", flat=True).get() == RATES.input
