"""Credit that comes and goes, by hand, by payment and by time. A part of billing.services.ledger, through which it is called."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from psycopg import Cursor

from billing import burn_down
from billing.burn_down import Cut, GrantState
from billing.models.ledger import EntryKind, GrantKind
from billing.services import ledger_rows as rows
from billing.services.admission import WalletState
from billing.services.ledger_rows import Entry
from billing.types import ClawbackOutcome, GrantOutcome
from lumyx.lib import clock
from lumyx.lib.money import MAX_NANO, format_usd

#: The kinds that can be granted.
VIP, PROMO, PAID = GrantKind.VIP.value, GrantKind.PROMO.value, GrantKind.PAID.value
#: Burn-down: what the customer paid for is spent last.
PRIORITIES = {GrantKind.VIP: 10, GrantKind.PROMO: 10, GrantKind.PAID: 30}
#: The other sides of entries. Credit is "issued:<kind>"; a repaid debt moves between two grants of one wallet.
BREAKAGE, RETURNED, DEBT = "breakage", "returned", "debt"


class LedgerError(Exception):
    """The books refuse an operation; nothing was written."""


class UnknownWorkspaceError(LedgerError):
    """There is no such workspace."""


class UnknownGrantError(LedgerError):
    """The workspace has no grant of that source."""


class SourceConflictError(LedgerError):
    """A source came a second time with other contents: one of the two is wrong."""


def grant(
    *,
    workspace_id: int,
    kind: str,
    amount: int,
    source: str,
    expires_at: dt.datetime | None = None,
    note: str = "",
) -> GrantOutcome:
    """Give a workspace credit, once per ``source``. Debt is repaid first; the rest can be spent at once.

    Raises:
        ValueError: amount not above zero, an unknown kind, an empty source, paid credit that would expire, or an expiry
            that is not a time in UTC.
        UnknownWorkspaceError: no such workspace.
        SourceConflictError: the source was granted before with another workspace, kind or amount.
    """
    if not 0 < amount <= MAX_NANO:
        raise ValueError("A grant must be above zero and fit the books.")
    if kind not in PRIORITIES:
        raise ValueError(f"A grant is {', '.join(sorted(PRIORITIES))}; not {kind!r}.")
    if kind == GrantKind.PAID and expires_at is not None:
        raise ValueError("Paid credit never expires.")
    if not source.strip():
        raise ValueError("A grant needs a source, so that it is given once.")
    expires_at = None if expires_at is None else clock.in_utc(expires_at)
    with rows.open_books(savepoint=True) as cursor:
        wallet = _lock_one(cursor, workspace_id)
        grant_id = rows.add_grant(
            cursor, (workspace_id, kind, PRIORITIES[GrantKind(kind)], amount, expires_at, source, note)
        )
        if grant_id is None:
            return _granted_before(cursor, source, wanted=(workspace_id, kind, amount))
        grants = rows.grants_of(cursor, [workspace_id])[workspace_id]
        overdraft = grants[-1]
        repaid = min(-overdraft.remaining, amount)
        fresh = GrantState(grant_id, amount - repaid, expires_at)
        overdraft.remaining += repaid
        if wallet.posted + amount > MAX_NANO:
            raise ValueError(f"The balance would be more than {format_usd(MAX_NANO)}, which the books cannot hold.")
        entries = [Entry(workspace_id, fresh.id, EntryKind.GRANT, f"issued:{kind}", amount, source)]
        if repaid:
            entries.append(Entry(workspace_id, fresh.id, EntryKind.DEBT_REPAY, DEBT, -repaid, source))
            entries.append(Entry(workspace_id, overdraft.id, EntryKind.DEBT_REPAY, DEBT, repaid, source))
        wallet.posted += amount
        wallet.next_expiry = burn_down.next_expiry_of([*grants, fresh])
        rows.post(cursor, [wallet], [fresh, overdraft], entries)
        return GrantOutcome(grant_id=fresh.id, created=True, repaid=repaid)


def clawback(
    *, workspace_id: int, grant_source: str, source: str, amount: int | None = None, freeze: bool = False
) -> ClawbackOutcome:
    """Take a grant back (all of it without ``amount``), once per ``source``: what it still has, and the rest as debt.

    What expired of it is gone already and makes no debt: its expiry is turned round, and it is taken back like the rest. So a
    refund that is heard of late costs what it would have cost in time.

    Raises:
        ValueError: an amount not above zero or above the grant's, or an empty source.
        UnknownWorkspaceError, UnknownGrantError: no such workspace, or no such grant of it.
        SourceConflictError: the source took back another amount before.
    """
    if not source.strip():
        raise ValueError("A clawback needs a source, so that it is taken once.")
    with rows.open_books(savepoint=True) as cursor:
        wallet = _lock_one(cursor, workspace_id)
        row = rows.grant_of_source(cursor, grant_source)
        if row is None or row.wallet_id != workspace_id or row.kind == GrantKind.OVERDRAFT:
            raise UnknownGrantError(f"The workspace has no grant from {grant_source!r}.")
        amount = row.amount if amount is None else amount
        if not 0 < amount <= row.amount:
            raise ValueError(f"A clawback of this grant is above zero and at most {row.amount} nano-USD.")
        before = rows.booked(cursor, ref=source, kind=EntryKind.CLAWBACK)
        if before:
            if before != -amount:
                raise SourceConflictError(f"{source!r} took back another amount before.")
            return ClawbackOutcome(applied=False)
        grants = rows.grants_of(cursor, [workspace_id])[workspace_id]
        overdraft = grants[-1]
        taken = min(row.remaining, amount)
        gone = min(amount - taken, -rows.booked_against(cursor, row.id, contra=BREAKAGE))
        owed = amount - taken - gone
        states = [state for state in grants if state.id == row.id or (state is overdraft and owed)]
        for state in states:
            state.remaining -= owed if state is overdraft else taken
        entries = [
            Entry(workspace_id, row.id, EntryKind.ADJUST, BREAKAGE, gone, source),
            Entry(workspace_id, row.id, EntryKind.CLAWBACK, RETURNED, -taken - gone, source),
            Entry(workspace_id, overdraft.id, EntryKind.CLAWBACK, RETURNED, -owed, source),
        ]
        wallet.posted -= taken + owed
        wallet.frozen = wallet.frozen or freeze
        wallet.next_expiry = burn_down.next_expiry_of(grants)
        rows.post(cursor, [wallet], states, [entry for entry in entries if entry.amount])
        return ClawbackOutcome(applied=True, from_grant=taken, to_overdraft=owed)


def end_grants(*, workspace_id: int, sources: Collection[str]) -> int:
    """Let what is left of grants expire now, as if their time had come; return how many of them lost something.

    What open holds were promised stays until they are closed. Sources that granted nothing here change nothing. Raises
    UnknownWorkspaceError.
    """
    with rows.open_books(savepoint=True) as cursor:
        wallet = _lock_one(cursor, workspace_id)
        at = rows.now(cursor)
        if not rows.end_grants(cursor, workspace_id, sources, at=at):
            return 0
        wallet.next_expiry = at
        ended = sweep(cursor, {workspace_id: wallet}, at=at)
        # Also where holds keep all of it: what is left is due from now on.
        rows.post(cursor, [wallet])
        return ended


def set_frozen(*, workspace_id: int, frozen: bool) -> None:
    """Stop a wallet's credit from being held (a dispute), or let it go on. Raises UnknownWorkspaceError."""
    with rows.open_books(savepoint=True) as cursor:
        wallet = _lock_one(cursor, workspace_id)
        wallet.frozen = frozen
        rows.post(cursor, [wallet])


def sweep(cursor: Cursor[Any], wallets: Mapping[int, WalletState], *, at: dt.datetime) -> int:
    """Write off what has expired in locked wallets; return how many grants lost something."""
    due = [wallet for wallet in wallets.values() if wallet.next_expiry is not None and wallet.next_expiry <= at]
    grants = rows.grants_of(cursor, [wallet.id for wallet in due])
    changed, entries = [], []
    for wallet in due:
        cuts = burn_down.expire(grants[wallet.id], posted=wallet.posted, held=wallet.held, at=at)
        wallet.posted -= sum(cut.amount for cut in cuts)
        wallet.next_expiry = burn_down.next_expiry_of(grants[wallet.id])
        changed += changed_by(cuts, grants[wallet.id])
        entries += [Entry(wallet.id, cut.grant_id, EntryKind.EXPIRE, BREAKAGE, -cut.amount, cut.ref) for cut in cuts]
    if entries:
        rows.post(cursor, due, changed, entries)
    return len(entries)


def changed_by(cuts: Iterable[Cut], grants: Iterable[GrantState]) -> list[GrantState]:
    ids = {cut.grant_id for cut in cuts}
    return [grant for grant in grants if grant.id in ids]


def _lock_one(cursor: Cursor[Any], workspace_id: int) -> WalletState:
    wallet = rows.lock_wallets(cursor, [workspace_id]).get(workspace_id)
    if wallet is None:
        raise UnknownWorkspaceError(f"There is no workspace {workspace_id}.")
    return wallet


def _granted_before(cursor: Cursor[Any], source: str, *, wanted: tuple[int, str, int]) -> GrantOutcome:
    row = rows.grant_of_source(cursor, source)
    if row is None or (row.wallet_id, row.kind, row.amount) != wanted:
        raise SourceConflictError(f"{source!r} was granted before with another workspace, kind or amount.")
    return GrantOutcome(grant_id=row.id, created=False)
