"""Ways for a transaction of the ledger to die: at a statement of our choice, before its commit, or by the hand of the server."""

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import psycopg
from django.db import OperationalError, connection, transaction

from billing.services import ledger_rows
from lumyx.lib import prepared

#: The server is told to end the connection at most this many seconds after the operation began; most take one to four milliseconds.
LATEST_END = 0.004


@contextlib.contextmanager
def rolled_back() -> Iterator[None]:
    """Undo what is done inside, as a crash just before the commit would."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def crash_at_a_statement(work: Callable[[], object], *, chance: random.Random) -> bool:
    """Do ``work`` so that it breaks when one of its statements has run; return whether the ledger itself had to undo it.

    A first try, which is rolled back, says how many statements the long way takes. Where it takes none, the short way is one
    statement: only a caller's transaction could undo that, so there the break is in one of ours.
    """
    with rolled_back(), _breaking(ledger_rows, "Cursor", at=0) as trial:
        work()
    statements = next(trial)
    with contextlib.suppress(OperationalError):
        if statements:
            with _breaking(ledger_rows, "Cursor", at=chance.randint(1, statements)):
                work()
        else:
            with rolled_back(), _breaking(prepared, "RawCursor", at=1):
                work()
    return statements > 0


@contextlib.contextmanager
def _breaking(module: ModuleType, name: str, *, at: int) -> Iterator[Iterator[int]]:
    """Break when the statement number ``at`` of a module's kind of cursor has run (0: never); gives how many have run next."""
    kind, seen = getattr(module, name), itertools.count()

    class Breaking(kind):  # type: ignore[misc, valid-type]
        def execute(self, *arguments: Any, **options: Any) -> Any:
            done = super().execute(*arguments, **options)
            if next(seen) + 1 == at:
                raise psycopg.OperationalError("the connection was lost, by the proof's hand")
            return done

    with mock.patch.object(module, name, Breaking):
        yield seen


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
