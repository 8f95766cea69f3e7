"""Django's cache in Redis, shared by all processes. Fails soft: while Redis is away, each process uses its own memory.

What it holds (the counts of failed sign-ins, mostly) may be lost. During an outage a limit is per process, not per
installation, so it is looser by the number of processes; it never opens, and no page fails.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def _with_fallback(name: str) -> Callable[..., Any]:
    """Return the method of that name: Redis's, or on its failure the process's own memory's."""

    def method(self: "FallbackCache", *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(RedisCache, name)(self, *args, **kwargs)
        except RedisError as error:
            logger.warning("The cache in Redis cannot be used, this process's memory is: %s", error)
            return getattr(self.memory, name)(*args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"Do what RedisCache.{name} does, in memory if need be."
    return method


class FallbackCache(RedisCache):
    """A RedisCache that survives its Redis."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self.memory = LocMemCache("fallback", {**params, "OPTIONS": {}})

    add = _with_fallback("add")
    get = _with_fallback("get")
    set = _with_fallback("set")
    touch = _with_fallback("touch")
    delete = _with_fallback("delete")
    get_many = _with_fallback("get_many")
    has_key = _with_fallback("has_key")
    incr = _with_fallback("incr")
    set_many = _with_fallback("set_many")
    delete_many = _with_fallback("delete_many")
    clear = _with_fallback("clear")
