"""The order of upstreams: priority first, then chance by weight."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from gateway.errors import ApiError
from gateway.pipeline.route import order_routes, usable_routes
from gateway.protocols.generation import Generation
from gateway.types import RouteInfo
from tests.gateway.asgi import Client
from tests.gateway.exchanges import make_exchange, make_model, make_route


def test_a_lower_priority_always_goes_first() -> None:
    routes = [make_route("backup", priority=2), make_route("main", priority=1)]
    for seed in range(50):
        ordered = order_routes(routes, draw=random.Random(seed))
        assert [route.upstream.name for route in ordered] == ["main", "backup"]


def test_among_equals_the_first_is_drawn_by_weight_and_none_is_lost() -> None:
    routes = [replace(make_route("heavy"), weight=300), replace(make_route("light"), weight=100)]
    draw = random.Random(7)
    firsts: Counter[str] = Counter()
    for _ in range(4000):
        ordered = order_routes(routes, draw=draw)
        assert len(ordered) == 2
        firsts[ordered[0].upstream.name] += 1
    assert 0.70 < firsts["heavy"] / 4000 < 0.80


def test_weight_zero_is_the_last_resort() -> None:
    routes = [replace(make_route("never first"), weight=0), make_route("main")]
    for seed in range(50):
        assert order_routes(routes, draw=random.Random(seed))[0].upstream.name == "main"


def of_provider(provider: str) -> RouteInfo:
    """Make a route to an upstream of a provider."""
    route = make_route(provider)
    return replace(route, upstream=replace(route.upstream, provider=provider))


def image_request(url: str) -> Generation:
    """Make a request with one image."""
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return make_exchange(Client(), messages=[{"role": "user", "content": content}]).request


def test_an_image_by_url_goes_only_to_upstreams_that_fetch_it() -> None:
    model = make_model(of_provider("ollama"), of_provider("openai"))
    routes = usable_routes(model, image_request("https://example.com/cat.jpg"))
    assert [route.upstream.provider for route in routes] == ["openai"]
    assert len(usable_routes(model, image_request("data:image/png;base64,AAAA"))) == 2


def test_an_image_by_url_that_nobody_fetches_is_refused_with_the_way_out() -> None:
    with pytest.raises(ApiError) as caught:
        usable_routes(make_model(of_provider("ollama")), image_request("https://example.com/cat.jpg"))
    assert (caught.value.status, caught.value.code) == (400, "image_url_unsupported")
    assert "data URL" in caught.value.message


def test_a_model_without_routes_is_an_outage() -> None:
    with pytest.raises(ApiError) as caught:
        usable_routes(replace(make_model(), routes=()), image_request("data:image/png;base64,AAAA"))
    assert (caught.value.status, caught.value.code) == (503, "upstream_unavailable")
