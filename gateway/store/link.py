"""A connection to PostgreSQL that the event loop itself waits for: one prepared statement at a time, no thread between.

Made in a thread, because connecting may block; used in the loop alone. How it fails: whatever goes wrong ends the connection, the
waiting call gets the error, and nobody knows whether its statement was committed; ``keep_up`` connects anew.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connection
from psycopg.pq import ConnStatus

from lumyx.lib.prepared import Parameters, Prepared, Rows, encode, rows_of

log = logging.getLogger(__name__)

#: Seconds between attempts to connect; doubled each time up to the last.
FIRST_PAUSE, LAST_PAUSE = 0.1, 1.0

type Done = Callable[[Rows | Exception], None]


class Link:
    """Runs one statement at a time.

    Args:
        statement: what it will run, and its single form.
        flush: whether a commit waits until it is on the disk. Without, a crash of the server may lose the last moments.
    """

    def __init__(self, statement: Prepared[Any, Any], *, flush: bool) -> None:
        self._statement = statement
        self._is_flushing = flush
        self._loop: asyncio.AbstractEventLoop | None = None
        self._raw: psycopg.Connection | None = None
        self._socket = -1
        self._done: Done | None = None
        #: What came of the running statement, until the server says that it is ready for the next: then it is committed.
        self._outcome: Rows | Exception | None = None
        self._lost = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether a statement can be sent."""
        return self._raw is not None

    async def keep_up(self) -> None:
        """Connect, and connect again whenever the connection is lost; until cancelled."""
        self._loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._connect()
                except psycopg.Error as error:
                    log.info("no connection for %s: %s", self._statement.name, str(error).strip())
                    await asyncio.sleep(pause)
                    pause = min(LAST_PAUSE, pause * 2)
                else:
                    pause = FIRST_PAUSE
                    await self._lost.wait()
        finally:
            self.drop(psycopg.OperationalError("the link is closed"))

    async def _connect(self) -> None:
        connecting = asyncio.ensure_future(asyncio.to_thread(_connect, self._statement, self._is_flushing))
        try:
            raw = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            with contextlib.suppress(psycopg.Error):
                (await connecting).close()  # a thread cannot be cancelled
            raise
        raw.pgconn.nonblocking = 1
        self._raw, self._socket = raw, raw.pgconn.socket
        self._lost.clear()
        assert self._loop is not None  # noqa: S101  keep_up() has set it
        self._loop.add_reader(self._socket, self._on_readable)

    def run(self, statement: Prepared[Any, Any], parameters: Parameters, done: Done) -> None:
        """Send ``statement``; ``done`` is called with its rows or an error, never before this returns."""
        raw = self._raw
        assert raw is not None  # noqa: S101  callers ask is_up
        assert self._done is None  # noqa: S101  one at a time
        values = encode(parameters)
        self._done, self._outcome = done, None
        try:
            raw.pgconn.send_query_prepared(statement.name.encode(), values)
            self._flush()
        except psycopg.Error as error:
            assert self._loop is not None  # noqa: S101  it was connected
            self._loop.call_soon(self.drop, error)

    def drop(self, error: Exception) -> None:
        """End the connection; a call that waits gets ``error``."""
        raw, self._raw = self._raw, None
        done, self._done = self._done, None
        if raw is not None:
            assert self._loop is not None  # noqa: S101  it was connected
            # Before the socket is closed: another one may get its number.
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            raw.close()
            self._lost.set()
        if done is not None:
            done(error)

    def _flush(self) -> None:
        """Send what libpq still holds; the loop calls again when the socket takes more."""
        assert self._raw is not None  # noqa: S101  only called while it is there
        assert self._loop is not None  # noqa: S101  it was connected
        if self._raw.pgconn.flush():
            self._loop.add_writer(self._socket, self._on_writable)

    def _on_writable(self) -> None:
        if self._raw is None or self._loop is None:
            return
        self._loop.remove_writer(self._socket)
        try:
            self._flush()
        except psycopg.Error as error:
            self.drop(error)

    def _on_readable(self) -> None:
        raw = self._raw
        if raw is None:
            return
        try:
            pgconn = raw.pgconn
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    break
                try:
                    self._outcome = rows_of(result)
                except psycopg.Error as error:
                    self._outcome = error
            else:
                return
            if pgconn.status != ConnStatus.OK:
                raise psycopg.OperationalError("the connection was lost")
        except psycopg.Error as error:
            self.drop(error)
            return
        outcome, self._outcome = self._outcome, None
        if outcome is not None and self._done is not None:
            done, self._done = self._done, None
            done(outcome)


def _connect(statement: Prepared[Any, Any], flush: bool) -> psycopg.Connection:
    """Connect as Django does, and prepare the statement. Runs in a thread. Raises psycopg.Error."""
    raw = psycopg.connect(**connection.get_connection_params(), autocommit=True)
    with contextlib.ExitStack() as stack:
        stack.callback(raw.close)
        # All look-ups are by key. A plan that is made while a table is nearly empty would read it whole, and stay.
        raw.execute("SET enable_seqscan = off")
        raw.execute("SET datestyle = ISO")
        # A statement that is given up here must not go on waiting there. Not every system can tell that a client has gone.
        with contextlib.suppress(psycopg.Error):
            raw.execute("SET client_connection_check_interval = 250")
        if not flush:
            raw.execute("SET synchronous_commit = off")
        for form in (statement, statement.single):
            if form is not None:
                form.prepare(raw)
        stack.pop_all()
    return raw
