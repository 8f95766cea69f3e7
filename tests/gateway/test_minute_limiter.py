"""The per-minute window on a real Valkey: exact, shared, and open when Valkey is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from django.conf import settings

from gateway.limits.minute import MinuteLimiter
from lumyx.lib import clock
from lumyx.lib.ids import random_name


@pytest.fixture
async def limiter() -> AsyncIterator[MinuteLimiter]:
    """A limiter on the tests' Valkey."""
    made = MinuteLimiter(settings.REDIS_URL)
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the wall clock, so that no test runs over the end of a minute."""
    moment = clock.now().replace(second=20)
    monkeypatch.setattr("lumyx.lib.clock.now", lambda: moment)


async def test_exactly_the_limit_is_let_through_at_once(limiter: MinuteLimiter) -> None:
    subject = random_name()
    paces = await asyncio.gather(*(limiter.take(subject, limit=25) for _ in range(100)))
    allowed = [pace for pace in paces if pace.allowed]
    assert len(allowed) == 25
    assert sorted(pace.remaining for pace in allowed) == list(range(25))
    assert all(pace.reset == 40 for pace in paces)


async def test_two_processes_share_one_window(limiter: MinuteLimiter) -> None:
    other = MinuteLimiter(settings.REDIS_URL)
    subject = random_name()
    mine = await asyncio.gather(*(limiter.take(subject, limit=10) for _ in range(10)))
    theirs = await asyncio.gather(*(other.take(subject, limit=10) for _ in range(10)))
    await other.close()
    assert all(pace.allowed for pace in mine)
    assert not any(pace.allowed for pace in theirs)


async def test_refused_calls_use_nothing_up(limiter: MinuteLimiter) -> None:
    subject = random_name()
    for _ in range(5):
        await limiter.take(subject, limit=2)
    assert (await limiter.take(subject, limit=3)).remaining == 0


async def test_subjects_do_not_share(limiter: MinuteLimiter) -> None:
    assert (await limiter.take(random_name(), limit=1)).allowed
    assert (await limiter.take(random_name(), limit=1)).allowed


async def test_without_redis_this_process_keeps_the_pace_and_does_not_wait_each_time() -> None:
    away = MinuteLimiter("redis://127.0.0.1:1/0")
    began = asyncio.get_running_loop().time()
    paces = [await away.take("w1", limit=3) for _ in range(50)]
    assert sum(pace.allowed for pace in paces) == 3
    assert asyncio.get_running_loop().time() - began < 2
    await away.close()


@pytest.mark.parametrize("answer", [[], None])
async def test_an_answer_that_makes_no_sense_leaves_nobody_waiting(
    limiter: MinuteLimiter, monkeypatch: pytest.MonkeyPatch, answer: list[int] | None
) -> None:
    async def script(**_: object) -> list[int] | None:
        return answer

    monkeypatch.setattr(limiter, "_script", script)
    async with asyncio.timeout(2):
        assert (await limiter.take("w1", limit=3)).allowed
        limiter._retry_at = 0.0
        assert (await limiter.take("w1", limit=3)).allowed
