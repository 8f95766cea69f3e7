"""Runs the statements of the books: values in, rows out, no decisions. Only billing.services.ledger may call it.

The cursor binds on the server and prepares each statement once a connection, which halves the time of a batch of one; a
pooler between us and PostgreSQL must therefore keep prepared statements (PgBouncer: max_prepared_statements above 0).
"""

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from psycopg import Cursor

from billing.budgets import limits_in
from billing.burn_down import GrantState
from billing.services import ledger_sql as sql
from billing.services.admission import AdmissionDesk, AdmissionFacts, HoldState, WalletState
from billing.types import Admission, ExpiredHold
from lumyx.lib.prepared import array


@dataclass(frozen=True, slots=True)
class Entry:
    """A line for the books. ``kind`` is a billing.models.EntryKind."""

    wallet_id: int
    grant_id: int
    kind: str
    contra: str
    amount: int
    ref: str


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant as it stands."""

    id: int
    wallet_id: int
    kind: str
    amount: int
    remaining: int


@contextmanager
def open_books(*, savepoint: bool = False) -> Iterator[Cursor[Any]]:
    """Open a transaction, or join the caller's (without a savepoint, an error then rolls the caller back too)."""
    with transaction.atomic(savepoint=savepoint):
        connection.validate_no_broken_transaction()
        connection.ensure_connection()
        raw = connection.connection
        raw.prepare_threshold = 0  # at the first use; Django's own cursors bind on the client and never prepare
        with connection.wrap_database_errors, Cursor(raw) as cursor:
            yield cursor


def lock_wallets(cursor: Cursor[Any], ids: Iterable[int]) -> dict[int, WalletState]:
    """Lock wallets by workspace, making those that are missing; a workspace that is not there is left out."""
    cursor.execute(sql.LOCK_WALLETS, [array(sorted(ids))])
    return {row[0]: WalletState(*row) for row in cursor.fetchall()}


def lock_wallets_of_holds(cursor: Cursor[Any], ids: Sequence[uuid.UUID]) -> dict[int, WalletState]:
    """Lock the wallets that these holds belong to."""
    cursor.execute(sql.LOCK_WALLETS_OF_HOLDS, [array(ids)])
    return {row[0]: WalletState(*row) for row in cursor.fetchall()}


def lock_quotas(cursor: Cursor[Any], subjects: Collection[str], *, day: dt.date) -> dict[str, int]:
    """Lock the quota rows of a day, making those that are missing; return what is used of each."""
    if not subjects:
        return {}
    cursor.execute(sql.LOCK_QUOTAS, [array(sorted(subjects)), day])
    return dict(cursor.fetchall())


def facts_of(cursor: Cursor[Any], admissions: Sequence[Admission]) -> tuple[list[AdmissionFacts], dt.datetime]:
    """Return what the database says of each request, and its time (of this statement, so after the locks)."""
    cursor.execute(
        sql.ADMISSION_FACTS, [array(a.request_id for a in admissions), array(a.api_key_id for a in admissions)]
    )
    rows = cursor.fetchall()
    return [_facts_in(row) for row in rows], rows[0][0]


def _facts_in(row: Sequence[Any]) -> AdmissionFacts:
    workspace, revoked, expired, disabled, orphaned, version, wallet, amount, *budgets = row[1:]
    return AdmissionFacts(workspace, revoked, expired, disabled, orphaned, version, wallet, amount, limits_in(budgets))


def place_holds(cursor: Cursor[Any], desk: AdmissionDesk) -> None:
    """Write what an admission desk has let in: holds, what they take of their wallets, and quota claims."""
    if not desk.placed:
        return
    admissions = [placed.admission for placed in desk.placed]
    counted = [(budget_id, placed.held) for placed in desk.placed for budget_id in placed.budget_ids]
    columns: dict[str, Any] = {
        "at": desk.at,
        "day": desk.day,
        "ids": array(a.request_id for a in admissions),
        "wallet_ids": array(a.workspace_id for a in admissions),
        "amounts": array(placed.held for placed in desk.placed),
        "ttls": array(float(a.ttl) for a in admissions),
        "api_key_ids": array(a.api_key_id for a in admissions),
        "models": array(a.model for a in admissions),
        "quota_subjects": array(a.quota.subject if a.quota else None for a in admissions),
        # Arrays of arrays have to be of one length: each travels as a text of its own.
        "budgets": array(array(placed.budget_ids) if placed.budget_ids else None for placed in desk.placed),
        "budget_ids": array(budget_id for budget_id, _ in counted),
        "budget_amounts": array(held for _, held in counted),
    }
    cursor.execute(sql.PLACE_HOLDS, columns)


def holds_of(cursor: Cursor[Any], ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, HoldState]:
    """Return holds as they are now. They change under their wallet's lock only."""
    cursor.execute(sql.HOLDS, [array(ids)])
    return {row[0]: HoldState(*row) for row in cursor.fetchall()}


def give_back_quotas(cursor: Cursor[Any], holds: Sequence[HoldState]) -> None:
    """Take released holds off the days that they were counted on."""
    if holds:
        columns: list[Any] = [array(h.quota_subject for h in holds), array(h.quota_day for h in holds)]
        cursor.execute(sql.LOCK_CLAIMED_QUOTAS, columns)
        cursor.execute(sql.GIVE_BACK_QUOTAS, columns)


def grants_of(cursor: Cursor[Any], wallet_ids: Collection[int]) -> dict[int, list[GrantState]]:
    """Return what there is to spend by wallet, in burn-down order; the overdraft is the last of each."""
    grants: dict[int, list[GrantState]] = {}
    if wallet_ids:
        cursor.execute(sql.GRANTS, [array(wallet_ids)])
        for grant_id, wallet_id, *state in cursor.fetchall():
            grants.setdefault(wallet_id, []).append(GrantState(grant_id, *state))
    return grants


def post(
    cursor: Cursor[Any],
    wallets: Sequence[WalletState],
    grants: Sequence[GrantState] = (),
    entries: Sequence[Entry] = (),
    holds: Sequence[HoldState] = (),
) -> None:
    """Write wallets, grants and holds as they are now, and the entries in this order."""
    if not wallets and not holds:
        return
    columns: dict[str, Any] = {
        "hold_ids": array(h.id for h in holds),
        "states": array(h.state for h in holds),
        "actuals": array(h.actual for h in holds),
        "wallet_ids": array(w.id for w in wallets),
        "posted": array(w.posted for w in wallets),
        "held": array(w.held for w in wallets),
        "next_expiry": array(w.next_expiry for w in wallets),
        "frozen": array(w.frozen for w in wallets),
        "grant_ids": array(g.id for g in grants),
        "remaining": array(g.remaining for g in grants),
        "entry_wallets": array(e.wallet_id for e in entries),
        "entry_grants": array(e.grant_id for e in entries),
        "kinds": array(str(e.kind) for e in entries),
        "contras": array(e.contra for e in entries),
        "amounts": array(e.amount for e in entries),
        "refs": array(e.ref for e in entries),
    }
    cursor.execute(sql.POST, columns)


def due_holds(cursor: Cursor[Any], *, limit: int) -> list[uuid.UUID]:
    """Return open holds whose time has passed, oldest first."""
    cursor.execute(sql.DUE_HOLDS, [limit])
    return [row[0] for row in cursor.fetchall()]


def expire_holds(cursor: Cursor[Any], ids: Sequence[uuid.UUID]) -> list[ExpiredHold]:
    """Close those of the holds that are still open and due."""
    cursor.execute(sql.EXPIRE_HOLDS, [array(ids)])
    return [ExpiredHold(*row) for row in cursor.fetchall()]


def extend_holds(cursor: Cursor[Any], ids: Sequence[uuid.UUID], *, ttl: float) -> None:
    """Let open holds live ``ttl`` seconds from now, if that is longer than they had."""
    cursor.execute(sql.EXTEND_HOLDS, [ttl, array(ids)])


def due_wallets(cursor: Cursor[Any], *, limit: int) -> list[int]:
    """Return wallets with credit that has expired, the longest due first."""
    cursor.execute(sql.DUE_WALLETS, [limit])
    return [row[0] for row in cursor.fetchall()]


def add_grant(cursor: Cursor[Any], values: Sequence[Any]) -> int | None:
    """Insert a grant with nothing remaining yet; None if its source is taken."""
    cursor.execute(sql.ADD_GRANT, values)
    row = cursor.fetchone()
    return None if row is None else row[0]


def grant_of_source(cursor: Cursor[Any], source: str) -> GrantRow | None:
    """Return the grant that a source made."""
    cursor.execute(sql.GRANT_OF_SOURCE, [source])
    row = cursor.fetchone()
    return None if row is None else GrantRow(*row)


def add_adjustment(cursor: Cursor[Any], values: Sequence[Any]) -> bool:
    """Insert an adjustment; False if its source is taken."""
    cursor.execute(sql.ADD_ADJUSTMENT, values)
    return cursor.fetchone() is not None


def adjustment_of_source(cursor: Cursor[Any], source: str) -> tuple[int, int] | None:
    """Return the workspace and the amount of the adjustment that a source made."""
    cursor.execute(sql.ADJUSTMENT_OF_SOURCE, [source])
    return cursor.fetchone()


def booked_against(cursor: Cursor[Any], grant_id: int, *, contra: str) -> int:
    """Return the sum of a grant's entries against another side."""
    cursor.execute(sql.BOOKED_AGAINST, [grant_id, contra])
    row = cursor.fetchone()
    return row[0] if row else 0


def end_grants(cursor: Cursor[Any], wallet_id: int, sources: Collection[str], *, at: dt.datetime) -> int:
    """Let those grants of a wallet expire at a time, where they would later; return how many that changed."""
    cursor.execute(sql.END_GRANTS, [at, wallet_id, array(sources), at])
    return cursor.rowcount


def booked(cursor: Cursor[Any], *, ref: str, kind: str) -> int:
    """Return the sum of the entries of a reference and kind."""
    cursor.execute(sql.BOOKED, [ref, str(kind)])
    row = cursor.fetchone()
    return row[0] if row else 0


def now(cursor: Cursor[Any]) -> dt.datetime:
    """Return the database's time."""
    cursor.execute(sql.NOW)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  a SELECT without FROM has one row
    at: dt.datetime = row[0]
    return at
