"""Changing a price in the admin: nothing happens before the preview was seen, and what happens is a new version."""

import datetime as dt
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from billing.rating import Rates
from gateway.models import CatalogModel, Price, UpstreamUsage
from gateway.selectors.catalog import load_snapshot
from gateway.selectors.price_preview import preview_of
from gateway.services.prices import set_price
from lumyx.lib import clock
from tests.accounts.admin_pages import staff

pytestmark = pytest.mark.django_db

OLD = Rates(input=2 * 10**9, output=4 * 10**9, cache_read=10**9)
FORM = {"price_input": "3", "price_output": "4", "price_cache_read": "1", "price_cache_write": "", "seen_version": "1"}


@pytest.fixture
def operator(client: Client) -> Client:
    """Sign an operator in."""
    client.force_login(User.objects.create_superuser("operator@example.com", "x"))
    return client


@pytest.fixture
def model() -> CatalogModel:
    """Return a model with a price."""
    row = CatalogModel.objects.create(public_id="mine", display_name="Mine", context_window=9, max_output_tokens=9)
    set_price(row, rates=OLD)
    return row


def page_of(model: CatalogModel) -> str:
    """Return the page's address."""
    return reverse("admin:gateway_catalogmodel_price", args=[model.pk])


def use(days_ago: int, **sums: int) -> None:
    """Add usage of the model, as the roll-ups do."""
    day = clock.now().date() - dt.timedelta(days=days_ago)
    UpstreamUsage.objects.create(day=day, model="mine", upstream_id=days_ago, **sums)


def rows_of(response: Any) -> list[list[str]]:
    """Return the rows of the page's tables, cell by cell."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", response.text, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", "", cell)).split()) for cell in row] for row in cells]


def texts_of(response: Any) -> list[str]:
    """Return the messages of an answer."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_the_preview_says_what_each_class_and_the_last_days_would_cost(operator: Client, model: CatalogModel) -> None:
    million = 1_000_000
    use(0, requests=3, charge=7 * 10**9, input_tokens=million, cache_read_tokens=million, output_tokens=million)
    use(20, requests=1, charge=10**9, input_tokens=million, cache_write_tokens=million)
    use(40, requests=9, charge=10**9, input_tokens=million)
    assert 'value="2"' in operator.get(page_of(model)).text
    page = operator.post(page_of(model), FORM)
    rows = rows_of(page)
    assert ["Input", "$2", "$3", "+50.0 %"] in rows
    assert ["Cache read", "$1", "$1", "none"] in rows
    assert ["Cache write", "$2", "$3", "+50.0 %"] in rows, "a class without a price is as input"
    assert ["Output", "$4", "$4", "none"] in rows
    assert ["Last 7", "3", "$7.00", "$7.00", "$8.00", "+$1.00 (+14.3 %)"] in rows
    assert ["Last 30", "4", "$8.00", "$11.00", "$14.00", "+$3.00 (+27.3 %)"] in rows
    assert Price.objects.count() == 1, "a preview changes nothing"
    assert not AuditEntry.objects.filter(action="operator.changed").exists()


def test_what_was_previewed_becomes_a_new_version_and_the_old_stays(operator: Client, model: CatalogModel) -> None:
    page = operator.post(page_of(model), FORM).text
    hidden = dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"', page))
    response = operator.post(page_of(model), hidden | {"_confirmed": "x"})
    assert response["Location"] == reverse("admin:gateway_catalogmodel_change", args=[model.pk])
    assert texts_of(response) == ["The price of mine is now version 2."]
    assert list(Price.objects.order_by("version").values_list("version", "input")) == [(1, 2 * 10**9), (2, 3 * 10**9)]
    assert load_snapshot().models["mine"].rates == Rates(input=3 * 10**9, output=4 * 10**9, cache_read=10**9)
    entry = AuditEntry.objects.get(action="operator.changed")
    assert (entry.target_kind, entry.target_name) == ("catalogmodel", "mine")
    history = operator.get(reverse("admin:gateway_catalogmodel_history", args=[model.pk])).text
    assert "The price is version 2: input 3, output 4 US dollars per million tokens." in history
    assert ["2", "$3", "$4", "$1", "as input"] in [row[:5] for row in rows_of(operator.get(page_of(model)))]


def test_the_same_price_is_no_new_version(operator: Client, model: CatalogModel) -> None:
    same = FORM | {"price_input": "2.000"}
    assert "Every class costs what it does now." in operator.post(page_of(model), same).text
    assert texts_of(operator.post(page_of(model), same | {"_confirmed": "x"})) == ["The price of mine stays."]
    assert Price.objects.count() == 1


def test_a_price_that_moved_in_the_meantime_is_looked_at_again(operator: Client, model: CatalogModel) -> None:
    operator.post(page_of(model), FORM)
    set_price(model, rates=Rates(input=9, output=9))
    response = operator.post(page_of(model), FORM | {"_confirmed": "x"})
    assert response["Location"] == page_of(model)
    assert texts_of(response) == ["The price became version 2 in the meantime. Look at the change again."]
    assert Price.objects.count() == 2


def test_one_can_go_back_and_change_something(operator: Client, model: CatalogModel) -> None:
    page = operator.post(page_of(model), FORM | {"_back": "x"}).text
    assert 'type="text" name="price_input" value="3"' in page
    assert "Make it the price" not in page


def test_a_model_becomes_free_and_paid_again(operator: Client, model: CatalogModel) -> None:
    free = {"is_free": "on", "seen_version": "1"}
    page = operator.post(page_of(model), free).text
    assert "The model becomes free" in page
    assert 'name="is_free" value="True"' in page
    operator.post(page_of(model), free | {"is_free": "True", "_confirmed": "x"})
    found = load_snapshot().models["mine"]
    assert (found.is_free, found.rates) == (True, Rates(input=0, output=0))
    paid = FORM | {"seen_version": "2", "is_free": "False"}
    page = operator.post(page_of(model), paid).text
    assert "from then on it is paid for" in page
    assert ["Input", "$0", "$3", "–"] in rows_of(operator.post(page_of(model), paid))
    operator.post(page_of(model), paid | {"_confirmed": "x"})
    assert load_snapshot().models["mine"].is_free is False


def test_a_model_without_a_price_gets_its_first(operator: Client) -> None:
    model = CatalogModel.objects.create(public_id="mine", display_name="Mine", context_window=9, max_output_tokens=9)
    use(0, requests=1, input_tokens=1_000_000)
    rows = rows_of(operator.post(page_of(model), FORM | {"seen_version": "0"}))
    assert ["Input", "–", "$3", "–"] in rows
    assert ["Last 7", "1", "$0.00", "–", "$3.00", "–"] in rows
    operator.post(page_of(model), FORM | {"seen_version": "0", "_confirmed": "x"})
    assert Price.objects.get().version == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"price_input": ""}, "Give a price; 0 is one."),
        ({"price_output": ""}, "Give a price; 0 is one."),
        ({"price_input": "-1"}, "greater than or equal to 0"),
        ({"price_input": "9999999999.5"}, "This is more than can be stored."),
        ({"price_input": "0.0000000001"}, "no more than 9 decimal places"),
        ({"is_free": "on"}, "A free model has no price"),
    ],
    ids=str,
)
def test_what_is_no_price_is_refused_beside_its_field_even_confirmed(
    operator: Client, model: CatalogModel, change: dict[str, str], problem: str
) -> None:
    for sent in (FORM | change, FORM | change | {"_confirmed": "x"}):
        page = operator.post(page_of(model), sent)
        assert problem in unescape(page.text)
        assert "Make it the price" not in page.text
    assert Price.objects.count() == 1


def test_only_who_may_change_models_gets_there(model: CatalogModel) -> None:
    looks = staff("gateway.view_catalogmodel")
    assert looks.get(page_of(model)).status_code == 403
    assert looks.post(page_of(model), FORM | {"_confirmed": "x"}).status_code == 403
    assert "Change the price" not in looks.get(reverse("admin:gateway_catalogmodel_change", args=[model.pk])).text
    changes = staff("gateway.view_catalogmodel", "gateway.change_catalogmodel")
    assert changes.get(page_of(model)).status_code == 200
    assert Price.objects.count() == 1


def test_a_model_that_is_not_there_leads_to_the_list(operator: Client) -> None:
    answer = operator.get("/admin/gateway/catalogmodel/999/price/")
    assert answer["Location"] == reverse("admin:gateway_catalogmodel_changelist")


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once(model: CatalogModel) -> None:
    use(0, requests=2, input_tokens=1, output_tokens=1)
    preview = preview_of(model, old=Rates(input=1, output=0), new=Rates(input=0, output=1))
    assert [(effect.before, effect.after, effect.difference) for effect in preview.effects] == [(1, 1, 0)] * 2
    assert [change.percent for change in preview.changes] == [Decimal(-100), Decimal(-100), Decimal(-100), None]
