"""The order of upstreams: priority first, then chance by weight."""

import random
from collections import Counter
from dataclasses import replace

from gateway.pipeline.route import order_routes
from tests.gateway.exchanges import make_route


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
