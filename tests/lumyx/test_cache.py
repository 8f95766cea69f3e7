"""The cache: shared through Redis, and alive without it."""

import time
from typing import Any

import pytest
from django.conf import settings

from lumyx.lib.cache import FallbackCache

TIMEOUTS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}


def cache_at(url: str) -> FallbackCache:
    """Return a process's cache on a server."""
    return FallbackCache(url, {"KEY_PREFIX": "test-cache", "OPTIONS": TIMEOUTS})


def test_two_processes_share_what_redis_holds() -> None:
    one, other = cache_at(settings.REDIS_URL), cache_at(settings.REDIS_URL)
    one.set("greeting", "hello", 5)
    assert other.get("greeting") == "hello"
    assert other.add("greeting", "again", 5) is False
    assert one.delete("greeting") is True
    assert other.get("greeting") is None


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nonexistent/redis.sock"])
def test_without_redis_everything_still_works_in_memory(url: str) -> None:
    cache = cache_at(url)
    cache.clear()
    began = time.monotonic()
    answers: list[Any] = [
        cache.add("count", 1),
        cache.add("count", 9),
        cache.incr("count"),
        cache.get("count"),
        cache.has_key("count"),
        cache.touch("count", 60),
        cache.set_many({"a": 1, "b": 2}),
        cache.get_many(["a", "b", "c"]),
        cache.delete_many(["a"]),
        cache.get_or_set("d", 4),
        cache.delete("count"),
        cache.get("count", "gone"),
    ]
    assert answers == [True, False, 2, 2, True, True, [], {"a": 1, "b": 2}, None, 4, True, "gone"]
    assert time.monotonic() - began < 5
