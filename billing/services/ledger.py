"""The one writer of the books: wallets, grants, holds, entries and daily quotas. Amounts are nano-USD.

Every operation takes arrays, is one transaction (or joins the caller's), and fails closed: an error leaves nothing behind.
Wallets are locked first, in the order of their ids, then quota rows; all that follows reads what was committed before the
lock was had. That order is what keeps these operations free of deadlocks; a caller that joins several of them in one
transaction gives up that promise. Every write has an idempotency key: the request's id, or the source.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import Cursor

from billing import burn_down
from billing.burn_down import Cut, GrantState
from billing.models.ledger import EntryKind, GrantKind
from billing.services import ledger_plain as plain
from billing.services import ledger_rows as rows
from billing.services.admission import AdmissionDesk, Closing, WalletState, close_holds
from billing.services.ledger_rows import Entry
from billing.types import Admission, Admitted, ClawbackOutcome, ExpiredHold, GrantOutcome, Settled, Settlement
from lumyx.lib import clock
from lumyx.lib.money import MAX_NANO, format_usd

#: The usual cases as single statements, for a door that runs them by itself; ``None`` from them: ask the functions below.
ADMIT, settle_parameters, settle_one_parameters = plain.ADMIT, plain.settle_parameters, plain.settle_one_parameters
settle_answers = plain.settle_answers

#: Burn-down: what the customer paid for is spent last.
PRIORITIES = {GrantKind.VIP: 10, GrantKind.PROMO: 10, GrantKind.PAID: 30}
#: The other sides of entries. Credit is "issued:<kind>"; a repaid debt moves between two grants of one wallet.
REVENUE, BREAKAGE, RETURNED, DEBT = "revenue", "breakage", "returned", "debt"


class LedgerError(Exception):
    """The books refuse an operation; nothing was written."""


class UnknownWorkspaceError(LedgerError):
    """There is no such workspace."""


class UnknownGrantError(LedgerError):
    """The workspace has no grant of that source."""


class SourceConflictError(LedgerError):
    """A source came a second time with other contents: one of the two is wrong."""


def admit(admissions: Sequence[Admission]) -> list[Admitted]:
    """Let requests in: place their holds and claim their daily quotas, or say why not. Answers come in the same order.

    Credit that has expired is swept first. The key and the workspace are read in this transaction, by the database's
    clock, so a revocation that was committed before is never missed. A request that was admitted before gets the hold it
    has. Without a wallet, one is made.
    """
    if not admissions:
        return []
    return plain.ADMIT.run(admissions) or _admit_one_by_one(admissions)


def _admit_one_by_one(admissions: Sequence[Admission]) -> list[Admitted]:
    with rows.open_books() as cursor:
        wallets = rows.lock_wallets(cursor, {admission.workspace_id for admission in admissions})
        facts, at = rows.facts_of(cursor, admissions)
        _sweep(cursor, wallets, at=at)
        desk = AdmissionDesk(at, wallets)
        requests = list(zip(admissions, facts, strict=True))
        subjects = {a.quota.subject for a, f in requests if a.quota and desk.refusal_by_state(a, f) is None}
        desk.used = rows.lock_quotas(cursor, subjects, day=desk.day)
        answers = [desk.decide(admission, fact) for admission, fact in requests]
        rows.place_holds(cursor, desk)
    return answers


def settle(settlements: Sequence[Settlement]) -> list[Settled]:
    """Close holds: charge min(rated, hold) over the grants in burn-down order, or release. Answers come in the same order.

    An expired hold is charged all the same; what no grant covers becomes debt. A release gives the daily quota back, on
    the day it was claimed. A hold that is not there is placed again where the settlement says what it was. What is already
    closed, or was never open, changes nothing.

    Raises:
        ValueError: a rated amount below zero.
    """
    if not settlements:
        return []
    if any(settlement.rated is not None and settlement.rated < 0 for settlement in settlements):
        raise ValueError("A rated amount cannot be below zero.")
    return plain.SETTLE.run(settlements) or settle_one_by_one(settlements)


def settle_one_by_one(settlements: Sequence[Settlement]) -> list[Settled]:
    """Settle as ``settle`` does, for a caller whom the usual case has declined already."""
    ids = [settlement.request_id for settlement in settlements]
    with rows.open_books() as cursor:
        known = rows.holds_of(cursor, ids)
        lost = [s.admission for s in settlements if s.request_id not in known and s.rated is not None and s.admission]
        owners = {hold.wallet_id for hold in known.values()} | {admission.workspace_id for admission in lost}
        wallets = rows.lock_wallets(cursor, owners)
        _place_again(cursor, wallets, lost)
        # One that appeared while the locks were waited for is not there yet: its wallet may not be locked.
        holds = {id: hold for id, hold in rows.holds_of(cursor, ids).items() if hold.wallet_id in wallets}
        closing = close_holds(settlements, holds)
        rows.give_back_quotas(cursor, closing.given_back)
        for wallet_id, amount in closing.freed.items():
            wallets[wallet_id].held -= amount
        _charge(cursor, wallets, closing)
    return closing.answers


def _place_again(cursor: Cursor[Any], wallets: Mapping[int, WalletState], lost: Sequence[Admission]) -> None:
    """Place holds that a crash lost, each with what it had, or with what is left; whoever asks twice gets one."""
    there = rows.holds_of(cursor, [admission.request_id for admission in lost]) if lost else {}
    missing = {a.request_id: a for a in lost if a.request_id not in there and a.workspace_id in wallets}
    if missing:
        desk = AdmissionDesk(rows.now(cursor), wallets)
        rows.lock_quotas(cursor, {a.quota.subject for a in missing.values() if a.quota}, day=desk.day)
        for admission in missing.values():
            desk.place_again(admission)
        rows.place_holds(cursor, desk)


def expire_holds(*, limit: int = 1000) -> list[ExpiredHold]:
    """Close at most ``limit`` holds whose time has passed, oldest first. Their quota stays claimed until a late release."""
    with rows.open_books() as cursor:
        ids = rows.due_holds(cursor, limit=limit)
        if not ids:
            return []
        rows.lock_wallets_of_holds(cursor, ids)
        return rows.expire_holds(cursor, ids)


def extend_holds(ids: Sequence[uuid.UUID], *, ttl: float) -> None:
    """Let open holds live at least ``ttl`` seconds from now; never shorter than they had. Closed ones stay closed."""
    if not ids:
        return
    with rows.open_books() as cursor:
        rows.lock_wallets_of_holds(cursor, ids)
        rows.extend_holds(cursor, ids, ttl=ttl)


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
        taken = min(row.remaining, amount)
        changed = {row.id: taken, grants[-1].id: amount - taken}
        states = [state for state in grants if changed.get(state.id)]
        for state in states:
            state.remaining -= changed[state.id]
        entries = [Entry(workspace_id, s.id, EntryKind.CLAWBACK, RETURNED, -changed[s.id], source) for s in states]
        wallet.posted -= amount
        wallet.frozen = wallet.frozen or freeze
        wallet.next_expiry = burn_down.next_expiry_of(grants)
        rows.post(cursor, [wallet], states, entries)
        return ClawbackOutcome(applied=True, from_grant=taken, to_overdraft=amount - taken)


def set_frozen(*, workspace_id: int, frozen: bool) -> None:
    """Stop a wallet's credit from being held (a dispute), or let it go on. Raises UnknownWorkspaceError."""
    with rows.open_books(savepoint=True) as cursor:
        wallet = _lock_one(cursor, workspace_id)
        wallet.frozen = frozen
        rows.post(cursor, [wallet])


def sweep_grants(*, limit: int = 1000) -> int:
    """Write off what has expired in at most ``limit`` wallets; return how many grants lost something."""
    with rows.open_books() as cursor:
        ids = rows.due_wallets(cursor, limit=limit)
        wallets = rows.lock_wallets(cursor, ids) if ids else {}
        return _sweep(cursor, wallets, at=rows.now(cursor))


def _lock_one(cursor: Cursor[Any], workspace_id: int) -> WalletState:
    wallet = rows.lock_wallets(cursor, [workspace_id]).get(workspace_id)
    if wallet is None:
        raise UnknownWorkspaceError(f"There is no workspace {workspace_id}.")
    return wallet


def _charge(cursor: Cursor[Any], wallets: Mapping[int, WalletState], closing: Closing) -> None:
    """Spend the charges of a batch, and write the holds, grants and wallets that it touches."""
    grants = rows.grants_of(cursor, closing.charges)
    changed, entries = [], []
    for wallet_id, charges in closing.charges.items():
        wallet = wallets[wallet_id]
        cuts = burn_down.spend(grants[wallet_id], charges)
        wallet.posted -= sum(cut.amount for cut in cuts)
        wallet.next_expiry = burn_down.next_expiry_of(grants[wallet_id])
        changed += _changed_by(cuts, grants[wallet_id])
        entries += [Entry(wallet_id, cut.grant_id, EntryKind.USAGE, REVENUE, -cut.amount, cut.ref) for cut in cuts]
    touched = [wallets[wallet_id] for wallet_id in closing.freed.keys() | closing.charges.keys()]
    rows.post(cursor, touched, changed, entries, closing.closed)


def _sweep(cursor: Cursor[Any], wallets: Mapping[int, WalletState], *, at: dt.datetime) -> int:
    """Write off what has expired in locked wallets; return how many grants lost something."""
    due = [wallet for wallet in wallets.values() if wallet.next_expiry is not None and wallet.next_expiry <= at]
    grants = rows.grants_of(cursor, [wallet.id for wallet in due])
    changed, entries = [], []
    for wallet in due:
        cuts = burn_down.expire(grants[wallet.id], posted=wallet.posted, held=wallet.held, at=at)
        wallet.posted -= sum(cut.amount for cut in cuts)
        wallet.next_expiry = burn_down.next_expiry_of(grants[wallet.id])
        changed += _changed_by(cuts, grants[wallet.id])
        entries += [Entry(wallet.id, cut.grant_id, EntryKind.EXPIRE, BREAKAGE, -cut.amount, cut.ref) for cut in cuts]
    if entries:
        rows.post(cursor, due, changed, entries)
    return len(entries)


def _changed_by(cuts: Iterable[Cut], grants: Iterable[GrantState]) -> list[GrantState]:
    ids = {cut.grant_id for cut in cuts}
    return [grant for grant in grants if grant.id in ids]


def _granted_before(cursor: Cursor[Any], source: str, *, wanted: tuple[int, str, int]) -> GrantOutcome:
    row = rows.grant_of_source(cursor, source)
    if row is None or (row.wallet_id, row.kind, row.amount) != wanted:
        raise SourceConflictError(f"{source!r} was granted before with another workspace, kind or amount.")
    return GrantOutcome(grant_id=row.id, created=False)
