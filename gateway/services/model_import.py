"""Models from an upstream's list become models of the catalog, as if a catalog file had said so: checked alike, all or nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from gateway.models import CatalogModel, Upstream
from gateway.models.catalog import ModelKind
from gateway.selectors.catalog_file import model_data
from gateway.services.catalog import CatalogDiff, apply_catalog
from gateway.services.catalog_fields import CatalogError

#: What an entry of the file is called, and what a pick calls it.
_NAMES = {
    "id": "public_id",
    "price": "price_input",
    "price.input": "price_input",
    "price.output": "price_output",
    "routes[0]": "upstream_model",
    "routes[0].model": "upstream_model",
    "routes[0].cost.input": "cost_input",
    "routes[0].cost.output": "cost_output",
}
_PLACE = re.compile(r'models\[(\d+)\](?: ".*?")?(?:\.([^:]+))?: (.*)', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A model of an upstream's list that is wanted, and what the list cannot say. Money: US dollars per million tokens, as text."""

    upstream_model: str
    public_id: str
    display_name: str = ""
    kind: str = ModelKind.CHAT.value
    context_window: int | None = None
    max_output_tokens: int | None = None
    is_free: bool = False
    price: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, str] = field(default_factory=dict)
    #: The catalog has the model already, and is to get one more route to it; the model and its price stay.
    joins: bool = False


class ImportRefusedError(Exception):
    """Nothing was imported. ``problems`` are (number of the pick or None, its field or "", what is wrong)."""

    def __init__(self, problems: Sequence[tuple[int | None, str, str]]) -> None:
        super().__init__("Nothing was imported.")
        self.problems = list(problems)


@transaction.atomic
def import_models(upstream: Upstream, picks: Sequence[Pick]) -> CatalogDiff:
    """Add models with their prices and routes. Raises ImportRefusedError; nothing was changed then."""
    existing = {
        row.public_id: row
        for row in CatalogModel.objects.select_for_update(no_key=True).filter(
            public_id__in=[p.public_id for p in picks]
        )
    }
    entries, problems = [], list[tuple[int | None, str, str]]()
    for number, pick in enumerate(picks):
        row = existing.get(pick.public_id)
        if row is not None and not pick.joins:
            told = "The catalog has a model of this id. Choose another id, or tick that it only gets a route."
            problems.append((number, "public_id", told))
        entry = _entry(upstream, pick) if row is None else _joined(upstream, pick, row)
        if entry is None:
            problems.append((number, "public_id", "This model has no price yet. Set one on its page first."))
        entries.append(entry or {})
    if problems:
        raise ImportRefusedError(problems)
    try:
        return apply_catalog({"models": entries})
    except CatalogError as error:
        raise ImportRefusedError([_placed(problem) for problem in error.problems]) from error


def _entry(upstream: Upstream, pick: Pick) -> dict[str, Any]:
    is_chat = pick.kind == ModelKind.CHAT
    entry: dict[str, Any] = {"id": pick.public_id, "kind": pick.kind, "free": pick.is_free}
    if pick.display_name:
        entry["display_name"] = pick.display_name
    if pick.context_window is not None:
        entry["context_window"] = pick.context_window
    if is_chat:
        entry["tags"] = ["streaming"]
        if pick.max_output_tokens is not None:
            entry["max_output_tokens"] = pick.max_output_tokens
    if pick.price:
        entry["price"] = dict(pick.price)
    return {**entry, "routes": [_route(upstream, pick)]}


def _route(upstream: Upstream, pick: Pick) -> dict[str, Any]:
    return {"upstream": upstream.name, "model": pick.upstream_model, **({"cost": dict(pick.cost)} if pick.cost else {})}


def _joined(upstream: Upstream, pick: Pick, row: CatalogModel) -> dict[str, Any] | None:
    """Return the model as it is with one more route, behind those that it has; None: it has no price."""
    entry = model_data(row)
    if entry is None:
        return None
    routes: list[dict[str, Any]] = entry.get("routes", [])
    same = next((r for r in routes if (r["upstream"], r["model"]) == (upstream.name, pick.upstream_model)), None)
    last = max((int(route["priority"]) for route in routes), default=0)
    added = {"priority": min(last + 1, 32767), **(same or {}), **_route(upstream, pick)}
    return {**entry, "routes": [added, *(route for route in routes if route is not same)]}


def _placed(problem: str) -> tuple[int | None, str, str]:
    """Return a problem of a file as one of a pick's field."""
    found = _PLACE.fullmatch(problem)
    if found is None:
        return None, "", problem
    number, place, text = found.groups()
    # A pick is no file.
    text = text.replace("say free = true", "say that it is free").replace("say free = false", "say that it is not free")
    name = _NAMES.get(place or "", place or "")
    return int(number), name, text[:1].upper() + text[1:]
