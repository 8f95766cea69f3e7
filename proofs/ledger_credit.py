"""Steps of the ledger's simulator that are about credit: it comes, runs out, is taken back, frozen; and who may come in at all."""

import datetime as dt
import time
from collections.abc import Callable

from billing.services import ledger
from billing.types import ClawbackOutcome
from lumyx.lib import clock
from lumyx.lib.money import MAX_NANO
from proofs.ledger_case import Case, run_sql
from proofs.ledger_model import ModelGrant

#: In units (see Case).
SMALL_GRANT, BIG_GRANT = 40, 900
PRIORITIES = {"vip": 10, "promo": 10, "paid": 30}
#: Places in burn-down order within a priority: what expired by hand, by the clock, what does in so many hours, and what never does.
GONE, OVER, NEVER = -2, -1, 9
#: How long a brief grant lives, in seconds.
BRIEF = 0.003
NOBODY = 2**40

BARS = {
    "key_orphaned": "UPDATE accounts_membership SET role = 'viewer' WHERE workspace_id = %s",
    "key_disabled": "UPDATE accounts_apikey SET disabled_at = now() WHERE workspace_id = %s",
    "key_revoked": "UPDATE accounts_apikey SET revoked_at = now() WHERE workspace_id = %s",
    "key_expired": "UPDATE accounts_apikey SET expires_at = now() WHERE workspace_id = %s",
    "workspace_suspended": "UPDATE accounts_workspace SET suspended_at = now() WHERE id = %s",
}


def grant_something(case: Case) -> None:
    """Grant little or much, with or without an end."""
    chance = case.chance
    amount = chance.choice((SMALL_GRANT, SMALL_GRANT, BIG_GRANT)) * case.unit + chance.randrange(case.unit)
    grant(case, case.some_wallet(), chance.choice(("paid", "promo", "vip")), amount)


def grant(case: Case, who: int, kind: str, amount: int) -> None:
    """Grant ``amount``; what expires does so after one to three hours."""
    hours = case.chance.randint(0, 3) if kind != "paid" else 0
    _grant(case, who, kind, amount, expires_at=clock.now() + dt.timedelta(hours=hours) if hours else None, hours=hours)


def grant_briefly(case: Case) -> None:
    """Grant credit whose end comes at once, by the clock; or has come already."""
    chance = case.chance
    expires_at = clock.now() + dt.timedelta(seconds=chance.choice((-1, BRIEF, BRIEF)))
    kind = chance.choice(("promo", "vip"))
    fresh = _grant(case, case.some_wallet(), kind, SMALL_GRANT, expires_at=expires_at, hours=0)
    while clock.now() <= expires_at:
        time.sleep(BRIEF / 4)
    fresh.expired = True
    fresh.rank = (fresh.rank[0], OVER, int(expires_at.timestamp() * 1_000_000))
    case.counts["brief"] += 1


def _grant(case: Case, who: int, kind: str, amount: int, *, expires_at: dt.datetime | None, hours: int) -> ModelGrant:
    source = case.new_source()
    fresh = ModelGrant(source, kind, amount, amount, (PRIORITIES[kind], hours or NEVER, case.moment))
    workspace_id = case.accounts[who].workspace_id
    outcome, again = case.survive(
        lambda: ledger.grant(workspace_id=workspace_id, kind=kind, amount=amount, source=source, expires_at=expires_at)
    )
    repaid = case.models[who].grant(fresh)
    if outcome.created or not again:
        case.same("a grant", (outcome.created, outcome.repaid), (True, repaid))
    case.counts["grant"] += 1
    case.counts["repaid"] += repaid > 0
    return fresh


def grant_again(case: Case) -> None:
    """Deliver a source a second time."""
    who, old = case.chance.choice(case.old_grants())
    again = ledger.grant(
        workspace_id=case.accounts[who].workspace_id, kind=old.kind, amount=old.amount, source=old.source
    )
    case.same("a grant of a known source", (again.created, again.repaid), (False, 0))
    case.counts["granted_twice"] += 1


def let_expire(case: Case) -> None:
    """Let the time of one grant pass, and sweep or leave that to the next admission."""
    live = [grant for _, grant in case.old_grants() if 0 <= grant.rank[1] < NEVER]
    if live:
        grant = case.chance.choice(live)
        grant.expired = True
        grant.rank = (grant.rank[0], GONE, case.next_moment())
        _end(case, grant)
    if case.chance.random() < 0.5:
        sweep(case)


def _end(case: Case, grant: ModelGrant) -> None:
    """Give a grant an end that is past, and later than all that were given before."""
    end = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=grant.rank[2])
    run_sql("UPDATE billing_creditgrant SET expires_at = %s WHERE source = %s", end, grant.source)
    run_sql(
        "UPDATE billing_wallet w SET next_expiry = least(w.next_expiry, g.expires_at) FROM billing_creditgrant g"
        " WHERE g.source = %s AND g.remaining > 0 AND w.workspace_id = g.wallet_id",
        grant.source,
    )


def sweep(case: Case) -> None:
    """Write off what has expired everywhere."""
    before = [grant.remaining for _, grant in case.old_grants()]
    for model in case.models:
        model.sweep()
    lost = sum(now.remaining != then for (_, now), then in zip(case.old_grants(), before, strict=True))
    swept, again = case.survive(ledger.sweep_grants)
    if swept or not again:
        case.same("grants that lost something", swept, lost)
    case.counts["sweep"] += 1
    case.counts["written_off"] += lost


def claw_back(case: Case) -> None:
    """Take a part of a grant back, or all of it, spent or not; now and then with a freeze."""
    chance = case.chance
    # Rather one that is spent: that makes debt.
    who, grant = min(chance.choices(case.old_grants(), k=3), key=lambda owned: owned[1].remaining)
    freeze = chance.random() < 0.2
    is_whole = chance.random() < 0.2
    amount = grant.amount if is_whole else max(1, grant.amount * chance.randint(1, 100) // 100)
    source = case.new_source()
    work = _clawing(case, source, who, grant.source, amount=None if is_whole else amount, freeze=freeze)
    outcome, again = case.survive(work)
    if outcome.applied or not again:
        taken = case.models[who].claw_back(grant, amount)
        case.same("a clawback", (outcome.applied, outcome.from_grant, outcome.to_overdraft), (True, *taken))
    else:
        case.models[who].claw_back(grant, amount)
    case.models[who].frozen |= freeze
    case.clawed[source] = (who, grant.source, amount)
    case.counts["clawback"] += 1


def _clawing(
    case: Case, source: str, who: int, grant_source: str, *, amount: int | None, freeze: bool = False
) -> Callable[[], ClawbackOutcome]:
    workspace_id = case.accounts[who].workspace_id
    return lambda: ledger.clawback(
        workspace_id=workspace_id, grant_source=grant_source, source=source, amount=amount, freeze=freeze
    )


def claw_back_again(case: Case) -> None:
    """Deliver a clawback a second time; it freezes nothing then."""
    if case.clawed:
        source = case.chance.choice(sorted(case.clawed))
        who, grant_source, amount = case.clawed[source]
        again = _clawing(case, source, who, grant_source, amount=amount, freeze=True)()
        case.same("a clawback of a known source", (again.applied, again.from_grant, again.to_overdraft), (False, 0, 0))
        case.counts["clawed_twice"] += 1


def conflict(case: Case) -> None:
    """Ask for what the books must refuse; nothing of it may stay."""
    chance = case.chance
    who, old = chance.choice(case.old_grants())
    workspace_id, other = case.accounts[who].workspace_id, case.accounts[who - 1].workspace_id
    refused: list[tuple[type[Exception], dict[str, object]]] = [
        (ledger.SourceConflictError, {"amount": old.amount + 1}),
        (ledger.SourceConflictError, {"kind": "paid" if old.kind != "paid" else "vip"}),
        (ledger.SourceConflictError, {"workspace_id": other}),
        (ledger.UnknownWorkspaceError, {"workspace_id": NOBODY, "source": "new"}),
        (ValueError, {"amount": MAX_NANO + 1, "source": "new"}),
        (ValueError, {"amount": 0, "source": "new"}),
    ]
    if case.models[who].posted > 0:
        refused.append((ValueError, {"amount": MAX_NANO, "source": "new"}))
    expected, change = chance.choice(refused)
    asked = {"workspace_id": workspace_id, "kind": old.kind, "amount": old.amount, "source": old.source, **change}
    _must_refuse(case, expected, lambda: ledger.grant(**asked))  # type: ignore[arg-type]
    _must_refuse(case, ledger.UnknownGrantError, _clawing(case, "new", who - 1, old.source, amount=1))
    _must_refuse(case, ValueError, _clawing(case, "new", who, old.source, amount=old.amount + 1))
    if case.clawed:
        source, (who, grant_source, amount) = chance.choice(sorted(case.clawed.items()))
        other_amount = amount - 1 or 2
        expected = ValueError if other_amount > _amount_of(case, grant_source) else ledger.SourceConflictError
        _must_refuse(case, expected, _clawing(case, source, who, grant_source, amount=other_amount))
    case.counts["conflict"] += 1
    case.compare()


def _amount_of(case: Case, source: str) -> int:
    return next(grant.amount for _, grant in case.old_grants() if grant.source == source)


def _must_refuse(case: Case, expected: type[Exception], work: Callable[[], object]) -> None:
    try:
        answer = work()
    except (ledger.LedgerError, ValueError) as error:
        case.same("how it was refused", type(error), expected)
    else:
        case.same("what must be refused", answer, expected)


def freeze(case: Case) -> None:
    """Stop a wallet's credit."""
    who = case.some_wallet()
    ledger.set_frozen(workspace_id=case.accounts[who].workspace_id, frozen=True)
    case.models[who].frozen = True


def thaw(case: Case) -> None:
    """Let all credit be spent again."""
    for account, model in zip(case.accounts, case.models, strict=True):
        if model.frozen:
            ledger.set_frozen(workspace_id=account.workspace_id, frozen=False)
            model.frozen = False


def bar(case: Case) -> None:
    """Revoke a key, let one run out or suspend a workspace."""
    who, barred = case.some_wallet(), case.chance.choice(sorted(BARS))
    if case.models[who].barred is None:
        run_sql(BARS[barred], case.accounts[who].workspace_id)
        case.models[who].barred = barred
        case.counts["barred"] += 1


def let_all_in(case: Case) -> None:
    """Put all keys and workspaces in order again."""
    if any(model.barred for model in case.models):
        case.admit_everybody()
