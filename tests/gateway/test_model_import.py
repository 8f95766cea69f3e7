"""Importing models from an upstream's list in the admin: ask, tick, price; then all are in the catalog together, or none."""

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from billing.rating import Rates
from gateway.models import CatalogModel, Price, Route, RouteCost, Upstream
from gateway.selectors.catalog import load_snapshot
from gateway.services.catalog import apply_catalog
from gateway.upstreams.model_list import ModelList
from tests.accounts.admin_pages import staff
from tests.gateway.test_catalog_commands import Provider, provider

__all__ = ["provider"]  # the fixture is used here too

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    """Sign an operator in."""
    client.force_login(User.objects.create_superuser("operator@example.com", "x"))
    return client


def page_of(upstream: Upstream) -> str:
    """Return the page's address."""
    return reverse("admin:gateway_upstream_import", args=[upstream.pk])


def told(*entries: Any) -> None:
    """Let the provider list these."""
    Provider.override = (200, json.dumps({"data": list(entries)}).encode())


def picks(*forms: dict[str, Any]) -> dict[str, Any]:
    """Return the last form as a browser sends it."""
    data: dict[str, Any] = {"_import": "Import", "pick-TOTAL_FORMS": len(forms), "pick-INITIAL_FORMS": len(forms)}
    for number, form in enumerate(forms):
        data |= {f"pick-{number}-{name}": value for name, value in (PAID | form).items()}
    return data


PAID = {
    "upstream_model": "a",
    "public_id": "house/a",
    "kind": "chat",
    "context_window": "8000",
    "price_input": "0.5",
    "price_output": "1.5",
}


def texts_of(response: Any) -> list[str]:
    """Return the messages of an answer."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def errors_in(response: Any) -> str:
    """Return the errors that the page shows."""
    found = re.findall(r'<ul class="errorlist.*?</ul>', response.text, re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", " ".join(found)))


def test_from_the_list_over_the_ticks_to_models_that_can_be_called(operator: Client, provider: Upstream) -> None:
    told({"id": "a", "name": "Model A", "context_length": 9000}, {"id": "b-embed"}, {"id": "c"})
    page = page_of(provider)
    assert f'href="{page}"' in operator.get(reverse("admin:gateway_upstream_change", args=[provider.pk])).text
    assert Provider.seen == []
    assert operator.get(page).status_code == 200
    assert Provider.seen == [], "to look at the page asks nobody"
    listed = operator.post(page, {"_ask": "x"})
    ticks = [unescape(value) for value in re.findall(r'name="model" value="([^"]*)"', listed.text)]
    assert [json.loads(tick)[0] for tick in ticks] == ["a", "b-embed", "c"]
    assert "3 of them are new here" in listed.text

    forms = operator.post(page, {"_choose": "x", "model": ticks[:2]})
    values = dict(re.findall(r'name="(pick-\d-\w+)"[^>]*? value="([^"]*)"', forms.text))
    assert (values["pick-0-public_id"], values["pick-0-display_name"], values["pick-0-context_window"]) == (
        "a",
        "Model A",
        "9000",
    )
    assert '<option value="embedding" selected>' in forms.text

    embedding = {"upstream_model": "b-embed", "public_id": "house/e", "kind": "embedding", "price_output": ""}
    done = operator.post(page, picks({"cost_input": "0.4", "cost_output": "1.2"}, embedding))
    assert done["Location"] == reverse("admin:gateway_catalogmodel_changelist")
    assert texts_of(done) == ["Imported from theirs: 2 models and 2 routes. They can be called now."]
    models = load_snapshot().models
    assert models["house/a"].rates == Rates(input=500_000_000, output=1_500_000_000)
    assert [(route.upstream.name, route.upstream_model) for route in models["house/a"].routes] == [("theirs", "a")]
    assert models["house/e"].kind == "embedding"
    assert RouteCost.objects.get().output == 1_200_000_000

    again = operator.post(page, {"_ask": "x"})
    assert "1 of them is new here" in again.text
    assert "as house/a" in again.text


def test_what_was_imported_is_in_the_audit_log(operator: Client, provider: Upstream) -> None:
    operator.post(page_of(provider), picks({}))
    entries = AuditEntry.objects.filter(action="operator.changed").values_list("target_kind", "target_name")
    assert set(entries) == {("catalogmodel", "house/a"), ("upstream", "theirs")}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"public_id": ""}, "Must have 1 to 200 characters"),
        ({"public_id": "-x"}, "A model id has letters"),
        ({"context_window": ""}, "Is missing"),
        ({"context_window": "0"}, "must be from 1 to"),
        ({"max_output_tokens": "9000"}, "is more than context_window"),
        ({"price_input": "", "price_output": ""}, "Is missing: give the price, or say that it is free"),
        ({"price_output": ""}, "Is missing"),
        ({"price_input": "a lot"}, "is not a price in US dollars"),
        ({"price_input": "-1"}, "is below zero"),
        ({"cost_input": "1"}, "Is missing"),
        ({"is_free": "on"}, "A free model has no price"),
        ({"kind": "smoke"}, "Select a valid choice"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_bad_model_stops_all_and_is_told_beside_its_field(
    operator: Client, provider: Upstream, change: dict[str, str], problem: str
) -> None:
    answer = operator.post(page_of(provider), picks({"public_id": "house/good", "upstream_model": "g"}, change))
    assert problem in errors_in(answer)
    assert "Nothing was imported." in answer.text
    assert 'value="house/good"' in answer.text
    assert not CatalogModel.objects.exists()
    assert not AuditEntry.objects.filter(action="operator.changed").exists()


def test_two_of_one_id_are_refused(operator: Client, provider: Upstream) -> None:
    answer = operator.post(page_of(provider), picks({}, {"upstream_model": "b"}))
    assert '"house/a" is there more than once' in errors_in(answer)
    assert not CatalogModel.objects.exists()


def test_a_model_that_is_there_is_not_overwritten_and_gets_a_route_where_that_is_ticked(
    operator: Client, provider: Upstream
) -> None:
    apply_catalog(
        {
            "upstreams": [{"name": "box", "provider": "sandbox", "protocol": "sandbox"}],
            "models": [
                {
                    "id": "house/a",
                    "display_name": "The first",
                    "context_window": 5,
                    "price": {"input": "7", "output": "8"},
                    "routes": [{"upstream": "box", "model": "echo", "priority": 3}],
                }
            ],
        }
    )
    refused = operator.post(page_of(provider), picks({}))
    assert "The catalog has a model of this id" in errors_in(refused)
    for _ in range(2):
        assert operator.post(page_of(provider), picks({"joins": "on", "cost_input": "1", "cost_output": "2"}))
    model = CatalogModel.objects.get()
    assert (model.display_name, model.context_window, Price.objects.count()) == ("The first", 5, 1)
    assert list(Route.objects.order_by("priority").values_list("upstream__name", "upstream_model", "priority")) == [
        ("box", "echo", 3),
        ("theirs", "a", 4),
    ]
    assert RouteCost.objects.get().input == 10**9


def test_a_model_that_waits_for_its_price_is_not_joined(operator: Client, provider: Upstream) -> None:
    CatalogModel.objects.create(public_id="house/a", display_name="A", context_window=9)
    answer = operator.post(page_of(provider), picks({"joins": "on"}))
    assert "has no price yet" in errors_in(answer)
    assert not Route.objects.exists()


def test_a_free_model_needs_no_price(operator: Client, provider: Upstream) -> None:
    operator.post(page_of(provider), picks({"is_free": "on", "price_input": "", "price_output": ""}))
    assert load_snapshot().models["house/a"].is_free


def test_an_upstream_that_gives_no_list_is_told_with_what_to_do(operator: Client, provider: Upstream) -> None:
    for override, said in (
        ((401, b'{"error": {"message": "wrong key sk-right"}}'), "It refuses the credential."),
        ((302, b""), "does not answer as this protocol does"),
        ((200, b"<html>"), "does not answer as this protocol does"),
    ):
        Provider.override = override
        answer = operator.post(page_of(provider), {"_ask": "x"})
        assert said in answer.text
        assert "sk-right" not in answer.text
    provider.allow_private_network = False
    provider.save()
    assert "set allow_private_network" in operator.post(page_of(provider), {"_ask": "x"}).text


def test_names_from_outside_are_shown_escaped(operator: Client, provider: Upstream) -> None:
    told({"id": '<script>alert("x")</script>', "name": "<b>bold</b>"})
    text = operator.post(page_of(provider), {"_ask": "x"}).text
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "&lt;script&gt;" in text


def test_ticks_that_no_page_made_are_ignored(operator: Client, provider: Upstream) -> None:
    told({"id": "a"})
    for sent in ("", "{}", "[1,2,3,4,5]", "[", "null", '["a"]', "[" * 5000):
        answer = operator.post(page_of(provider), {"_choose": "x", "model": [sent]})
        assert answer.status_code == 200
        assert "Tick the models" in answer.text


def test_more_than_fits_on_a_page_is_told(operator: Client, provider: Upstream) -> None:
    ticks = [json.dumps([f"m{number}", "", False, None, None]) for number in range(45)]
    answer = operator.post(page_of(provider), {"_choose": "x", "model": ticks})
    assert "40 at a time" in answer.text
    assert 'value="40" id="id_pick-TOTAL_FORMS"' in answer.text


def test_only_who_may_change_upstreams_and_add_models_gets_there(provider: Upstream) -> None:
    some = ["gateway.view_upstream", "gateway.change_upstream", "gateway.add_catalogmodel"]
    for permissions, status in ((some, 403), ([*some, "gateway.add_route"], 200)):
        client = staff(*permissions)
        assert client.get(page_of(provider)).status_code == status
        assert client.post(page_of(provider), picks({})).status_code == (403 if status == 403 else 302)
        shown = client.get(reverse("admin:gateway_upstream_change", args=[provider.pk])).text
        assert (page_of(provider) in shown) is (status == 200)


def test_an_upstream_that_is_not_there_leads_to_the_list(operator: Client) -> None:
    answer = operator.get("/admin/gateway/upstream/999/import/")
    assert answer["Location"] == reverse("admin:gateway_upstream_changelist")


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_the_upstream_is_asked(
    operator: Client, provider: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_blocks: list[bool] = []

    def watched(_: Upstream) -> ModelList:
        open_blocks.append(connection.in_atomic_block)
        return ModelList()

    monkeypatch.setattr("gateway.admin.model_import.models_of", watched)
    operator.post(page_of(provider), {"_ask": "x"})
    assert open_blocks == [False]
