"""Runs the statements about budgets: what was used of them in which period. Only the ledger calls it, under the wallets' locks.

A request without a budget costs nothing here: no statement runs.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Cursor

from billing.budgets import FIND_ROWS, BudgetLimit, BudgetRow, BudgetState
from billing.services import ledger_sql as sql
from billing.services.admission import BudgetChange
from lumyx.lib.prepared import array


def rows_of(cursor: Cursor[Any], limits: Sequence[BudgetLimit], *, at: dt.datetime) -> dict[BudgetRow, BudgetState]:
    """Return what is used of budgets in the periods of ``at``; missing rows are made. The wallets are locked."""
    wanted = list(dict.fromkeys(limit.row_at(at) for limit in limits))
    if not wanted:
        return {}
    found = _find(cursor, wanted)
    missing = [row for row in wanted if row not in found]
    if missing:
        cursor.execute(sql.ADD_BUDGETS, _columns(missing))
        found |= _find(cursor, missing)
    return found


def _find(cursor: Cursor[Any], wanted: Sequence[BudgetRow]) -> dict[BudgetRow, BudgetState]:
    cursor.execute(FIND_ROWS, _columns(wanted))
    return {wanted[position - 1]: BudgetState(id, held, spent) for position, id, held, spent in cursor.fetchall()}


def _columns(rows: Sequence[BudgetRow]) -> list[str]:
    return [
        array(row.wallet_id for row in rows),
        array(row.subject for row in rows),
        array(row.period for row in rows),
        array(row.start.isoformat() for row in rows),
    ]


def change(cursor: Cursor[Any], changes: Mapping[int, BudgetChange]) -> None:
    """Take closed holds off their budgets, and add what they were charged."""
    if changes:
        columns = [array(changes), array(c.held for c in changes.values()), array(c.spent for c in changes.values())]
        cursor.execute(sql.CHANGE_BUDGETS, columns)
