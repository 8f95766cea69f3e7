"""The one writer of the books: wallets, grants, holds, entries and daily quotas. Amounts are nano-USD.

Every operation takes arrays, is one transaction (or joins the caller's), and fails closed: an error leaves nothing behind.
Wallets are locked first, in the order of their ids, then quota rows; all that follows reads what was committed before the
lock was had. What is used of budgets (of keys and of members, each of one workspace) changes under its wallet's lock, which is its
lock too. That order is what keeps these operations free of deadlocks; a caller that joins several of them in one
transaction gives up that promise. Every write has an idempotency key: the request's id, or the source.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Cursor

from billing import burn_down
from billing.models.ledger import EntryKind
from billing.services import ledger_budgets as budgets
from billing.services import ledger_credit as credit
from billing.services import ledger_plain as plain
from billing.services import ledger_rows as rows
from billing.services.admission import AdmissionDesk, Closing, WalletState, close_holds, limits_of
from billing.services.ledger_credit import changed_by, sweep
from billing.services.ledger_rows import Entry
from billing.types import Admission, Admitted, ExpiredHold, Settled, Settlement

#: The usual cases as single statements, for a door that runs them by itself; ``None`` from them: ask the functions below.
ADMIT, settle_parameters, settle_one_parameters = plain.ADMIT, plain.settle_parameters, plain.settle_one_parameters
settle_answers = plain.settle_answers

#: Credit given, taken back, corrected, ended and frozen: the rarer operations, under this one roof.
grant, clawback, end_grants, set_frozen = credit.grant, credit.clawback, credit.end_grants, credit.set_frozen
adjust = credit.adjust
PRIORITIES, VIP, PROMO, PAID = credit.PRIORITIES, credit.VIP, credit.PROMO, credit.PAID
LedgerError, UnknownWorkspaceError = credit.LedgerError, credit.UnknownWorkspaceError
UnknownGrantError, SourceConflictError = credit.UnknownGrantError, credit.SourceConflictError
InsufficientCreditError = credit.InsufficientCreditError

#: The other side of what was used.
REVENUE = "revenue"


def admit(admissions: Sequence[Admission]) -> list[Admitted]:
    """Let requests in: place their holds and claim their daily quotas, or say why not. Answers come in the same order.

    Credit that has expired is swept first. The key and the workspace are read in this transaction, by the database's
    clock, so a revocation that was committed before is never missed. A request that was admitted before gets the hold it
    has. Without a wallet, one is made.
    """
    if not admissions:
        return []
    if not any(admission.has_budget for admission in admissions):
        answers = plain.ADMIT.run(admissions)
        if answers:
            return answers
    return _admit_one_by_one(admissions)


def _admit_one_by_one(admissions: Sequence[Admission]) -> list[Admitted]:
    with rows.open_books() as cursor:
        wallets = rows.lock_wallets(cursor, {admission.workspace_id for admission in admissions})
        facts, at = rows.facts_of(cursor, admissions)
        sweep(cursor, wallets, at=at)
        desk = AdmissionDesk(at, wallets)
        requests = list(zip(admissions, facts, strict=True))
        subjects = {a.quota.subject for a, f in requests if a.quota and desk.refusal_by_state(a, f) is None}
        desk.used = rows.lock_quotas(cursor, subjects, day=desk.day)
        limits = [limit for a, f in requests if desk.refusal_by_state(a, f) is None for limit in limits_of(a, f)]
        desk.budgets = budgets.rows_of(cursor, limits, at=at)
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
        facts, _ = rows.facts_of(cursor, list(missing.values()))
        requests = list(zip(missing.values(), facts, strict=True))
        limits = [limit for admission, fact in requests for limit in limits_of(admission, fact)]
        desk.budgets = budgets.rows_of(cursor, limits, at=desk.at)
        for admission, fact in requests:
            desk.place_again(admission, fact)
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


def sweep_grants(*, limit: int = 1000) -> int:
    """Write off what has expired in at most ``limit`` wallets; return how many grants lost something."""
    with rows.open_books() as cursor:
        ids = rows.due_wallets(cursor, limit=limit)
        wallets = rows.lock_wallets(cursor, ids) if ids else {}
        return sweep(cursor, wallets, at=rows.now(cursor))


def _charge(cursor: Cursor[Any], wallets: Mapping[int, WalletState], closing: Closing) -> None:
    """Spend the charges of a batch, and write the holds, grants and wallets that it touches."""
    grants = rows.grants_of(cursor, closing.charges)
    changed, entries = [], []
    for wallet_id, charges in closing.charges.items():
        wallet = wallets[wallet_id]
        cuts = burn_down.spend(grants[wallet_id], charges)
        wallet.posted -= sum(cut.amount for cut in cuts)
        wallet.next_expiry = burn_down.next_expiry_of(grants[wallet_id])
        changed += changed_by(cuts, grants[wallet_id])
        entries += [Entry(wallet_id, cut.grant_id, EntryKind.USAGE, REVENUE, -cut.amount, cut.ref) for cut in cuts]
    touched = [wallets[wallet_id] for wallet_id in closing.freed.keys() | closing.charges.keys()]
    rows.post(cursor, touched, changed, entries, closing.closed)
    budgets.change(cursor, closing.budgets)
