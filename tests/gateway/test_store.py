"""The door on a real PostgreSQL: caches that follow every change, admissions that leave nothing behind, settlements that last."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from accounts.models import User
from accounts.roles import Role
from accounts.services.apikeys import NewApiKey, create_api_key, revoke_api_key
from accounts.services.workspaces import suspend_workspace
from billing.selectors.ledger import balance_of, open_holds
from billing.services.tiers import set_limits
from billing.types import Admission, Settlement
from gateway.models import UsageEvent
from gateway.services.catalog import apply_catalog
from gateway.store import Store, StoreUnavailableError, UsageRecord
from gateway.types import Principal
from lumyx.lib.ids import uuid7
from lumyx.lib.prepared import Rows
from tests.factories import fund, make_api_key, make_member, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)

CATALOG: dict[str, Any] = {
    "upstreams": [{"name": "sandbox", "provider": "sandbox", "protocol": "sandbox"}],
    "models": [
        {
            "id": "first",
            "display_name": "First",
            "context_window": 1000,
            "max_output_tokens": 100,
            "free": True,
            "routes": [{"upstream": "sandbox", "model": "echo"}],
        }
    ],
}


async def in_thread[T](function: Callable[[], T]) -> T:
    """Run ORM code as a page or a command would: elsewhere, on a connection of its own."""

    def run() -> T:
        try:
            return function()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


async def eventually(check: Callable[[], Any], *, seconds: float = 3.0) -> None:
    """Wait until ``check`` is true."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


@pytest.fixture
def key() -> NewApiKey:
    """A key of a workspace with one dollar."""
    workspace = make_workspace("Test")
    fund(workspace, "1")
    return make_api_key(workspace)


@pytest.fixture
async def store(key: NewApiKey) -> AsyncIterator[Store]:
    """An open store with a loaded catalog."""
    made = Store()
    await made.open()
    async with asyncio.timeout(10):
        while not await made.ping():
            await asyncio.sleep(0.02)
    await eventually(lambda: made._admissions._link.is_up and made._settlements._link.is_up)
    yield made
    await made.close()


def admission(key: NewApiKey, *, amount: int = 1000) -> Admission:
    """Ask for a hold for the key's workspace."""
    return Admission(
        request_id=uuid7(),
        workspace_id=key.row.workspace_id,
        api_key_id=key.row.pk,
        model="first",
        amount=amount,
        floor=amount,
        ttl=600.0,
    )


async def known(store: Store, key: NewApiKey) -> Principal:
    """Return the principal, which must exist."""
    principal = await store.principal(key.secret)
    assert principal is not None
    return principal


async def test_a_key_resolves_to_its_workspace_and_tier(store: Store, key: NewApiKey) -> None:
    principal = await known(store, key)
    assert principal.workspace_id == key.row.workspace_id
    assert (principal.requests_per_minute, principal.daily_requests) == (60, 25)
    assert await store.principal("lx-" + "0" * 49) is None


async def test_a_known_key_is_not_read_again(store: Store, key: NewApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    await eventually(lambda: store._principals.lifetime > 10)
    first = await known(store, key)
    monkeypatch.setattr("gateway.store.principal_of", lambda digest: pytest.fail("it was read again"))
    assert await known(store, key) is first


async def test_a_revocation_is_seen_within_a_second(store: Store, key: NewApiKey) -> None:
    await known(store, key)
    await in_thread(lambda: revoke_api_key(workspace_id=key.row.workspace_id, prefix=key.row.prefix))
    async with asyncio.timeout(1.0):
        while not (await known(store, key)).revoked:
            await asyncio.sleep(0.01)


async def test_a_suspension_and_new_limits_are_seen_within_a_second(store: Store, key: NewApiKey) -> None:
    await known(store, key)
    workspace = key.row.workspace
    await in_thread(lambda: set_limits(workspace.pk, requests_per_minute=7))
    await in_thread(lambda: suspend_workspace(workspace.pk, reason="test"))
    async with asyncio.timeout(1.0):
        while True:
            principal = await known(store, key)
            if principal.suspended and principal.requests_per_minute == 7:
                break
            await asyncio.sleep(0.01)


async def test_a_maker_who_is_shut_out_takes_the_keys_along_within_a_second(store: Store, key: NewApiKey) -> None:
    bob = await in_thread(lambda: make_member(key.row.workspace, Role.DEVELOPER))
    made = await in_thread(lambda: create_api_key(workspace=key.row.workspace, name="bob's", created_by=bob))
    await eventually(lambda: store._principals.lifetime > 10)
    assert not (await known(store, made)).orphaned
    await in_thread(lambda: User.objects.filter(pk=bob.pk).update(is_active=False))
    async with asyncio.timeout(1.0):
        while not (await known(store, made)).orphaned:
            await asyncio.sleep(0.01)


async def test_a_changed_catalog_is_loaded(store: Store) -> None:
    assert store.catalog().models == {}
    await in_thread(lambda: apply_catalog(CATALOG))
    await eventually(lambda: "first" in store.catalog().models, seconds=1.0)


async def test_what_is_admitted_and_settled_is_in_the_books(store: Store, key: NewApiKey) -> None:
    asked = admission(key)
    admitted = await store.admit(asked)
    assert (admitted.refusal, admitted.held) == (None, 1000)
    record = UsageRecord.for_unserved(asked)
    settled = await store.settle(Settlement(asked.request_id, 400), record)
    assert (settled.charge, settled.applied) == (400, True)
    balance = await in_thread(lambda: balance_of(key.row.workspace_id))
    assert (balance.posted, balance.held) == (10**9 - 400, 0)
    event = await in_thread(lambda: UsageEvent.objects.get(pk=asked.request_id))
    assert event.charge == 400


async def test_an_open_hold_can_be_given_more_time(store: Store, key: NewApiKey) -> None:
    asked = admission(key)
    await store.admit(asked)
    (before,) = await in_thread(lambda: open_holds(key.row.workspace_id))
    await store.extend_holds([asked.request_id], ttl=7200.0)
    (after,) = await in_thread(lambda: open_holds(key.row.workspace_id))
    assert (after.expires_at - before.expires_at).total_seconds() > 600


async def test_many_at_once_are_written_in_few_transactions(
    store: Store, key: NewApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    done = store._admissions._on_done

    def counted(outcome: Rows | Exception) -> None:
        batches.append(len(store._admissions._running))
        done(outcome)

    monkeypatch.setattr(store._admissions, "_on_done", counted)
    asked = [admission(key, amount=10) for _ in range(400)]
    answers = await asyncio.gather(*map(store.admit, asked))
    assert all(answer.refusal is None for answer in answers)
    assert sum(batches) == 400
    assert len(batches) <= 20
    endings = [(Settlement(one.request_id, 5), UsageRecord.for_unserved(one)) for one in asked]
    assert {settled.charge for settled in await asyncio.gather(*(store.settle(*ending) for ending in endings))} == {5}
    assert await in_thread(lambda: UsageEvent.objects.count()) == 400
    assert (await in_thread(lambda: balance_of(key.row.workspace_id))).posted == 10**9 - 2000


class Lock:
    """Holds a workspace's wallet locked, as a hung transaction would."""

    def __init__(self, workspace_id: int) -> None:
        self._held, self._free = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, args=[workspace_id])
        self._thread.start()
        self._held.wait(5)

    def _hold(self, workspace_id: int) -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM billing_wallet WHERE workspace_id = %s FOR UPDATE", [workspace_id])
                self._held.set()
                self._free.wait(10)
        finally:
            connection.close()

    def release(self) -> None:
        """Let go."""
        self._free.set()
        self._thread.join(5)


async def test_an_admission_that_came_too_late_gives_its_hold_back(
    store: Store, key: NewApiKey, settings: Settings
) -> None:
    settings.LUMYX_ADMISSION_TIMEOUT = 0.2
    lock = await asyncio.to_thread(Lock, key.row.workspace_id)
    asked = admission(key)
    try:
        with pytest.raises(StoreUnavailableError):
            await store.admit(asked)
    finally:
        await asyncio.to_thread(lock.release)
    async with asyncio.timeout(5):
        while not await in_thread(lambda: UsageEvent.objects.filter(pk=asked.request_id).exists()):
            await asyncio.sleep(0.02)
    assert await in_thread(lambda: open_holds(key.row.workspace_id)) == []
    event = await in_thread(lambda: UsageEvent.objects.get(pk=asked.request_id))
    assert (event.charge, event.http_status, event.status) == (0, 503, "released")


async def test_a_client_that_leaves_during_admission_leaves_no_hold(store: Store, key: NewApiKey) -> None:
    lock = await asyncio.to_thread(Lock, key.row.workspace_id)
    asked = admission(key)
    task = asyncio.create_task(store.admit(asked))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.to_thread(lock.release)
    async with asyncio.timeout(5):
        while not await in_thread(lambda: UsageEvent.objects.filter(pk=asked.request_id).exists()):
            await asyncio.sleep(0.02)
    assert await in_thread(lambda: open_holds(key.row.workspace_id)) == []


@pytest.fixture
def own_backend(key: NewApiKey) -> int:
    """The process id of the test's own connection, which shall live."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


async def test_a_settlement_survives_the_death_of_its_connection(
    own_backend: int, store: Store, key: NewApiKey
) -> None:
    asked = admission(key)
    await store.admit(asked)

    def kill_all_others() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                [own_backend],
            )

    await in_thread(kill_all_others)
    settled = await store.settle(Settlement(asked.request_id, 700), UsageRecord.for_unserved(asked))
    assert settled.charge == 700
    # Reads, admissions and the notices have come back by themselves too.
    assert await store.ping()
    assert (await store.admit(admission(key))).refusal is None
    await in_thread(lambda: apply_catalog(CATALOG))
    await eventually(lambda: "first" in store.catalog().models)


async def test_close_writes_what_is_queued(key: NewApiKey) -> None:
    made = Store()
    await made.open()
    asked = admission(key)
    await made.admit(asked)
    future = made.settle(Settlement(asked.request_id, 300), UsageRecord.for_unserved(asked))
    await made.close()
    assert future.done()
    assert (await in_thread(lambda: balance_of(key.row.workspace_id))).posted == 10**9 - 300
