"""Stage 3: which upstreams of a model can take a request, and in which order. Lower priority first; among equals by weight."""

import random
from collections.abc import Sequence

from gateway.errors import ApiError
from gateway.protocols.generation import Generation
from gateway.types import ModelInfo, RouteInfo
from gateway.upstreams.profiles import profile_of


def usable_routes(model: ModelInfo, request: Generation) -> tuple[RouteInfo, ...]:
    """Return the routes that can take a request: an image given by its URL needs an upstream that fetches it.

    We never do. Raises ApiError 503 for a model without routes, 400 image_url_unsupported where no upstream fetches images.
    """
    if not model.routes:
        raise ApiError(503, "upstream_unavailable", f"`{model.public_id}` is not served by anyone right now.")
    if not request.has_image_urls:
        return model.routes
    routes = tuple(route for route in model.routes if profile_of(route.upstream.provider).takes_image_urls)
    if not routes:
        raise ApiError(
            400,
            "image_url_unsupported",
            f"`{model.public_id}` cannot fetch images. Send the image itself, as a data URL (data:image/png;base64,…).",
        )
    return routes


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
