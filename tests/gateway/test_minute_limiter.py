"""The per-minute window on a real Valkey: exact, shared, and open when Valkey is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio as redis
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


async def test_room_is_known_from_the_last_answer_of_this_minute(limiter: MinuteLimiter) -> None:
    subject = random_name()
    rooms = []
    for _ in range(4):
        asked = limiter.ask(subject, limit=6)
        rooms.append(asked.has_room)
        await asked.answer()
    assert rooms == [False, True, True, False]


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


@pytest.mark.parametrize(
    "answer", [b"*0\r\n", b"+OK\r\n", b":1\r\n", b"*1\r\n$-1\r\n", b"-ERR no\r\n", b"what?\r\n", b""]
)
async def test_an_answer_that_makes_no_sense_leaves_nobody_waiting(answer: bytes) -> None:
    async with fake_redis(answer) as url:
        away = MinuteLimiter(url)
        async with asyncio.timeout(2):
            assert (await away.take("w1", limit=3)).allowed
            away._retry_at = 0.0
            assert (await away.take("w1", limit=3)).allowed
        await away.close()


@asynccontextmanager
async def fake_redis(answer: bytes) -> AsyncIterator[str]:
    """Serve the same answer to everything; nothing at all for an empty one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        await asyncio.sleep(0.7)
        writer.write(b"*1\r\n:-3\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        slow = MinuteLimiter(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        assert (await slow.take("w1", limit=3)).allowed  # after the time-out, by this process alone
        slow._retry_at = 0.0
        assert (await slow.take("w1", limit=3)).allowed
        await slow.close()


async def test_scripts_that_redis_forgot_are_sent_again(limiter: MinuteLimiter) -> None:
    subject = random_name()
    client = redis.Redis.from_url(settings.REDIS_URL)
    assert (await limiter.take(subject, limit=2)).remaining == 1
    await client.script_flush()
    assert (await limiter.take(subject, limit=2)).remaining == 0
    assert not (await limiter.take(subject, limit=2)).allowed
    await client.aclose()
    assert limiter._retry_at == 0.0


async def test_a_connection_that_redis_closed_is_made_anew(limiter: MinuteLimiter) -> None:
    subject = random_name()
    client = redis.Redis.from_url(settings.REDIS_URL)
    await limiter.take(subject, limit=3)
    await client.client_kill_filter(_id=str(await _connection_of(limiter)))
    await asyncio.sleep(0.05)
    assert (await limiter.take(subject, limit=3)).remaining == 1
    await client.aclose()


async def _connection_of(limiter: MinuteLimiter) -> object:
    number: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    assert limiter._line is not None
    limiter._line.ask("CLIENT", "ID", done=number.set_result)
    return await number


async def test_who_has_just_asked_is_answered_when_the_limiter_closes(limiter: MinuteLimiter) -> None:
    asked = limiter.ask(random_name(), limit=2)
    await limiter.close()
    assert (await asyncio.wait_for(asked.answer(), 0.1)).allowed
    await asyncio.sleep(0)
    assert limiter._line is None
