"""What is exported can be applied: it changes nothing here, and makes the same catalog elsewhere, but for the secrets."""

import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.models import CatalogModel, Price, Route, Upstream
from gateway.selectors.catalog import credential_of, load_snapshot
from gateway.selectors.catalog_file import catalog_data, catalog_toml
from gateway.services.catalog import apply_catalog
from tests.gateway.test_catalog_apply import FILE, SECRET

pytestmark = pytest.mark.django_db


def test_an_export_applied_again_changes_nothing_and_keeps_the_credential() -> None:
    apply_catalog(FILE)
    text = catalog_toml(catalog_data())
    assert apply_catalog(tomllib.loads(text), prune=True).changes_nothing
    assert credential_of(Upstream.objects.get(name="openai")) == SECRET


def test_an_export_holds_no_secret() -> None:
    apply_catalog(FILE)
    text = catalog_toml(catalog_data())
    assert SECRET not in text
    assert "credential" not in text


def test_an_empty_catalog_can_be_exported() -> None:
    assert apply_catalog(tomllib.loads(catalog_toml(catalog_data()))).changes_nothing


def test_what_is_switched_off_is_exported_as_such() -> None:
    apply_catalog(FILE)
    for table in (Upstream, CatalogModel, Route):
        table.objects.update(is_enabled=False)
    data = tomllib.loads(catalog_toml(catalog_data()))
    Route.objects.all().delete()
    CatalogModel.objects.all().delete()
    Upstream.objects.all().delete()
    apply_catalog(data)
    for table in (Upstream, CatalogModel, Route):
        assert set(table.objects.values_list("is_enabled", flat=True)) == {False}


def test_a_paid_model_that_has_no_price_yet_is_not_exported() -> None:
    apply_catalog(FILE)
    Price.objects.filter(model__public_id="plus").delete()
    data = catalog_data()
    assert [model["id"] for model in data["models"]] == ["gratis"]
    assert apply_catalog(data).changes_nothing


# --- any catalog ------------------------------------------------------------------------------------------------------

slugs = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(str.strip)
prices = st.decimals(0, 1_000_000, places=9, allow_nan=False).map(lambda amount: f"{amount:f}")
sometimes = st.one_of(st.none(), st.booleans())


def without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Drop the keys that the drawn file does not name."""
    return {key: value for key, value in table.items() if value is not None}


@st.composite
def upstreams(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draw an upstream."""
    table = {
        "name": name,
        "provider": draw(slugs),
        "protocol": draw(st.sampled_from(["sandbox", "openai_chat"])),
        "idle_timeout": draw(st.one_of(st.none(), st.floats(0.001, 3600), st.integers(1, 3600))),
        "total_timeout": draw(st.one_of(st.none(), st.floats(0.001, 3600))),
        "enabled": draw(sometimes),
    }
    if table["protocol"] == "openai_chat":
        private = draw(st.booleans())
        table["allow_private_network"] = private
        table["base_url"] = "http://127.0.0.1:8000/v1" if private else "https://api.example.com/v1"
        table["credential"] = draw(st.one_of(st.none(), st.from_regex(r"[!-~]{1,30}", fullmatch=True)))
    return without_none(table)


@st.composite
def rates(draw: st.DrawFn) -> dict[str, str]:
    """Draw a price or a cost."""
    return without_none(
        {
            "input": draw(prices),
            "output": draw(prices),
            "cache_read": draw(st.one_of(st.none(), prices)),
            "cache_write": draw(st.one_of(st.none(), prices)),
        }
    )


@st.composite
def models(draw: st.DrawFn, public_id: str, names: list[str]) -> dict[str, Any]:
    """Draw a model with a price and routes to upstreams of the file."""
    context = draw(st.integers(1, 2**31 - 1))
    is_chat, is_free = draw(st.booleans()), draw(st.booleans())
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), printable), unique=True, max_size=3))
    streams = draw(sometimes)
    table: dict[str, Any] = {
        "id": public_id,
        "display_name": draw(st.one_of(st.none(), printable)),
        "description": draw(st.one_of(st.none(), texts)),
        "kind": "chat" if is_chat else "embedding",
        "context_window": context,
        "max_output_tokens": draw(st.one_of(st.none(), st.integers(1, context))) if is_chat else None,
        "tags": draw(st.lists(st.sampled_from(["vision", "tools", "x-1"]), unique=True)),
        "supports_streaming": streams,
        "free": is_free,
        "enabled": draw(sometimes),
        "routes": [
            without_none(
                {
                    "upstream": upstream,
                    "model": model,
                    "priority": draw(st.one_of(st.none(), st.integers(0, 32767))),
                    "weight": draw(st.one_of(st.none(), st.integers(1, 2**31 - 1))),
                    "enabled": draw(sometimes),
                    "cost": draw(st.one_of(st.none(), rates())),
                }
            )
            for upstream, model in pairs
        ],
    }
    if not is_free:
        table["price"] = draw(rates())
    return without_none(table)


@st.composite
def catalogs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a whole catalog file that is valid."""
    names = draw(st.lists(slugs, min_size=1, max_size=3, unique=True))
    ids = draw(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,30}", fullmatch=True), max_size=4, unique=True))
    return {
        "upstreams": [draw(upstreams(name)) for name in names],
        "models": [draw(models(public_id, names)) for public_id in ids],
    }


# Without shrinking: it would take minutes against a database, and the examples are small anyway.
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=catalogs(), second=catalogs())
def test_any_catalog_survives_export_and_application_whatever_was_there_before(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    apply_catalog(first, prune=True)
    apply_catalog(second, prune=True)
    assert apply_catalog(second, prune=True).changes_nothing, "applying twice changes nothing"
    names = {upstream["name"] for upstream in second["upstreams"]}
    assert set(Upstream.objects.values_list("name", flat=True)) == names
    assert set(CatalogModel.objects.values_list("public_id", flat=True)) == {model["id"] for model in second["models"]}

    exported = tomllib.loads(catalog_toml(catalog_data()))
    assert exported == catalog_data(), "TOML loses nothing"
    assert apply_catalog(exported, prune=True).changes_nothing
    here = load_snapshot().models

    Route.objects.all().delete()
    CatalogModel.objects.all().delete()
    assert apply_catalog(exported).created or not exported["models"]
    assert catalog_data() == exported, "elsewhere it makes the same catalog"
    assert load_snapshot().models.keys() == here.keys()
