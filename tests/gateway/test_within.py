"""A limit of time that costs nothing where nothing waits, and is a limit of time where something does."""

import asyncio

import pytest

from gateway.http import within


async def at_once() -> int:
    """Return without waiting."""
    return 7


async def after(seconds: float, *, value: int = 7) -> int:
    """Wait several times, then return."""
    for _ in range(3):
        await asyncio.sleep(seconds / 3)
    return value


async def test_what_does_not_wait_is_returned() -> None:
    assert await within(0.0, at_once()) == 7


async def test_what_waits_within_the_limit_is_returned() -> None:
    assert await within(2.0, after(0.03)) == 7


async def test_what_waits_longer_is_ended() -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await within(0.02, slow())
    assert ended.is_set()


async def test_errors_come_through_at_once_and_later() -> None:
    async def fail(seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        raise ValueError("no")

    for seconds in (0.0, 0.01):
        with pytest.raises(ValueError, match="no"):
            await within(2.0, fail(seconds))


async def test_a_cancellation_reaches_the_work_which_may_catch_it() -> None:
    seen: list[str] = []

    async def careful() -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0.01)
            raise
        return 1

    task = asyncio.create_task(within(60.0, careful()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_many_at_once_do_not_mix() -> None:
    results = await asyncio.gather(*(within(5.0, after(0.001 * (number % 7), value=number)) for number in range(200)))
    assert results == list(range(200))
