"""Reads the books: balances, entries, open holds, and whether all of it adds up. Amounts are nano-USD."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from billing import burn_down
from billing.burn_down import GrantState


@dataclass(frozen=True, slots=True)
class Balance:
    """A wallet as it stands now. What has expired does not count, even where the sweeper has not written it off yet."""

    posted: int = 0
    held: int = 0
    #: What new requests can be admitted on; below zero in debt.
    available: int = 0
    #: What is left by kind of grant ("overdraft" is below zero); kinds with nothing left are absent.
    by_kind: Mapping[str, int] | None = None
    next_expiry: dt.datetime | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A line in the books, for people. ``balance`` is what was posted after it."""

    id: int
    at: dt.datetime
    kind: str
    amount: int
    balance: int
    ref: str
    grant_kind: str
    grant_source: str
    grant_note: str
    expires_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A request that is running, or was lost: ``age`` and ``ttl`` (until the sweeper closes it) in seconds."""

    id: uuid.UUID
    workspace_id: int
    workspace_slug: str
    amount: int
    model: str
    created_at: dt.datetime
    expires_at: dt.datetime
    age: float
    ttl: float


# One statement, so one snapshot: the wallet beside its live grants.
_BALANCE = """
SELECT w.posted, w.held, w.frozen, statement_timestamp(), g.id, g.kind, g.remaining, g.expires_at
FROM billing_wallet w LEFT JOIN billing_creditgrant g ON g.wallet_id = w.workspace_id AND g.remaining <> 0
WHERE w.workspace_id = %s
ORDER BY g.priority, g.expires_at NULLS LAST, g.id
"""

# The balance after a line is what is posted now, less all that came later, of whatever kind; only lines newer than the page's last
# are summed, once.
_ENTRIES = """
WITH page AS (
    SELECT * FROM billing_ledgerentry
    WHERE wallet_id = %(workspace)s AND id < %(before)s AND (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s))
    ORDER BY id DESC LIMIT %(limit)s
), later AS (
    SELECT id, coalesce(sum(amount) OVER (ORDER BY id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS amount
    FROM billing_ledgerentry WHERE wallet_id = %(workspace)s AND id >= (SELECT min(id) FROM page)
)
SELECT e.id, e.at, e.kind, e.amount, (w.posted - later.amount)::bigint, e.ref, g.kind, g.source, g.note, g.expires_at
FROM billing_wallet w
JOIN page e ON true
JOIN later ON later.id = e.id
JOIN billing_creditgrant g ON g.id = e.grant_id
WHERE w.workspace_id = %(workspace)s
ORDER BY e.id DESC
"""

_OPEN_HOLDS = """
SELECT h.id, h.wallet_id, w.slug, h.amount, h.model, h.created_at, h.expires_at,
       extract(epoch FROM statement_timestamp() - h.created_at)::float8,
       extract(epoch FROM h.expires_at - statement_timestamp())::float8
FROM billing_hold h JOIN accounts_workspace w ON w.id = h.wallet_id
WHERE h.state = 'open' AND (%(workspace)s::bigint IS NULL OR h.wallet_id = %(workspace)s)
ORDER BY h.created_at, h.id
"""

_BROKEN = "SELECT invariant, wallet_id, subject, actual, expected FROM billing_broken_invariants ORDER BY 1, 2, 3"

_VERIFIED = """
SELECT (SELECT count(*) FROM billing_ledgerentry WHERE wallet_id = %(workspace)s)
     + (SELECT count(*) FROM billing_creditgrant WHERE wallet_id = %(workspace)s)
     + (SELECT count(*) FROM billing_hold WHERE wallet_id = %(workspace)s)
     + (SELECT count(*) FROM billing_wallet WHERE workspace_id = %(workspace)s)
"""

_MAX_ID = 2**63 - 1


def balance_of(workspace_id: int) -> Balance:
    """Return a workspace's balance; all zero before its first credit or request."""
    with connection.cursor() as cursor:
        cursor.execute(_BALANCE, [workspace_id])
        rows = cursor.fetchall()
    if not rows:
        return Balance(by_kind={})
    posted, held, frozen, at = rows[0][:4]
    kinds = {row[4]: row[5] for row in rows if row[4] is not None}
    grants = [GrantState(row[4], row[6], row[7], row[5] == "overdraft") for row in rows if row[4] is not None]
    posted -= sum(cut.amount for cut in burn_down.expire(grants, posted=posted, held=held, at=at))
    by_kind: dict[str, int] = {}
    for grant in grants:
        if grant.remaining:
            by_kind[kinds[grant.id]] = by_kind.get(kinds[grant.id], 0) + grant.remaining
    next_expiry = burn_down.next_expiry_of(grant for grant in grants if not burn_down.is_due(grant, at=at))
    return Balance(posted, held, posted - held, by_kind, next_expiry, frozen)


def entries_of(
    workspace_id: int, *, limit: int, before: int | None = None, kinds: Sequence[str] | None = None
) -> list[EntryLine]:
    """Return a workspace's newest ``limit`` entries, newest first, of some kinds only if ``kinds`` is given.

    ``before`` (an entry's id) turns the page.
    """
    parameters = {
        "workspace": workspace_id,
        "limit": limit,
        "before": _MAX_ID if before is None else before,
        "kinds": None if kinds is None else list(kinds),
    }
    with connection.cursor() as cursor:
        cursor.execute(_ENTRIES, parameters)
        return [EntryLine(*row) for row in cursor.fetchall()]


def open_holds(workspace_id: int | None = None) -> list[OpenHold]:
    """Return the open holds of a workspace, or (for operators) of all, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_HOLDS, {"workspace": workspace_id})
        return [OpenHold(*row) for row in cursor.fetchall()]


def broken_invariants() -> list[dict[str, Any]]:
    """Return what does not add up: invariant, wallet_id, subject, actual, expected. Empty, always."""
    return _broken(_BROKEN, [])


def verify_wallet(workspace_id: int) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows of one workspace's books were compared with each other, and what is wrong among them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(_VERIFIED, {"workspace": workspace_id})
        row = cursor.fetchone()
    wrong = _broken(_BROKEN.replace("ORDER", "WHERE wallet_id = %s ORDER"), [workspace_id])
    return (row[0] if row else 0), wrong


def _broken(statement: str, parameters: list[int]) -> list[dict[str, Any]]:
    with transaction.atomic(), connection.cursor() as cursor:
        # It reads all of the books, which takes as long as it takes.
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(statement, parameters)
        names = ("invariant", "wallet_id", "subject", "actual", "expected")
        return [
            {**dict(zip(names, row, strict=True)), "actual": int(row[3]), "expected": int(row[4])}
            for row in cursor.fetchall()
        ]
