"""THE DOOR: the only way from async code to rows. Reads are cached; writes of money are committed in groups.

How it fails: while PostgreSQL is away, reads and admissions raise ``StoreUnavailableError`` within ``LUMYX_ADMISSION_TIMEOUT``
seconds (a 503, never a 401); settlements wait in a bounded queue and are written when it is back. Revocations and suspensions
are exact: the admission transaction reads the key's and the workspace's state itself.
"""

import asyncio
import functools
import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection

from billing.services import ledger
from billing.types import Admission, Admitted, Settled, Settlement
from gateway.errors import ApiError, unavailable
from gateway.protocols.key_view import KeyFacts
from gateway.protocols.receipt import Receipt
from gateway.selectors.catalog import load_snapshot
from gateway.selectors.keys import key_facts
from gateway.selectors.principals import principal_of
from gateway.selectors.quotes import would_admit
from gateway.selectors.receipts import receipt_of
from gateway.services.settlement import SETTLE, Ending, settle_exchanges
from gateway.services.sweeping import sweep_expired_holds
from gateway.services.usage import UsageRecord
from gateway.store.lane import Lane
from gateway.store.listener import Listener
from gateway.store.principals import LIFETIME, LIFETIME_WITHOUT_NOTICES, PrincipalCache
from gateway.store.writer import BatchWriter, StoreUnavailableError
from gateway.types import CatalogSnapshot, Principal
from lumyx.lib import crypto

__all__ = ["Store", "StoreUnavailableError", "UsageRecord"]

log = logging.getLogger(__name__)


class Store:
    """One a process, opened and closed by the ASGI lifespan."""

    def __init__(self) -> None:
        self._principals = PrincipalCache()
        self._snapshot: CatalogSnapshot | None = None
        self._reload: asyncio.Task[None] | None = None
        self._reload_again = False
        self._sweep: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._listener = Listener(
            on_ready=lambda: self._soon(self._notices_began),
            on_lost=lambda: self._soon(self._notices_stopped),
            on_change=lambda topic: self._soon(self._changed, topic),
        )
        admit: BatchWriter[Admission, Admitted] = BatchWriter(
            "store-admit", ledger.admit, max_queue=settings.LUMYX_ADMISSION_QUEUE, abandoned=self._release
        )
        settle: BatchWriter[Ending, Settled] = BatchWriter(
            "store-settle", settle_exchanges, max_queue=settings.LUMYX_SETTLEMENT_QUEUE, keep_trying=True
        )
        # A hold that a crash of PostgreSQL loses is placed again by its settlement (docs/decisions/0007).
        self._admissions = Lane(ledger.ADMIT, admit, flush=False)
        self._settlements = Lane(SETTLE, settle)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the threads. Does not wait for PostgreSQL: until it answers, requests get a 503."""
        self._loop = asyncio.get_running_loop()
        # One thread: what it reads is cached, and the one connection is surely closed at the end.
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-read")
        self._admissions.start()
        self._settlements.start()
        self._listener.start()
        self._sweep = asyncio.create_task(asyncio.to_thread(_sweep_once))

    async def close(self) -> None:
        """Write what is queued, then close every connection."""
        self._listener.stop()
        await self._admissions.stop(grace=5.0)
        await self._settlements.stop(grace=settings.LUMYX_SETTLEMENT_WAIT)
        if self._readers is not None:
            readers, self._readers = self._readers, None
            readers.submit(lambda: connection.close())  # the attribute belongs to the thread that reads it
            await asyncio.to_thread(readers.shutdown)
        if self._sweep is not None:
            await self._sweep
        await asyncio.to_thread(self._listener.join, 3.0)

    async def ping(self) -> bool:
        """Tell whether PostgreSQL answers within two seconds and the catalog is loaded."""
        try:
            async with asyncio.timeout(2.0):
                await self._read(_select_one)
        except (TimeoutError, StoreUnavailableError):
            return False
        return self._snapshot is not None

    # --- reads --------------------------------------------------------------------------------------------------------

    def catalog(self) -> CatalogSnapshot:
        """Return the catalog as it is now. Raises StoreUnavailableError before the first load."""
        if self._snapshot is None:
            raise StoreUnavailableError("the catalog is not loaded yet")
        return self._snapshot

    async def principal(self, secret: str) -> Principal | None:
        """Return who holds this key, or None for an unknown one. Raises StoreUnavailableError."""
        digest = crypto.api_key_digest(secret, pepper=settings.LUMYX_API_KEY_PEPPER)
        found = self._principals.get(digest)
        if found is not None:
            return found
        if not crypto.api_key_is_well_formed(secret):
            return None
        try:
            async with asyncio.timeout(settings.LUMYX_ADMISSION_TIMEOUT):
                return await self._principals.load(digest, lambda key: self._read(functools.partial(principal_of, key)))
        except TimeoutError as error:
            raise StoreUnavailableError("the database does not answer") from error

    async def key_facts(self, principal: Principal) -> KeyFacts | None:
        """Return a key as its holder may see it, None if it is gone. Raises StoreUnavailableError."""
        return await self._read_in_time(functools.partial(key_facts, principal))

    async def receipt(self, workspace_id: int, request_id: uuid.UUID) -> Receipt | None:
        """Return the receipt of a workspace's ended request, None if there is none. Raises StoreUnavailableError."""
        return await self._read_in_time(functools.partial(receipt_of, workspace_id, request_id=request_id))

    async def would_admit(self, admission: Admission) -> Admitted:
        """Return what ``admit`` would answer now, daily quota apart; nothing is written. Raises StoreUnavailableError."""
        return await self._read_in_time(functools.partial(would_admit, admission))

    async def _read_in_time[T](self, function: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(settings.LUMYX_ADMISSION_TIMEOUT):
                return await self._read(function)
        except TimeoutError as error:
            raise StoreUnavailableError("the database does not answer") from error

    # --- writes -------------------------------------------------------------------------------------------------------

    async def admit(self, admission: Admission) -> Admitted:
        """Ask for a hold and a place in the daily quota, in one transaction with others. Raises StoreUnavailableError."""
        # What has a budget goes the long way, beside the lane: the usual case declines it, and with it all of its batch.
        lane = self._admissions
        future = lane.submit_aside(admission) if admission.has_budget else lane.submit(admission)
        timer = asyncio.get_running_loop().call_later(settings.LUMYX_ADMISSION_TIMEOUT, self._give_up, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release(admission, future.result())  # it came in the very turn in which the client left
            raise
        finally:
            timer.cancel()

    def settle(self, settlement: Settlement, record: UsageRecord) -> asyncio.Future[Settled]:
        """Queue the end of a request; the future is done when it has committed (or cannot: StoreUnavailableError)."""
        return self._settlements.submit((settlement, record))

    def _give_up(self, future: "asyncio.Future[Admitted]") -> None:
        if not future.done():
            future.set_exception(StoreUnavailableError("the database does not answer"))

    async def extend_holds(self, ids: Sequence[uuid.UUID], *, ttl: float) -> None:
        """Let open holds live ``ttl`` seconds from now. Raises StoreUnavailableError."""
        await asyncio.to_thread(_extend, ids, ttl)

    def take_back(self, admission: Admission, admitted: Admitted | None, error: ApiError) -> None:
        """Close the hold of a request that was admitted (None: or may have been) and is refused all the same, with ``error``."""
        if admitted is not None and admitted.refusal is not None:
            return
        record = UsageRecord.for_unserved(admission, status=error.status, code=error.code)
        self.settle(Settlement(admission.request_id, None), record).add_done_callback(_ignore_outcome)

    def _release(self, admission: Admission, result: Admitted | None) -> None:
        """Close the hold of a request that was given up: it was admitted (or may have been) after its client left."""
        if result is None and self._settlements.is_crowded:
            return  # probably never written, and its lease ends soon: what is surely to be written needs the room
        self.take_back(admission, result, unavailable())

    def forget_key(self, api_key_id: int) -> None:
        """Read a key anew when it is used next: the books said that it is not what we remember."""
        self._principals.drop(lambda principal: principal.api_key_id == api_key_id)

    # --- changes ------------------------------------------------------------------------------------------------------

    def _soon(self, function: Callable[..., None], *args: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, *args)

    def _notices_began(self) -> None:
        self._principals.lifetime = LIFETIME
        self._principals.clear()
        self._reload_catalog()

    def _notices_stopped(self) -> None:
        self._principals.lifetime = LIFETIME_WITHOUT_NOTICES
        self._principals.clear()

    def _changed(self, topic: str) -> None:
        kind, _, number = topic.partition(":")
        match kind:
            case "catalog":
                self._reload_catalog()
            case "key":
                self.forget_key(int(number))
            case "workspace":
                self._principals.drop(lambda p: str(p.workspace_id) == number)
            case "user":
                self._principals.drop(lambda p: number in (str(p.owner_id), str(p.maker_id)))
            case _:
                self._principals.clear()

    def _reload_catalog(self) -> None:
        if self._reload is None:
            self._reload = asyncio.get_running_loop().create_task(self._load_catalog())
        else:
            self._reload_again = True

    async def _load_catalog(self) -> None:
        try:
            while True:
                self._reload_again = False
                try:
                    self._snapshot = await self._read(load_snapshot)
                except StoreUnavailableError:
                    return  # the listener's return loads it again
                except Exception:
                    log.exception("the catalog could not be loaded; the one before stays")
                if not self._reload_again:
                    return
        finally:
            self._reload = None

    def _read[T](self, function: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        if self._readers is None:
            raise StoreUnavailableError("the store is closed")
        return loop.run_in_executor(self._readers, _run_read, function)


def _run_read[T](function: Callable[[], T]) -> T:
    for last in (False, True):
        try:
            close_old_connections()
            return function()
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if last:
                raise StoreUnavailableError(str(error)) from error
    raise AssertionError("unreachable")


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _extend(ids: Sequence[uuid.UUID], ttl: float) -> None:
    try:
        ledger.extend_holds(ids, ttl=ttl)
    except DatabaseError as error:
        raise StoreUnavailableError(str(error).strip()) from error
    finally:
        connection.close()


def _sweep_once() -> None:
    """Close the holds that a process before us left behind; the worker does it every half minute too."""
    try:
        sweep_expired_holds()
    except DatabaseError as error:
        log.warning("the first sweep of holds failed; the worker's will do it: %s", error)
    finally:
        connection.close()


def _ignore_outcome(done: "asyncio.Future[Settled]") -> None:
    if not done.cancelled():
        done.exception()
