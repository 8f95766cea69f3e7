"""Time for statements that read much: the connection's limit is made for requests, and a roll-up must be able to catch up."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

#: Seconds.
PATIENCE = 600


@contextmanager
def patient_cursor() -> Iterator[CursorWrapper]:
    """Give a cursor in a transaction whose statements may take ten minutes each."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{PATIENCE}s"])
        yield cursor
