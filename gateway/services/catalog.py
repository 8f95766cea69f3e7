"""Applies a catalog file: additive by name, idempotent, all or nothing; prices and costs get new versions, never edits."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from billing.rating import Rates
from gateway.models import CatalogModel, Route, Upstream
from gateway.services.catalog_spec import ModelSpec, RouteSpec, UpstreamSpec, parse_catalog
from gateway.services.credentials import set_credential
from gateway.services.prices import set_price, set_route_cost

#: Key of the advisory lock that lets one catalog be applied at a time.
_LOCK = 0x6C756D78


@dataclass(frozen=True, slots=True)
class CatalogDiff:
    """What an application of a catalog did, as lines such as "model sandbox/echo"."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def changes_nothing(self) -> bool:
        """Whether everything was as the file says."""
        return not (self.created or self.updated or self.removed)

    def note(self, what: str, *, created: bool = False, updated: bool = False) -> None:
        """Write down what became of one row."""
        (self.created if created else self.updated if updated else self.unchanged).append(what)


def apply_catalog(
    data: Mapping[str, Any], *, prune: bool = False, environ: Mapping[str, str] = os.environ
) -> CatalogDiff:
    """Make the catalog say what a file says.

    Args:
        data: the parsed TOML; the format is in docs/operations.md.
        prune: also remove upstreams, models and routes that the file does not name.
        environ: where ``credential_env`` is looked up.

    Raises:
        gateway.services.catalog_fields.CatalogError: with every problem of the file; nothing was changed.
    """
    diff = CatalogDiff()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        # With prune, an upstream that only the database knows is about to go: a route to it is an error.
        known = frozenset() if prune else frozenset(Upstream.objects.values_list("name", flat=True))
        spec = parse_catalog(data, environ=environ, known_upstreams=known)
        for upstream in spec.upstreams:
            _apply_upstream(upstream, diff)
        upstream_ids = dict(Upstream.objects.values_list("name", "id"))
        for model in spec.models:
            _apply_model(model, upstream_ids, diff, prune=prune)
        if prune:
            _remove_unnamed(
                models={model.public_id for model in spec.models},
                upstreams={upstream.name for upstream in spec.upstreams},
                diff=diff,
            )
    return diff


def _assign(row: Model, values: Mapping[str, object]) -> bool:
    """Set fields; returns whether any of them changed."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return bool(changed)


def _kept(enabled: bool | None) -> dict[str, bool]:
    return {} if enabled is None else {"is_enabled": enabled}


def _apply_upstream(spec: UpstreamSpec, diff: CatalogDiff) -> None:
    row = Upstream.objects.filter(name=spec.name).first() or Upstream(name=spec.name)
    is_new = row.pk is None
    changed = _assign(
        row,
        {
            "provider": spec.provider,
            "protocol": spec.protocol,
            "base_url": spec.base_url,
            "allow_private_network": spec.allow_private_network,
            **spec.timeouts,
            **_kept(spec.enabled),
        },
    )
    if spec.credential is not None:
        changed |= set_credential(row, spec.credential)
    if is_new or changed:
        row.save()
    diff.note(f"upstream {spec.name}", created=is_new, updated=changed)


def _apply_model(spec: ModelSpec, upstream_ids: Mapping[str, int], diff: CatalogDiff, *, prune: bool) -> None:
    row = CatalogModel.objects.filter(public_id=spec.public_id).first() or CatalogModel(public_id=spec.public_id)
    is_new = row.pk is None
    changed = _assign(
        row,
        {
            "display_name": spec.display_name,
            "description": spec.description,
            "kind": spec.kind,
            "context_window": spec.context_window,
            "max_output_tokens": spec.max_output_tokens,
            "tags": list(spec.tags),
            "supports_streaming": spec.supports_streaming,
            "is_free": spec.is_free,
            **_kept(spec.enabled),
        },
    )
    if is_new or changed:
        row.save()
    diff.note(f"model {spec.public_id}", created=is_new, updated=changed)
    price, is_new_version = set_price(row, rates=Rates(**asdict(spec.price)))
    diff.note(
        f"price {spec.public_id} v{price.version}",
        created=is_new_version and price.version == 1,
        updated=is_new_version,
    )
    kept = {_apply_route(row, route, upstream_ids[route.upstream], diff) for route in spec.routes}
    if prune:
        for route in row.routes.exclude(pk__in=kept).select_related("upstream"):
            diff.removed.append(_route_name(spec.public_id, route.upstream.name, route.upstream_model))
            route.delete()


def _route_name(model: str, upstream: str, upstream_model: str) -> str:
    return f"route {model} → {upstream}: {upstream_model}"


def _apply_route(model: CatalogModel, spec: RouteSpec, upstream_id: int, diff: CatalogDiff) -> int:
    key = {"model": model, "upstream_id": upstream_id, "upstream_model": spec.upstream_model}
    row = Route.objects.filter(**key).first() or Route(**key)
    is_new = row.pk is None
    changed = _assign(row, {"priority": spec.priority, "weight": spec.weight, **_kept(spec.enabled)})
    if is_new or changed:
        row.save()
    name = _route_name(model.public_id, spec.upstream, spec.upstream_model)
    diff.note(name, created=is_new, updated=changed)
    if spec.cost is not None:
        cost, is_new_version = set_route_cost(row, rates=Rates(**asdict(spec.cost)))
        diff.note(
            f"cost of {name} v{cost.version}",
            created=is_new_version and cost.version == 1,
            updated=is_new_version,
        )
    return row.pk


def _remove_unnamed(*, models: set[str], upstreams: set[str], diff: CatalogDiff) -> None:
    """Delete what the file does not name. Usage events keep plain ids, so the past stays readable."""
    for model in CatalogModel.objects.exclude(public_id__in=models):
        diff.removed.append(f"model {model.public_id}")
        model.delete()
    # Models of the file route to upstreams of the file only, so nothing points at these any more.
    for upstream in Upstream.objects.exclude(name__in=upstreams):
        diff.removed.append(f"upstream {upstream.name}")
        upstream.delete()
