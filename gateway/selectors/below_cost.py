"""Where a model's price is below what its upstream charges, and where nobody has entered what an upstream charges."""

from collections.abc import Iterator
from dataclasses import dataclass

from billing.rating import Rates
from gateway.models import Route
from gateway.selectors.catalog import current_costs, current_prices, rates_of
from lumyx.lib.money import nano_to_usd


@dataclass(frozen=True, slots=True)
class BelowCost:
    """A token class that is sold below its cost on a route; ``price`` and ``cost`` in nano-USD per million tokens."""

    model: str
    upstream: str
    upstream_model: str
    token_class: str
    price: int
    cost: int

    def __str__(self) -> str:
        what = f"{self.model}: {self.token_class} is sold at ${nano_to_usd(self.price)} per million tokens"
        return f"{what} and costs ${nano_to_usd(self.cost)} at {self.upstream} ({self.upstream_model})."


def sold_below_cost() -> list[BelowCost]:
    """Return every such class of what can be called now. Free models are left out: they are given away on purpose."""
    prices, costs = current_prices(), current_costs()
    return [
        BelowCost(route.model.public_id, route.upstream.name, route.upstream_model, token_class, price, cost)
        for route in _routes()
        if not route.model.is_free and route.pk in costs and route.model_id in prices
        for token_class, price, cost in _gaps(rates_of(prices[route.model_id]), rates_of(costs[route.pk]))
    ]


def routes_without_cost() -> list[Route]:
    """Return the routes that can be called now and have no cost: what goes there has no known margin."""
    costs = current_costs()
    return [route for route in _routes() if route.pk not in costs]


def _routes() -> Iterator[Route]:
    rows = Route.objects.filter(is_enabled=True, model__is_enabled=True, upstream__is_enabled=True)
    yield from rows.select_related("model", "upstream").order_by("model__public_id", "priority", "-weight", "id")


def _gaps(price: Rates, cost: Rates) -> Iterator[tuple[str, int, int]]:
    pairs = [("input", price.input, cost.input), ("output", price.output, cost.output)]
    for name in ("cache_read", "cache_write"):
        sold, bought = getattr(price, name), getattr(cost, name)
        # Where neither says anything, both are as input, which was compared.
        if sold is not None or bought is not None:
            pairs.append((name, price.input if sold is None else sold, cost.input if bought is None else bought))
    yield from ((name, sold, bought) for name, sold, bought in pairs if sold < bought)
