"""The operator's margins in the admin, and the pages on which costs are entered."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.rating import Rates
from gateway.models import Route, RouteCost, UpstreamUsage
from gateway.selectors.catalog import load_snapshot
from gateway.services.catalog import apply_catalog
from tests.accounts.admin_pages import staff
from tests.gateway.records import NOON
from tests.gateway.test_catalog_apply import FILE
from tests.gateway.test_costs import costed_file
from tests.gateway.test_gateway_admin import errors_in, operator, texts_of
from tests.gateway.test_margins import history

__all__ = ["history", "operator"]  # the fixtures are used here too

PAGE = "/admin/gateway/upstreamusage/"

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
    form = {"price_input": "0.10", "price_output": "1.50", "seen_version": "1", "_confirmed": "x"}
    response = operator.post(reverse("admin:gateway_catalogmodel_price", args=[route.model_id]), form)
    assert response.status_code == 302
    assert any("plus: input is sold at $0.1" in text for text in texts_of(response))
