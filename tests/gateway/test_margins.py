"""The operator's margins: equal to plain sums over the events, rolled up or not; on the command line and in the admin."""

import datetime as dt
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from billing.rating import Rates
from gateway.models import Route, RouteCost, UpstreamUsage
from gateway.models.catalog import Upstream
from gateway.selectors.below_cost import routes_without_cost, sold_below_cost
from gateway.selectors.catalog import load_snapshot
from gateway.selectors.margins import GROUPINGS, Grouping, Margin, margins, total_of
from gateway.services.catalog import apply_catalog
from gateway.services.prices import set_route_cost
from tests.accounts.admin_pages import staff
from tests.factories import make_workspace
from tests.gateway.records import NOON, expired_record, usage_record
from tests.gateway.test_catalog_apply import FILE
from tests.gateway.test_catalog_commands import run, run_badly, run_for_people
from tests.gateway.test_costs import COST, costed_file
from tests.gateway.test_gateway_admin import errors_in, model_form, operator, texts_of
from tests.gateway.test_usage_rollups import record, roll_up_all

__all__ = ["operator"]  # the fixture is used here too

PAGE = "/admin/gateway/upstreamusage/"
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


# --- the admin --------------------------------------------------------------------------------------------------------


def rows_on(page: str) -> list[list[str]]:
    """Return the cells of every row of the page's tables, as they are read."""
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in cells]


def test_the_page_shows_what_the_events_say(history: dict[str, int], operator: Client) -> None:
    response = operator.get(PAGE, {"days": "1"})
    rows = rows_on(response.text)
    assert ["cheap", "-$0.0300", "-300.0 %", "$0.0100", "$0.0400", "1", "0", "$0.000000007"] in rows
    assert ["plus", "≤ $0.2500", "41.7 %", "$0.6000", "$0.3500", "4", "1", "$0.00"] in rows
    assert ["gone", "not known", "–", "$0.0100", "$0.00", "1", "1", "$0.00"] in rows
    assert ["(removed, number 987654)", "not known", "–", "$0.0100", "$0.00", "1", "1", "$0.00"] in rows
    assert [row[3] for row in rows if row[0] == "Total"] == ["$0.6200", "$0.6200"]
    assert "3 routes that can be called have no cost yet." in response.text
    assert response.text.count('class="loss"') == 1
    assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=\"", response.text)
    assert "css/admin-margins.css" in response.text
    assert PAGE in operator.get("/admin/").text


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("margin", ["cheap", "plus", "gone"]),
        ("-margin", ["plus", "cheap", "gone"]),
        ("-charge", ["plus", "gone", "cheap"]),
        ("name", ["cheap", "gone", "plus"]),
        ("-cost", ["plus", "cheap", "gone"]),
        ("nonsense", ["cheap", "plus", "gone"]),
    ],
)
def test_the_page_sorts(history: dict[str, int], operator: Client, sort: str, names: list[str]) -> None:
    page = operator.get(PAGE, {"days": "7", "sort": sort}).text
    assert [row[0] for row in rows_on(page) if row[0] in names][:3] == names
    if sort == "margin":
        assert 'aria-sort="ascending"><a href="?days=7&amp;sort=-margin">Margin ▲</a>' in page


@pytest.mark.parametrize(("days", "shown"), [("1", 6), ("7", 6), ("30", 7), ("90", 7), ("x", 7)])
def test_the_page_keeps_to_its_period(history: dict[str, int], operator: Client, days: str, shown: int) -> None:
    page = operator.get(PAGE, {"days": days}).text
    assert next(row for row in rows_on(page) if row[0] == "Total")[5] == str(shown)


@pytest.mark.django_db
def test_an_empty_page_says_how_to_enter_costs(operator: Client) -> None:
    page = operator.get(PAGE).text
    assert "No requests in this period" in page
    assert "[models.routes.cost]" in page
    assert reverse("admin:gateway_route_changelist") in page


@pytest.mark.django_db
def test_the_page_warns_of_a_price_below_its_cost(operator: Client) -> None:
    apply_catalog(costed_file({"input": "0.50", "output": "2", "cache_read": "0"}))
    page = operator.get(PAGE).text
    assert "Sold below cost" in page
    assert "plus: output is sold at $1.5 per million tokens and costs $2 at openai (gpt-x)." in page


@pytest.mark.django_db
def test_only_who_may_see_margins_sees_them() -> None:
    assert staff().get(PAGE).status_code == 403
    assert staff("gateway.view_usageevent", "gateway.view_route").get(PAGE).status_code == 403
    allowed = staff("gateway.view_upstreamusage")
    assert allowed.get(PAGE).status_code == 200
    row = UpstreamUsage.objects.create(day=NOON.date(), model="m", upstream_id=1)
    for action in ("add/", f"{row.pk}/delete/"):
        assert allowed.post(PAGE + action, {"post": "yes"}).status_code == 403
    assert UpstreamUsage.objects.exists()


@pytest.mark.django_db
def test_the_page_asks_no_query_per_row(operator: Client, django_assert_max_num_queries: Any) -> None:
    apply_catalog(costed_file())
    for number in range(30):
        UpstreamUsage.objects.create(day=NOON.date(), model=f"m{number}", upstream_id=number, requests=1)
    operator.get(PAGE)
    with django_assert_max_num_queries(24):
        operator.get(PAGE)


# --- entering costs ---------------------------------------------------------------------------------------------------


def route_form(**values: str) -> dict[str, Any]:
    """Return the form of the route to "openai" as a browser sends it."""
    row = Route.objects.get(upstream_model="gpt-x")
    form: dict[str, Any] = {
        "model": row.model_id,
        "upstream": row.upstream_id,
        "upstream_model": "gpt-x",
        "priority": "1",
        "weight": "7",
        "is_enabled": "on",
        "costs-TOTAL_FORMS": 0,
        "costs-INITIAL_FORMS": 0,
    }
    return form | values


@pytest.mark.django_db
def test_a_cost_is_entered_on_its_route_and_another_is_a_new_version(operator: Client) -> None:
    apply_catalog(FILE)
    page = reverse("admin:gateway_route_change", args=[Route.objects.get(upstream_model="gpt-x").pk])
    assert operator.post(page, route_form()).status_code == 302
    assert not RouteCost.objects.exists(), "nothing entered is nothing known"
    operator.post(page, route_form(cost_input="0.30", cost_output="1.20", cost_cache_read="0"))
    operator.post(page, route_form(cost_input="0.30", cost_output="1.20", cost_cache_read="0"))
    assert RouteCost.objects.get().version == 1
    assert load_snapshot().models["plus"].routes[0].cost == Rates(input=300_000_000, output=1_200_000_000, cache_read=0)
    response = operator.post(page, route_form(cost_input="0.70", cost_output="1.20"))
    assert "The cost of gpt-x is now version 2." in texts_of(response)
    assert any("input is sold at $0.5 per million tokens and costs $0.7" in text for text in texts_of(response))
    shown = operator.get(page).text
    assert 'name="cost_input" value="0.7"' in shown
    history = [[cell for cell in row if cell] for row in rows_on(shown)]
    assert any(row[-5:-1] == ["0.7", "1.2", "as input", "as input"] for row in history)
    assert any(row[-5:-1] == ["0.3", "1.2", "0", "as input"] for row in history)
    assert [row.version for row in Route.objects.get(upstream_model="gpt-x").costs.all()] == [2, 1]
    model_page = operator.get(
        reverse("admin:gateway_catalogmodel_change", args=[Route.objects.get(upstream_model="gpt-x").model_id])
    ).text
    assert "0.7 in, 1.2 out" in model_page
    assert "not known" in model_page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"cost_output": "1"}, "Say what it costs; 0 is a cost."),
        ({"cost_input": "1"}, "Say what it costs; 0 is a cost."),
        ({"cost_input": "-1", "cost_output": "1"}, "greater than or equal to 0"),
        ({"cost_input": "9999999999", "cost_output": "1"}, "This is more than can be stored."),
        ({"cost_input": "0.0000000001", "cost_output": "1"}, "no more than 9 decimal places"),
    ],
)
def test_a_cost_that_is_none_is_refused_beside_its_field(
    operator: Client, values: dict[str, str], complaint: str
) -> None:
    apply_catalog(FILE)
    page = reverse("admin:gateway_route_change", args=[Route.objects.get(upstream_model="gpt-x").pk])
    assert complaint in errors_in(operator.post(page, route_form(**values)))
    assert not RouteCost.objects.exists()


@pytest.mark.django_db
def test_a_known_cost_cannot_be_emptied(operator: Client) -> None:
    apply_catalog(costed_file())
    page = reverse("admin:gateway_route_change", args=[Route.objects.get(upstream_model="gpt-x").pk])
    assert "Say what it costs; 0 is a cost." in errors_in(operator.post(page, route_form()))


@pytest.mark.django_db
def test_a_price_that_is_lowered_below_its_cost_is_warned_of(operator: Client) -> None:
    apply_catalog(costed_file())
    route = Route.objects.get(upstream_model="gpt-x")
    form = model_form(public_id="plus", price_input="0.10", price_output="1.50")
    response = operator.post(reverse("admin:gateway_catalogmodel_change", args=[route.model_id]), form)
    assert response.status_code == 302
    assert any("plus: input is sold at $0.1" in text for text in texts_of(response))
