"""Hears PostgreSQL's notifications of changed rows, so that every process drops what it cached within moments.

Database triggers send them in the changing transaction, whoever writes (page, admin, command, SQL). Without a connection
nothing is known to be fresh: ``on_lost`` is called, and on reconnecting ``on_ready``, after which caches start from nothing.
"""

import logging
import threading
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import connection

log = logging.getLogger(__name__)

CHANNEL = "lumyx"
#: Seconds without a notification after which the connection is tried; and between attempts to reconnect.
HEARTBEAT, RECONNECT_PAUSE = 0.5, 0.25


class Listener:
    """A thread with a connection of its own. Callbacks run in that thread."""

    def __init__(
        self, *, on_ready: Callable[[], None], on_lost: Callable[[], None], on_change: Callable[[str], None]
    ) -> None:
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start listening."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does within a heartbeat and closes its connection."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, at most ``seconds``."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._listen()
                except DatabaseError as error:
                    log.warning("no notifications from the database: %s", str(error).strip())
                self._on_lost()
                connection.close()
                self._stop.wait(RECONNECT_PAUSE)
        finally:
            connection.close()

    def _listen(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        self._on_ready()
        raw = connection.connection
        with connection.wrap_database_errors:
            while not self._stop.is_set():
                for notice in raw.notifies(timeout=HEARTBEAT, stop_after=1):
                    self._on_change(notice.payload)
                raw.execute("SELECT 1")
