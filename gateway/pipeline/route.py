"""Stage 3: in which order to try the upstreams of a model. Lower priority first; among equals drawn by weight."""

import random
from collections.abc import Sequence

from gateway.types import RouteInfo


def order_routes(routes: Sequence[RouteInfo], *, draw: random.Random | None = None) -> list[RouteInfo]:
    """Return all routes in the order in which to try them.

    Args:
        routes: enabled routes of one model.
        draw: source of chance (tests give a seeded one).
    """
    if len(routes) == 1:
        return list(routes)
    chance = draw or random
    # Weighted order without replacement (Efraimidis and Spirakis): the largest u^(1/w) goes first; weight 0 goes last.
    keyed = [
        (route.priority, -(chance.random() ** (1 / route.weight)) if route.weight else 0.0, route) for route in routes
    ]
    keyed.sort(key=lambda item: item[:2])
    return [route for _, _, route in keyed]
