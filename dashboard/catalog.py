"""The catalog as the public pages show it: what is listed, found and in which order. Reads rows anew for every page."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.http import QueryDict

from gateway.selectors.catalog import load_snapshot
from gateway.types import ModelInfo

#: Tags with a meaning of their own come first, in this order; others follow by name.
TAG_ORDER = ("streaming", "vision", "tools", "reasoning", "uncensored")
SORTS = {"name": "Name", "price": "Price", "context": "Context"}
MAX_QUERY = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """What a visitor asked of the catalog; every field comes from the address, so that a search can be kept and sent on."""

    query: str = ""
    tags: tuple[str, ...] = ()
    free: bool = False
    sort: str = "name"

    @property
    def are_set(self) -> bool:
        """Whether anything is narrowed."""
        return bool(self.query or self.tags or self.free)


def filters_from(params: QueryDict) -> Filters:
    """Read the filters from an address. What is not understood is left out, so that an old link still shows a page."""
    sort = params.get("sort", "name")
    return Filters(
        query=params.get("q", "").strip()[:MAX_QUERY].replace("\x00", ""),
        tags=tuple(dict.fromkeys(tag for tag in params.getlist("tag") if tag)),
        free=params.get("free") == "1",
        sort=sort if sort in SORTS else "name",
    )


def listed_models() -> list[ModelInfo]:
    """Return what the catalog shows: every model that has a route; sandbox models only where the installation opens them."""
    shows_sandbox = settings.LUMYX_SANDBOX == "open"
    models = load_snapshot(with_credentials=False).models.values()
    return [model for model in models if model.routes and (shows_sandbox or not model.is_sandbox)]


def matching(models: Iterable[ModelInfo], filters: Filters) -> list[ModelInfo]:
    """Return the models that match all filters, sorted; ties are by name, so that the order never changes by itself."""
    words = filters.query.lower().split()
    found = [
        model
        for model in models
        if all(word in _searchable(model) for word in words)
        and set(filters.tags) <= set(model.tags)
        and (model.is_free or not filters.free)
    ]
    found.sort(key=lambda model: (model.display_name.lower(), model.public_id))
    if filters.sort == "price":
        found.sort(key=lambda model: (model.rates.input + model.rates.output, model.rates.input))
    elif filters.sort == "context":
        found.sort(key=lambda model: -model.context_window)
    return found


def showcase(models: Iterable[ModelInfo], *, length: int) -> list[ModelInfo]:
    """Return the models to show first to a newcomer: real ones before test ones, chat before the rest, the house's own first."""
    return sorted(models, key=lambda model: (_is_for_tests(model), model.kind != "chat", model.display_name.lower()))[
        :length
    ]


def _is_for_tests(model: ModelInfo) -> bool:
    # The sandbox's models have its name before a slash; documentation samples on the sandbox do not.
    return model.is_sandbox and model.public_id.startswith("sandbox/")


def tags_of(models: Iterable[ModelInfo]) -> list[str]:
    """Return every tag in use, the documented ones first."""
    used = Counter(tag for model in models for tag in model.tags)
    known = [tag for tag in TAG_ORDER if tag in used]
    return known + sorted(set(used) - set(TAG_ORDER))


def _searchable(model: ModelInfo) -> str:
    return f"{model.display_name} {model.public_id} {model.description} {' '.join(model.tags)}".lower()
