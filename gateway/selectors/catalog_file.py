"""The catalog as the data of a catalog file, and that data as TOML text. Secrets stay out."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from gateway.models import CatalogModel, Price, Route, RouteCost, Upstream
from gateway.models.catalog import Protocol
from gateway.selectors.catalog import current_costs, current_prices
from lumyx.lib.money import nano_to_usd

TIMEOUT_FIELDS = ("connect_timeout", "first_byte_timeout", "idle_timeout", "total_timeout")


def catalog_data() -> dict[str, Any]:
    """Return the whole catalog in the form of the catalog file, without credentials.

    Applied to the same database it changes nothing; applied elsewhere it lacks only the credentials. A paid model that
    has no price yet is left out: it cannot be called, and a file must not say so.
    """
    costs = current_costs()
    routes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for route in Route.objects.select_related("upstream").order_by("priority", "-weight", "id"):
        routes[route.model_id].append(_route(route, costs.get(route.pk)))
    prices = current_prices()
    return {
        "upstreams": [_upstream(row) for row in Upstream.objects.order_by("name")],
        "models": [
            _model(row, prices.get(row.pk), routes[row.pk])
            for row in CatalogModel.objects.order_by("public_id")
            if row.is_free or row.pk in prices
        ],
    }


def model_data(model: CatalogModel) -> dict[str, Any] | None:
    """Return one model in the form of the catalog file; None for a paid one without a price, which no file can say."""
    price = Price.objects.filter(model=model).order_by("-version").first()
    if price is None and not model.is_free:
        return None
    costs = current_costs()
    routes = Route.objects.filter(model=model).select_related("upstream").order_by("priority", "-weight", "id")
    return _model(model, price, [_route(route, costs.get(route.pk)) for route in routes])


def _upstream(row: Upstream) -> dict[str, Any]:
    table: dict[str, Any] = {"name": row.name, "provider": row.provider, "protocol": row.protocol}
    if row.protocol != Protocol.SANDBOX:
        table["base_url"] = row.base_url
    table["allow_private_network"] = row.allow_private_network
    table |= {name: getattr(row, name) for name in TIMEOUT_FIELDS}
    return _with_state(table, is_enabled=row.is_enabled)


def _model(row: CatalogModel, price: Price | None, routes: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {
        "id": row.public_id,
        "display_name": row.display_name,
        "description": row.description,
        "kind": row.kind,
        "context_window": row.context_window,
    }
    if row.max_output_tokens is not None:
        table["max_output_tokens"] = row.max_output_tokens
    table |= {"tags": list(row.tags), "supports_streaming": row.supports_streaming, "free": row.is_free}
    _with_state(table, is_enabled=row.is_enabled)
    if price is not None and not row.is_free:
        table["price"] = _classes(price)
    if routes:
        table["routes"] = routes
    return table


def _classes(row: Price | RouteCost) -> dict[str, str]:
    classes = {name: getattr(row, name) for name in ("input", "output", "cache_read", "cache_write")}
    return {name: nano_to_usd(value) for name, value in classes.items() if value is not None}


def _route(row: Route, cost: RouteCost | None) -> dict[str, Any]:
    table: dict[str, Any] = {
        "upstream": row.upstream.name,
        "model": row.upstream_model,
        "priority": row.priority,
        "weight": row.weight,
    }
    _with_state(table, is_enabled=row.is_enabled)
    if cost is not None:
        table["cost"] = _classes(cost)
    return table


def _with_state(table: dict[str, Any], *, is_enabled: bool) -> dict[str, Any]:
    if not is_enabled:
        table["enabled"] = False
    return table


def catalog_toml(data: Mapping[str, Any]) -> str:
    """Return catalog data as TOML; parsed again it is the same data."""
    # TOML has no empty list of tables; an empty list stands before the first table.
    lines = [f"{name} = []" for name in ("upstreams", "models") if not data[name]]
    for name in ("upstreams", "models"):
        for table in data[name]:
            lines += ["", *_table_lines(name, table)]
    return "\n".join(lines).strip() + "\n"


def _table_lines(path: str, table: Mapping[str, Any]) -> list[str]:
    """Return an entry of a list of tables: its own values first, then the tables below it."""
    below = ("price", "cost")
    lines = [f"[[{path}]]"]
    lines += [f"{key} = {_value(value)}" for key, value in table.items() if key not in {*below, "routes"}]
    for name in below:
        if name in table:
            lines += [f"[{path}.{name}]", *(f"{key} = {_value(value)}" for key, value in table[name].items())]
    for route in table.get("routes", ()):
        lines += _table_lines(f"{path}.routes", route)
    return lines


def _value(value: object) -> str:
    # TOML's strings, booleans, numbers and lists of strings are JSON's, but for a bare DEL, which JSON lets through.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
