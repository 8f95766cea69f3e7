"""Ways for a transaction of the ledger to die: at a statement of our choice, before its commit, or by the hand of the server."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import psycopg
from django.db import OperationalError, connection, transaction

#: The server is told to end the connection at most this many seconds after the operation began; most take one to four milliseconds.
LATEST_END = 0.004


@contextlib.contextmanager
def rolled_back() -> Iterator[None]:
    """Undo what is done inside, as a crash just before the commit would."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def crash_at_a_statement(work: Callable[[], object], *, statement: int) -> bool:
    """Do ``work`` in a transaction that breaks when its n-th statement has run; return whether it came that far."""
    left = statement
    execute = psycopg.Cursor.execute

    def breaking(self: psycopg.Cursor[Any], *arguments: Any, **options: Any) -> Any:
        nonlocal left
        done = execute(self, *arguments, **options)
        left -= 1
        if left == 0:
            raise psycopg.OperationalError("the connection was lost, by the proof's hand")
        return done

    # All kinds of cursors inherit it, Django's too.
    with mock.patch.object(psycopg.Cursor, "execute", breaking), contextlib.suppress(OperationalError), rolled_back():
        work()
    return left <= 0


def end_by_the_server[T](work: Callable[[], T], *, executioner: psycopg.Connection, chance: random.Random) -> T | None:
    """Do ``work`` while the server ends our connection at a random moment; None: nobody knows whether it was committed."""
    connection.ensure_connection()
    victim = connection.connection.info.backend_pid
    timer = threading.Timer(
        chance.uniform(0, LATEST_END), executioner.execute, ["SELECT pg_terminate_backend(%s)", [victim]]
    )
    timer.start()
    try:
        return work()
    except OperationalError:
        return None
    finally:
        timer.join()
        connection.close()
