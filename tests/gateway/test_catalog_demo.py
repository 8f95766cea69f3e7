"""The demo catalog: it can be applied, holds what the documentation's samples name, and shows the contract's row."""

import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from django.conf import settings

from gateway.protocols.model_list import catalog_view, list_view
from gateway.selectors.catalog import load_snapshot
from gateway.services.catalog import apply_catalog
from gateway.types import CatalogSnapshot
from tests.contract import MODEL_LIST

pytestmark = pytest.mark.django_db
DEMO = Path(settings.BASE_DIR) / "gateway" / "demo" / "catalog.toml"

BEHAVIOURS = (
    "echo",
    "paid",
    "slow",
    "tool-call",
    "three-tool-calls",
    "reasoning",
    "json-schema",
    "vision",
    "embedding",
    "error-before-first-byte",
    "error-mid-stream",
    "no-usage",
)


@pytest.fixture
def demo() -> CatalogSnapshot:
    """Apply the demo catalog, as `make run` does."""
    apply_catalog(tomllib.loads(DEMO.read_text()))
    return load_snapshot()


def test_the_row_of_the_documentation_is_exactly_the_contracts(demo: CatalogSnapshot) -> None:
    (promised,) = json.loads(MODEL_LIST)["data"]
    answer = json.loads(msgspec.json.encode(list_view(list(demo.models.values()))))
    (shown,) = [model for model in answer["data"] if model["id"] == promised["id"]]
    assert answer["object"] == "list"
    assert shown["_meta"] == promised["_meta"], "the owner's fields, no others, and the same values"
    assert {key: shown[key] for key in promised} == promised


def test_the_samples_models_are_there_on_the_sandbox(demo: CatalogSnapshot) -> None:
    for name in ("lumyx-plus_v1", "embedding-model-id", "vision-model-id", "tool-capable-model"):
        assert demo.models[name].is_sandbox
    assert demo.models["embedding-model-id"].kind == "embedding"
    assert "vision" in demo.models["vision-model-id"].tags
    assert "tools" in demo.models["tool-capable-model"].tags


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_of_the_sandbox_has_a_model(demo: CatalogSnapshot, behaviour: str) -> None:
    model = demo.models[f"sandbox/{behaviour}"]
    assert [route.upstream_model for route in model.routes] == [behaviour]
    assert model.is_free is (behaviour == "echo")
    assert (model.kind == "embedding") is (behaviour == "embedding")
    assert (model.rates.input == 0) is model.is_free
    assert (model.rates.output == 0) is (model.is_free or model.kind == "embedding")
    assert model.price_id is not None


def test_a_model_answers_openai_and_anthropic_clients_at_once(demo: CatalogSnapshot) -> None:
    model = demo.models["sandbox/paid"]
    view = catalog_view(model)
    assert (view["object"], view["owned_by"], view["created"]) == ("model", "lumyx", model.created)
    assert (view["type"], view["display_name"]) == ("model", "Sandbox Paid")
    assert view["created_at"].endswith("Z")
    assert len(view["created_at"]) == len("2026-11-22T00:00:00Z")
    assert view["_meta"]["pricing"] == {
        "input": 0.5,
        "output": 1.5,
        "cacheRead": 0.05,
        "cacheWrite": 0.625,
        "free": False,
    }
    assert catalog_view(demo.models["sandbox/echo"])["_meta"]["pricing"] == {"input": 0, "output": 0, "free": True}


def test_the_list_is_one_page(demo: CatalogSnapshot) -> None:
    models = list(demo.models.values())
    page = list_view(models)
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, models[0].public_id, models[-1].public_id)
    assert len(page["data"]) == len(models) == 16
    assert list_view([]) == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_applying_the_demo_again_changes_nothing(demo: CatalogSnapshot) -> None:
    again = apply_catalog(tomllib.loads(DEMO.read_text()), prune=True)
    assert again.changes_nothing
    assert load_snapshot() == demo
