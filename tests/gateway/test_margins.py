"""The operator's margins: equal to plain sums over the events, rolled up or not; prices below costs; the command."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing.rating import Rates
from gateway.models import Route
from gateway.models.catalog import Upstream
from gateway.selectors.below_cost import routes_without_cost, sold_below_cost
from gateway.selectors.margins import GROUPINGS, Grouping, Margin, margins, total_of
from gateway.services.catalog import apply_catalog
from gateway.services.prices import set_route_cost
from tests.factories import make_workspace
from tests.gateway.records import NOON, expired_record, usage_record
from tests.gateway.test_catalog_apply import FILE
from tests.gateway.test_catalog_commands import run, run_badly, run_for_people
from tests.gateway.test_costs import COST, costed_file
from tests.gateway.test_usage_rollups import record, roll_up_all

CENT = 10_000_000
DAY = dt.timedelta(days=1)


@pytest.fixture
def history(transactional_db: None) -> dict[str, int]:
    """Write events of three upstreams, two models and two workspaces, some of them rolled up; return ids by name."""
    apply_catalog(FILE)
    ids = dict(Upstream.objects.values_list("name", "pk"))
    ours, theirs = make_workspace("Ours"), make_workspace("Theirs")
    late = expired_record(workspace_id=ours.pk, model="plus")
    record(
        usage_record(workspace_id=ours.pk, model="plus", upstream_id=ids["openai"], charge=50 * CENT, cost=30 * CENT),
        usage_record(workspace_id=ours.pk, model="plus", upstream_id=ids["sandbox"], charge=CENT, cost=None),
        usage_record(
            workspace_id=theirs.pk, model="cheap", upstream_id=ids["openai"], charge=CENT, cost=4 * CENT, absorbed=7
        ),
        usage_record(workspace_id=theirs.pk, model="gone", upstream_id=987654, charge=CENT, cost=None),
        usage_record(
            workspace_id=ours.pk,
            model="plus",
            upstream_id=ids["openai"],
            charge=CENT,
            cost=1,
            started_at=NOON - 7 * DAY,
        ),
        late,
    )
    roll_up_all()
    record(
        usage_record(
            id=late.id, workspace_id=ours.pk, model="plus", upstream_id=ids["openai"], charge=9 * CENT, cost=5 * CENT
        ),
        usage_record(workspace_id=ours.pk, model="plus", upstream_id=None, charge=0, cost=0, status="released"),
    )
    return {**ids, "ours": ours.pk, "theirs": theirs.pk}


def plain_sums(column: str, *, days: int) -> dict[object, tuple[int, ...]]:
    """Sum the events in the plainest way."""
    since = (NOON - (days - 1) * DAY).date()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {column}, count(*), count(cost), sum(charge)::bigint, sum(absorbed)::bigint,"  # noqa: S608  a constant
            " coalesce(sum(cost), 0)::bigint FROM gateway_usageevent"
            " WHERE (started_at AT TIME ZONE 'UTC')::date >= %s GROUP BY 1",
            [since],
        )
        return {key: tuple(numbers) for key, *numbers in cursor.fetchall()}


def numbers_of(row: Margin) -> tuple[int, ...]:
    """Return what of a margin is summed."""
    return row.requests, row.costed, row.charge, row.absorbed, row.cost


@pytest.mark.parametrize("rolled", [False, True], ids=["with a tail", "rolled up"])
@pytest.mark.parametrize("days", [1, 7, 30])
def test_margins_are_the_plain_sums_of_the_events(history: dict[str, int], days: int, rolled: bool) -> None:
    if rolled:
        roll_up_all()
    names: dict[Grouping, dict[object, str]] = {
        "model": {},
        "upstream": {
            history["openai"]: "openai",
            history["sandbox"]: "sandbox",
            987654: "(removed, number 987654)",
            0: "(none reached)",
        },
        "workspace": {history["ours"]: "ours", history["theirs"]: "theirs"},
    }
    columns = {"model": "model", "upstream": "coalesce(upstream_id, 0)", "workspace": "workspace_id"}
    for by in GROUPINGS:
        plain = plain_sums(columns[by], days=days)
        expected = {names[by].get(key, str(key)): numbers for key, numbers in plain.items()}
        assert {row.name: numbers_of(row) for row in margins(by=by, days=days)} == expected
        assert numbers_of(total_of(margins(by=by, days=days))) == tuple(map(sum, zip(*plain.values(), strict=True)))


def test_what_is_left_is_the_charge_less_the_known_costs_and_losses_come_first(history: dict[str, int]) -> None:
    rows = margins(by="model", days=1)
    assert [(row.name, row.margin, row.uncosted) for row in rows] == [
        ("cheap", -3 * CENT, 0),
        ("plus", (60 - 35) * CENT, 1),
        ("gone", None, 1),
    ]
    assert [row.percent for row in rows] == [Decimal("-300.0"), Decimal("41.7"), None]
    assert Margin("free", requests=1, costed=1, charge=0, absorbed=0, cost=5).percent is None


# --- prices and costs -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_class_that_is_sold_below_its_cost_is_found() -> None:
    # Sold at 0.50, 1.50 and almost nothing for cached input.
    apply_catalog(costed_file({"input": "0.60", "output": "1.50", "cache_read": "0.06"}))
    gaps = {gap.token_class: (gap.price, gap.cost) for gap in sold_below_cost()}
    # A cache write is charged and paid as input, which is told already.
    assert gaps == {"input": (500_000_000, 600_000_000), "cache_read": (1, 60_000_000)}
    assert [(row.model.public_id, row.upstream.name) for row in routes_without_cost()] == [
        ("gratis", "sandbox"),
        ("plus", "sandbox"),
    ]


@pytest.mark.django_db
def test_a_class_with_a_cost_of_its_own_is_compared_with_the_price_of_input() -> None:
    apply_catalog(costed_file({"input": "0.50", "output": "1.50", "cache_read": "0", "cache_write": "0.625"}))
    assert [gap.token_class for gap in sold_below_cost()] == ["cache_write"]


@pytest.mark.django_db
def test_what_is_free_or_switched_off_is_not_warned_of() -> None:
    apply_catalog(costed_file({"input": "9", "output": "9"}))
    set_route_cost(Route.objects.get(model__public_id="gratis"), rates=Rates(input=1, output=1))
    Route.objects.filter(upstream_model="gpt-x").update(is_enabled=False)
    assert sold_below_cost() == []


@pytest.mark.django_db
def test_catalog_check_fails_for_a_price_below_its_cost(tmp_path: Any) -> None:
    apply_catalog(costed_file(COST | {"cache_read": "0"}))
    answer = run("catalog", "check")
    assert answer["below_cost"] == []
    assert {"model": "gratis", "upstream": "sandbox", "upstream_model": "echo"} in answer["without_cost"]
    apply_catalog(costed_file({"input": "0.50", "output": "2", "cache_read": "0"}))
    answer, message = run_badly("catalog", "check")
    assert answer["below_cost"] == [
        {
            "model": "plus",
            "upstream": "openai",
            "upstream_model": "gpt-x",
            "token_class": "output",
            "price": "1.5",
            "cost": "2",
        }
    ]
    assert message == "1 prices are below their cost."


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_tells_margins_in_nano_dollars(history: dict[str, int]) -> None:
    answer = run("usage", "margin", "--days", "1", "--by", "model")
    assert (answer["days"], answer["by"]) == (1, "model")
    assert answer["rows"][0] == {
        "name": "cheap",
        "requests": 1,
        "without_cost": 0,
        "charge": str(CENT),
        "cost": str(4 * CENT),
        "absorbed": "7",
        "margin": str(-3 * CENT),
        "margin_percent": "-300.0",
    }
    assert (answer["rows"][2]["margin"], answer["rows"][2]["margin_percent"]) == (None, None)
    assert answer["total"]["charge"] == str(62 * CENT)
    assert {row["name"] for row in run("usage", "margin", "--by", "workspace")["rows"]} == {"ours", "theirs"}
    text = run_for_people("usage", "margin", "--by", "upstream")
    assert (
        "sandbox: 1 requests, $0.0100 charged, $0.0000 cost, margin not known, 1 requests without a known cost." in text
    )
    _, message = run_badly("usage", "margin", "--days", "0")
    assert message == "--days must be from 1 to 3660."
