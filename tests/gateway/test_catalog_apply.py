"""Catalog files: additive by name, idempotent, all or nothing; prices are versions; secrets go in and never come out."""

import copy
import logging
from typing import Any

import pytest
from django.test.utils import override_settings

from billing.rating import Rates
from gateway.models import CatalogModel, Price, Route, Upstream
from gateway.protocols.model_list import catalog_view
from gateway.selectors.catalog import credential_of, load_snapshot
from gateway.services.catalog import apply_catalog
from gateway.services.catalog_fields import CatalogError

pytestmark = pytest.mark.django_db
SECRET = "sk-very-secret-1"

FILE: dict[str, Any] = {
    "upstreams": [
        {
            "name": "openai",
            "provider": "openai",
            "protocol": "openai_chat",
            "base_url": "https://api.openai.com/v1",
            "credential": SECRET,
            "connect_timeout": 3,
            "total_timeout": 90.5,
        },
        {"name": "sandbox", "provider": "sandbox", "protocol": "sandbox"},
    ],
    "models": [
        {
            "id": "plus",
            "display_name": "Plus",
            "description": "…",
            "context_window": 1000,
            "max_output_tokens": 100,
            "tags": ["tools", "streaming"],
            "price": {"input": "0.50", "output": "1.50", "cache_read": "0.000000001"},
            "routes": [
                {"upstream": "sandbox", "model": "echo", "priority": 2},
                {"upstream": "openai", "model": "gpt-x", "weight": 7},
            ],
        },
        {"id": "gratis", "context_window": 50, "free": True, "routes": [{"upstream": "sandbox", "model": "echo"}]},
    ],
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the file with one value replaced; the path is like "models.0.price.input"."""
    data = copy.deepcopy(FILE)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = data
    for part in parents:
        place = place[part]
    place[last] = value
    return data


def test_everything_in_the_file_is_in_the_snapshot() -> None:
    diff = apply_catalog(FILE)
    assert len(diff.created) == 2 + 2 + 2 + 3
    assert diff.updated == diff.unchanged == diff.removed == []
    models = load_snapshot().models
    plus = models["plus"]
    assert (plus.display_name, plus.description, plus.kind, plus.context_window) == ("Plus", "…", "chat", 1000)
    assert (plus.max_output_tokens, plus.tags, plus.supports_streaming) == (100, ("tools", "streaming"), True)
    assert plus.rates == Rates(input=500_000_000, output=1_500_000_000, cache_read=1, cache_write=None)
    assert plus.price_id == Price.objects.get(model__public_id="plus").pk
    assert [(route.upstream.name, route.upstream_model, route.weight) for route in plus.routes] == [
        ("openai", "gpt-x", 7),
        ("sandbox", "echo", 100),
    ]
    openai = plus.routes[0].upstream
    assert (openai.base_url, openai.credential) == ("https://api.openai.com/v1", SECRET)
    assert (openai.connect_timeout, openai.first_byte_timeout, openai.total_timeout) == (3.0, 120.0, 90.5)
    assert SECRET not in repr(plus)
    gratis = models["gratis"]
    assert (gratis.is_free, gratis.rates, gratis.display_name) == (True, Rates(input=0, output=0), "gratis")
    assert gratis.price_id is not None
    assert gratis.max_output_tokens == 50, "a model that names no limit may fill its context"


def test_applying_twice_changes_nothing() -> None:
    apply_catalog(FILE)
    rows = {model: list(model.objects.order_by("pk").values()) for model in (Upstream, CatalogModel, Price, Route)}
    again = apply_catalog(FILE)
    assert again.changes_nothing
    assert len(again.unchanged) == 9
    for model, before in rows.items():
        assert list(model.objects.order_by("pk").values()) == before  # also the sealed bytes


def test_a_change_is_applied_and_named() -> None:
    apply_catalog(FILE)
    diff = apply_catalog(changed("models.0.display_name", "Plus Plus"))
    assert (diff.created, diff.updated) == ([], ["model plus"])
    assert load_snapshot().models["plus"].display_name == "Plus Plus"
    diff = apply_catalog(changed("upstreams.0.idle_timeout", 9))
    assert diff.updated == ["upstream openai", "model plus"], "and the name goes back to what this file says"
    diff = apply_catalog(changed("models.0.routes.0.weight", 3))
    assert "route plus → sandbox: echo" in diff.updated


def test_a_price_gets_a_new_version_only_when_it_changes() -> None:
    apply_catalog(FILE)
    old = Price.objects.get(model__public_id="plus")
    diff = apply_catalog(changed("models.0.price.output", "2"))
    assert diff.updated == ["price plus v2"]
    old.refresh_from_db()
    assert old.output == 1_500_000_000, "a version is never edited"
    snapshot = load_snapshot().models["plus"]
    assert (snapshot.rates.output, snapshot.price_id) == (2_000_000_000, Price.objects.get(version=2).pk)
    apply_catalog(changed("models.0.price.output", "2.0"))
    assert Price.objects.filter(model__public_id="plus").count() == 2
    apply_catalog(FILE)
    assert Price.objects.filter(model__public_id="plus").count() == 3, "going back is a change too"


def test_what_a_file_does_not_name_stays() -> None:
    apply_catalog(FILE)
    diff = apply_catalog({"models": [FILE["models"][1]]})
    assert diff.changes_nothing
    assert (Upstream.objects.count(), CatalogModel.objects.count(), Route.objects.count()) == (2, 2, 3)
    one_route = changed("models.0.routes", FILE["models"][0]["routes"][:1])
    assert apply_catalog(one_route).changes_nothing
    assert Route.objects.count() == 3


def test_only_prune_removes_what_a_file_does_not_name() -> None:
    apply_catalog(FILE)
    pruned = {"upstreams": FILE["upstreams"][1:], "models": [changed("models.0.routes.1", None)["models"][0]]}
    pruned["models"][0]["routes"].pop()
    diff = apply_catalog(pruned, prune=True)
    assert diff.removed == ["route plus → openai: gpt-x", "model gratis", "upstream openai"]
    assert not diff.updated
    assert list(Upstream.objects.values_list("name", flat=True)) == ["sandbox"]
    assert load_snapshot().models.keys() == {"plus"}
    assert apply_catalog(pruned, prune=True).changes_nothing


def test_a_route_may_name_an_upstream_of_an_earlier_file_but_not_one_that_prune_would_remove() -> None:
    apply_catalog({"upstreams": FILE["upstreams"]})
    models = {"models": FILE["models"]}
    with pytest.raises(CatalogError, match='there is no upstream "openai"'):
        apply_catalog(models, prune=True)
    assert len(apply_catalog(models).created) == 7


def test_a_credential_is_encrypted_kept_when_it_is_left_out_and_replaced_when_it_differs() -> None:
    apply_catalog(FILE)
    row = Upstream.objects.get(name="openai")
    assert SECRET.encode() not in bytes(row.credential)
    data = copy.deepcopy(FILE)
    del data["upstreams"][0]["credential"]
    assert apply_catalog(data).changes_nothing
    assert credential_of(Upstream.objects.get(name="openai")) == SECRET
    diff = apply_catalog(changed("upstreams.0.credential", "sk-other"))
    assert diff.updated == ["upstream openai"]
    assert credential_of(Upstream.objects.get(name="openai")) == "sk-other"


def test_a_credential_can_come_from_the_environment() -> None:
    data = copy.deepcopy(FILE)
    del data["upstreams"][0]["credential"]
    data["upstreams"][0]["credential_env"] = "OPENAI_API_KEY"
    with pytest.raises(CatalogError, match="the environment variable OPENAI_API_KEY is not set"):
        apply_catalog(data, environ={"OPENAI_API_KEY": " "})
    apply_catalog(data, environ={"OPENAI_API_KEY": SECRET + "\n"})
    assert credential_of(Upstream.objects.get(name="openai")) == SECRET


def test_what_an_operator_switched_off_stays_off_until_a_file_says_otherwise() -> None:
    apply_catalog(FILE)
    CatalogModel.objects.filter(public_id="plus").update(is_enabled=False)
    assert apply_catalog(FILE).changes_nothing
    assert "plus" not in load_snapshot().models
    assert apply_catalog(changed("models.0.enabled", True)).updated == ["model plus"]
    assert "plus" in load_snapshot().models


def test_disabled_upstreams_and_routes_are_not_in_the_snapshot_but_their_model_is() -> None:
    apply_catalog(FILE)
    Upstream.objects.filter(name="openai").update(is_enabled=False)
    assert [route.upstream.name for route in load_snapshot().models["plus"].routes] == ["sandbox"]
    Route.objects.update(is_enabled=False)
    assert load_snapshot().models["plus"].routes == ()


def test_a_paid_model_without_a_price_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    apply_catalog(FILE)
    Price.objects.filter(model__public_id="plus").delete()
    with caplog.at_level(logging.ERROR):
        assert load_snapshot().models.keys() == {"gratis"}
    assert "plus is left out of the catalog" in caplog.text


def test_a_credential_that_does_not_open_takes_only_its_upstream_out(caplog: pytest.LogCaptureFixture) -> None:
    apply_catalog(FILE)
    with override_settings(LUMYX_ENCRYPTION_KEY=b"x" * 32), caplog.at_level(logging.ERROR):
        assert [route.upstream.name for route in load_snapshot().models["plus"].routes] == ["sandbox"]
        assert "openai is left out" in caplog.text
        # Setting it again is the way out.
        assert apply_catalog(FILE).updated == ["upstream openai"]
        assert len(load_snapshot().models["plus"].routes) == 2


def test_a_free_model_costs_nothing_whatever_it_cost_before() -> None:
    apply_catalog(FILE)
    CatalogModel.objects.filter(public_id="plus").update(is_free=True)
    assert load_snapshot().models["plus"].rates == Rates(input=0, output=0)


def test_no_view_of_a_model_names_its_upstream() -> None:
    data = changed("upstreams.0.name", "secret-name")
    data["models"][0]["routes"][1]["upstream"] = "secret-name"
    apply_catalog(data)
    shown = repr(catalog_view(load_snapshot().models["plus"]))
    for hidden in ("secret-name", "api.openai.com", "gpt-x", SECRET):
        assert hidden not in shown


def test_the_snapshot_takes_a_few_queries_whatever_its_size(django_assert_num_queries: Any) -> None:
    apply_catalog(FILE)
    with django_assert_num_queries(5):
        load_snapshot()
