"""The catalog as the request path reads it: everything that can be called, in five queries.

Fails closed, entry by entry: an upstream whose credential does not open, and a paid model without a price, are left out
with an error in the log; the rest of the catalog stays in service.
"""

import logging
from collections import defaultdict

from django.conf import settings

from billing.rating import Rates
from gateway.models import CatalogModel, Price, Route, RouteCost, Upstream
from gateway.types import CatalogSnapshot, ModelInfo, RouteInfo, UpstreamInfo
from lumyx.lib.crypto import SecretError, unseal

logger = logging.getLogger(__name__)

#: What upstream credentials are sealed for (lumyx.lib.crypto); the row is the upstream's name.
CREDENTIAL_PURPOSE = "upstream-credential"


def credential_of(upstream: Upstream) -> str:
    """Return the plain credential of an upstream, or "" when it has none. Never log it. Raises SecretError."""
    if not upstream.credential:
        return ""
    return unseal(
        bytes(upstream.credential),
        master=settings.LUMYX_ENCRYPTION_KEY,
        purpose=CREDENTIAL_PURPOSE,
        row=upstream.name,
    )


def upstream_info(upstream: Upstream, *, with_credential: bool = True) -> UpstreamInfo:
    """Return an upstream as adapters need it, its credential decrypted. Raises SecretError."""
    return UpstreamInfo(
        id=upstream.pk,
        name=upstream.name,
        provider=upstream.provider,
        protocol=upstream.protocol,
        base_url=upstream.base_url,
        credential=credential_of(upstream) if with_credential else "",
        allow_private_network=upstream.allow_private_network,
        connect_timeout=upstream.connect_timeout,
        first_byte_timeout=upstream.first_byte_timeout,
        idle_timeout=upstream.idle_timeout,
        total_timeout=upstream.total_timeout,
    )


def rates_of(price: Price | RouteCost) -> Rates:
    """Return the rates of a price or a cost in nano-USD per million tokens."""
    return Rates(input=price.input, output=price.output, cache_read=price.cache_read, cache_write=price.cache_write)


def current_prices() -> dict[int, Price]:
    """Return the newest price of every model that has one, by the model's row id."""
    newest = Price.objects.order_by("model_id", "-version").distinct("model_id")
    return {price.model_id: price for price in newest}


def current_costs() -> dict[int, RouteCost]:
    """Return the newest cost of every route that has one, by the route's row id."""
    newest = RouteCost.objects.order_by("route_id", "-version").distinct("route_id")
    return {cost.route_id: cost for cost in newest}


def load_snapshot(*, with_credentials: bool = True) -> CatalogSnapshot:
    """Return every enabled model with its current price and its enabled routes, in order of priority.

    A model without a route is there, with none: a call of it is an outage, not an unknown model. Pages that only list models
    leave the credentials closed (``with_credentials=False``).
    """
    upstreams = _enabled_upstreams(with_credentials=with_credentials)
    costs = current_costs()
    routes: dict[int, list[RouteInfo]] = defaultdict(list)
    for route in Route.objects.filter(is_enabled=True).order_by("priority", "-weight", "id"):
        if upstream := upstreams.get(route.upstream_id):
            routes[route.model_id].append(_route_info(route, upstream, costs.get(route.pk)))
    prices = current_prices()
    models: dict[str, ModelInfo] = {}
    for model in CatalogModel.objects.filter(is_enabled=True).order_by("public_id"):
        price = prices.get(model.pk)
        if price is None and not model.is_free:
            logger.error("The model %s is left out of the catalog: it is not free and has no price.", model.public_id)
            continue
        models[model.public_id] = _model_info(model, price, tuple(routes[model.pk]))
    return CatalogSnapshot(models=models)


def _enabled_upstreams(*, with_credentials: bool) -> dict[int, UpstreamInfo]:
    found: dict[int, UpstreamInfo] = {}
    for upstream in Upstream.objects.filter(is_enabled=True):
        try:
            found[upstream.pk] = upstream_info(upstream, with_credential=with_credentials)
        except SecretError:
            logger.error(
                "The upstream %s is left out of the catalog: its credential does not open with this "
                "LUMYX_ENCRYPTION_KEY. Set the credential again.",
                upstream.name,
            )
    return found


def _route_info(route: Route, upstream: UpstreamInfo, cost: RouteCost | None) -> RouteInfo:
    return RouteInfo(
        upstream=upstream,
        upstream_model=route.upstream_model,
        priority=route.priority,
        weight=route.weight,
        cost=None if cost is None else rates_of(cost),
        cost_id=None if cost is None else cost.pk,
    )


def _model_info(model: CatalogModel, price: Price | None, routes: tuple[RouteInfo, ...]) -> ModelInfo:
    # A free model costs nothing whatever an old price row says.
    rates = Rates(input=0, output=0) if model.is_free or price is None else rates_of(price)
    return ModelInfo(
        public_id=model.public_id,
        display_name=model.display_name,
        description=model.description,
        kind=model.kind,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        tags=tuple(model.tags),
        supports_streaming=model.supports_streaming,
        is_free=model.is_free,
        created=int(model.created_at.timestamp()),
        price_id=price.pk if price else None,
        rates=rates,
        routes=routes,
    )
