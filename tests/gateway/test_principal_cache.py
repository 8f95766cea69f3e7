"""The cache of principals: one load a digest, nothing stale, unknown keys never kept."""

import asyncio
from dataclasses import replace

from gateway.store.principals import PrincipalCache
from gateway.types import Principal
from tests.gateway.exchanges import PRINCIPAL

ALICE = PRINCIPAL


class Rows:
    """A table of principals that answers when told, and counts how often it is asked."""

    def __init__(self, row: Principal | None) -> None:
        self.row = row
        self.asked = 0
        self.pending: list[asyncio.Future[Principal | None]] = []

    def read(self, digest: bytes) -> "asyncio.Future[Principal | None]":
        self.asked += 1
        future: asyncio.Future[Principal | None] = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        return future

    def answer(self) -> None:
        for future in self.pending:
            future.set_result(self.row)
        self.pending.clear()


async def _load(cache: PrincipalCache, rows: Rows) -> Principal | None:
    task = asyncio.create_task(cache.load(b"d", rows.read))
    await asyncio.sleep(0)
    rows.answer()
    return await task


async def test_a_hundred_askers_load_one_row_once() -> None:
    cache, rows = PrincipalCache(), Rows(ALICE)
    tasks = [asyncio.create_task(cache.load(b"d", rows.read)) for _ in range(100)]
    await asyncio.sleep(0)
    rows.answer()
    assert await asyncio.gather(*tasks) == [ALICE] * 100
    assert rows.asked == 1
    assert cache.get(b"d") == ALICE


async def test_one_asker_that_leaves_does_not_disturb_the_others() -> None:
    cache, rows = PrincipalCache(), Rows(ALICE)
    leaving, staying = (asyncio.create_task(cache.load(b"d", rows.read)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    rows.answer()
    assert await staying == ALICE


async def test_an_unknown_key_is_asked_for_again() -> None:
    cache, rows = PrincipalCache(), Rows(None)
    assert await _load(cache, rows) is None
    rows.row = ALICE
    assert await _load(cache, rows) == ALICE


async def test_a_row_that_changed_while_it_was_read_is_not_kept() -> None:
    cache, rows = PrincipalCache(), Rows(ALICE)
    task = asyncio.create_task(cache.load(b"d", rows.read))
    await asyncio.sleep(0)
    cache.drop(lambda principal: principal.api_key_id == 1)
    rows.answer()
    assert await task == ALICE
    assert cache.get(b"d") is None


async def test_a_change_drops_whom_it_names_and_nobody_else() -> None:
    cache, rows = PrincipalCache(), Rows(ALICE)
    await _load(cache, rows)
    rows.row = replace(ALICE, api_key_id=2)
    other = asyncio.create_task(cache.load(b"e", rows.read))
    await asyncio.sleep(0)
    rows.answer()
    await other
    cache.drop(lambda principal: principal.api_key_id == 2)
    assert cache.get(b"d") == ALICE
    assert cache.get(b"e") is None


async def test_an_entry_ends_with_its_lifetime() -> None:
    cache, rows = PrincipalCache(), Rows(ALICE)
    cache.lifetime = -1.0
    await _load(cache, rows)
    assert cache.get(b"d") is None
