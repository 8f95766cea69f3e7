"""Statements that every request waits for: prepared once a connection, one round trip, text in and text out.

The driver's own adaptation of parameters and rows costs several times what such a statement does. A pooler between us and
PostgreSQL must keep prepared statements (PgBouncer: max_prepared_statements above 0).
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection
from psycopg import Connection, RawCursor, errors
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

type Parameters = list[str | None]
type Rows = list[tuple[bytes | None, ...]]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Prepared[In, Out]:
    """A statement over a batch of items, with parameters $1, $2, …

    ``parameters`` returns their text forms, or None for a batch that the statement cannot take; ``answers`` returns one answer an
    item from the rows that came back, or None when the statement declined and wrote nothing. ``single`` is the cheaper statement
    for a batch of one.
    """

    name: str
    sql: str
    parameters: Callable[[Sequence[In]], Parameters | None]
    answers: Callable[[Sequence[In], Rows], list[Out] | None]
    single: "Prepared[In, Out] | None" = None
    #: Connections that know it already.
    _known: WeakKeyDictionary[Connection, bool] = field(default_factory=WeakKeyDictionary)

    def for_size(self, size: int) -> "Prepared[In, Out]":
        """Return the statement for a batch of this size."""
        return self.single if size == 1 and self.single is not None else self

    def run(self, items: Sequence[In]) -> list[Out] | None:
        """Run it on Django's connection: a transaction of its own, or a part of the caller's. Raises Django's database errors."""
        return self.for_size(len(items))._run(items)

    def _run(self, items: Sequence[In]) -> list[Out] | None:
        parameters = self.parameters(items)
        if parameters is None:
            return None
        connection.ensure_connection()
        raw = connection.connection
        with connection.wrap_database_errors:
            if raw.autocommit:
                return self.answers(items, self._run_alone(raw, parameters))
            # Only the driver's own cursors know whether BEGIN has been sent.
            with RawCursor(raw) as cursor:
                cursor.execute(self.sql.encode(), parameters, prepare=True)
                return self.answers(items, rows_of(cursor.pgresult))

    def _run_alone(self, raw: Connection, parameters: Parameters) -> Rows:
        if raw in self._known:
            try:
                return self._execute(raw, parameters)
            except errors.InvalidSqlStatementName:
                pass  # the driver has its server forget all statements after a rollback; nothing was done
        self.prepare(raw)
        self._known[raw] = True
        return self._execute(raw, parameters)

    def _execute(self, raw: Connection, parameters: Parameters) -> Rows:
        return rows_of(raw.pgconn.exec_prepared(self.name.encode(), encode(parameters)))

    def prepare(self, raw: Connection) -> None:
        """Make it known to a connection, without its single form. Raises psycopg's errors."""
        result = raw.pgconn.prepare(self.name.encode(), self.sql.encode())
        if result.status != ExecStatus.COMMAND_OK:
            raise error_of(result)


def encode(parameters: Parameters) -> list[Any]:
    """Return parameters as libpq takes them; its stubs do not know that None is NULL."""
    return [None if value is None else value.encode() for value in parameters]


def rows_of(result: PGresult | None) -> Rows:
    """Return a result's values as they came. Raises psycopg's error for a failed one."""
    if result is None:
        raise errors.OperationalError("no result came")
    if result.status != ExecStatus.TUPLES_OK:
        raise error_of(result)
    columns = range(result.nfields)
    return [tuple([result.get_value(row, column) for column in columns]) for row in range(result.ntuples)]


def error_of(result: PGresult) -> errors.Error:
    """Return psycopg's error for a failed result. One without a code is libpq's own word that the connection was lost."""
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        return errors.OperationalError(result.error_message.decode(errors="replace").strip())
    return errors.error_from_result(result)


def array(values: Iterable[object]) -> str:
    """Return PostgreSQL's text form of an array; several times faster than the driver's own."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def numbers(values: Iterable[int | float]) -> str:
    """Return ``array`` of numbers, none of which is None."""
    return "{" + ",".join(map(str, values)) + "}"


def uuids(values: Iterable[uuid.UUID]) -> str:
    """Return ``array`` of UUIDs."""
    return "{" + ",".join([value.hex for value in values]) + "}"


def scalar(value: object) -> str | None:
    """Return PostgreSQL's text form of one value; None is NULL."""
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def integers_in(text: bytes) -> list[int]:
    """Return the elements of an array of integers, none of which is NULL, from its text form; a number is an array of one."""
    return [int(element) for element in text.strip(b"{}").split(b",")]


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dt.datetime):
        return f'"{value.isoformat()}"'
    return str(value)
