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
from billing.types import AdjustOutcome, ClawbackOutcome, GrantOutcome
from lumyx.lib import clock
from lumyx.lib.money import MAX_NANO, format_usd

#: The kinds that can be granted.
VIP, PROMO, PAID = GrantKind.VIP.value, GrantKind.PROMO.value, GrantKind.PAID.value
#: Burn-down: what the customer paid for is spent last.
PRIORITIES = {GrantKind.VIP: 10, GrantKind.PROMO: 10, GrantKind.PAID: 30}
#: The other sides of entries. Credit is "issued:<kind>"; a repaid debt moves between two grants of one wallet.
BREAKAGE, RETURNED, DEBT, ADJUSTMENT = "breakage", "returned", "debt", "adjustment"
_LONGEST_SOURCE, _LONGEST_TEXT = 180, 500


class LedgerError(Exception):
    """The books refuse an operation; nothing was written."""


class UnknownWorkspaceError(LedgerError):
    """There is no such workspace."""


class UnknownGrantError(LedgerError):
    """The workspace has no grant of that source."""


class InsufficientCreditError(LedgerError):
    """The wallet has less than is to be taken off it."""


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
    repays_debt: bool = True,
) -> GrantOutcome:
    """Give a workspace credit, once per ``source``. Debt is repaid first, unless it shall not; the rest can be spent at once.

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
        entry = Entry(workspace_id, grant_id, EntryKind.GRANT, f"issued:{kind}", amount, source)
        repaid = _add(cursor, wallet, amount, entry, expires_at=expires_at, repays_debt=repays_debt)
        return GrantOutcome(grant_id=grant_id, created=True, repaid=repaid)


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


def adjust(
    *,
    workspace_id: int,
    amount: int,
    reason: str,
    actor_id: int | None,
    source: str,
    note: str = "",
    may_owe: bool = False,
) -> AdjustOutcome:
    """Correct a balance by a signed amount, once per ``source``; who did it (None: the command line) and why is kept beside.

    Above zero it is a grant of paid credit that never expires: debt is repaid first, and ``note`` is what the workspace sees.
    Below zero it is taken off the grants in burn-down order, of what open holds were not promised. With ``may_owe`` also of
    that, and what the grants do not have becomes debt.

    Raises:
        ValueError: an amount of zero or that the books cannot hold, no reason, no source, or texts that are too long.
        UnknownWorkspaceError: no such workspace.
        InsufficientCreditError: less is free than is to be taken, and the wallet may not owe.
        SourceConflictError: the source adjusted another workspace or by another amount before.
    """
    if not 0 < abs(amount) <= MAX_NANO:
        raise ValueError("An adjustment is not zero and fits the books.")
    if not reason.strip() or not source.strip():
        raise ValueError("An adjustment needs a reason, and a source so that it is made once.")
    if len(source) > _LONGEST_SOURCE or max(len(reason), len(note)) > _LONGEST_TEXT:
        raise ValueError(f"A source has at most {_LONGEST_SOURCE} characters, reason and note {_LONGEST_TEXT}.")
    with rows.open_books(savepoint=True) as cursor:
        wallet = _lock_one(cursor, workspace_id)
        if not rows.add_adjustment(cursor, (workspace_id, amount, reason.strip(), note, actor_id, source)):
            if rows.adjustment_of_source(cursor, source) != (workspace_id, amount):
                raise SourceConflictError(f"{source!r} adjusted another workspace or by another amount before.")
            return AdjustOutcome(applied=False)
        ref = f"{ADJUSTMENT}:{source}"
        if amount < 0:
            return _take(cursor, wallet, -amount, ref, may_owe=may_owe)
        values = (workspace_id, PAID, PRIORITIES[GrantKind.PAID], amount, None, ref, note)
        grant_id = rows.add_grant(cursor, values)
        if grant_id is None:
            raise SourceConflictError(f"{ref!r} is the source of a grant.")
        entry = Entry(workspace_id, grant_id, EntryKind.ADJUST, ADJUSTMENT, amount, ref)
        return AdjustOutcome(applied=True, repaid=_add(cursor, wallet, amount, entry))


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


def _add(
    cursor: Cursor[Any],
    wallet: WalletState,
    amount: int,
    entry: Entry,
    *,
    expires_at: dt.datetime | None = None,
    repays_debt: bool = True,
) -> int:
    """Write the entry that fills a new grant, debt first; return what that repaid."""
    grants = rows.grants_of(cursor, [wallet.id])[wallet.id]
    overdraft = grants[-1]
    repaid = min(-overdraft.remaining, amount) if repays_debt else 0
    fresh = GrantState(entry.grant_id, amount - repaid, expires_at)
    overdraft.remaining += repaid
    if wallet.posted + amount > MAX_NANO:
        raise ValueError(f"The balance would be more than {format_usd(MAX_NANO)}, which the books cannot hold.")
    entries = [entry]
    if repaid:
        entries.append(Entry(wallet.id, fresh.id, EntryKind.DEBT_REPAY, DEBT, -repaid, entry.ref))
        entries.append(Entry(wallet.id, overdraft.id, EntryKind.DEBT_REPAY, DEBT, repaid, entry.ref))
    wallet.posted += amount
    wallet.next_expiry = burn_down.next_expiry_of([*grants, fresh])
    rows.post(cursor, [wallet], [fresh, overdraft], entries)
    return repaid


def _take(cursor: Cursor[Any], wallet: WalletState, amount: int, ref: str, *, may_owe: bool) -> AdjustOutcome:
    """Take an amount off the grants in burn-down order; what they do not have becomes debt where that is allowed."""
    sweep(cursor, {wallet.id: wallet}, at=rows.now(cursor))
    if amount > wallet.available and not may_owe:
        free = format_usd(max(0, wallet.available), places=6)
        raise InsufficientCreditError(
            f"Only {free} can be taken: the rest is spent, or set aside for requests that run. Take less, or allow a debt."
        )
    if wallet.posted - amount < -MAX_NANO:
        raise ValueError(f"The debt would be more than {format_usd(MAX_NANO)}, which the books cannot hold.")
    grants = rows.grants_of(cursor, [wallet.id])[wallet.id]
    cuts = burn_down.spend(grants, [(ref, amount)])
    wallet.posted -= amount
    wallet.next_expiry = burn_down.next_expiry_of(grants)
    entries = [Entry(wallet.id, cut.grant_id, EntryKind.ADJUST, ADJUSTMENT, -cut.amount, ref) for cut in cuts]
    rows.post(cursor, [wallet], changed_by(cuts, grants), entries)
    owed = sum(cut.amount for cut in cuts if cut.grant_id == grants[-1].id)
    return AdjustOutcome(applied=True, taken=amount - owed, owed=owed)


def _granted_before(cursor: Cursor[Any], source: str, *, wanted: tuple[int, str, int]) -> GrantOutcome:
    row = rows.grant_of_source(cursor, source)
    if row is None or (row.wallet_id, row.kind, row.amount) != wanted:
        raise SourceConflictError(f"{source!r} was granted before with another workspace, kind or amount.")
    return GrantOutcome(grant_id=row.id, created=False)
