"""Steps of the ledger's simulator in which an operator corrects a balance: up, down, into debt, twice, and wrongly."""

from collections.abc import Callable

from billing.services import ledger
from billing.types import AdjustOutcome
from proofs.ledger_case import Case
from proofs.ledger_credit import NEVER, PRIORITIES, SMALL_GRANT
from proofs.ledger_model import ModelGrant


def adjust(case: Case) -> None:
    """Give a little, or take a little off."""
    chance = case.chance
    who, source = case.some_wallet(), case.new_source()
    amount = chance.randint(1, SMALL_GRANT) * case.unit
    if chance.random() < 0.5:
        _give(case, who, amount, source)
    else:
        _take(case, who, amount, source, may_owe=chance.random() < 0.4)


def _give(case: Case, who: int, amount: int, source: str) -> None:
    fresh = ModelGrant(f"adjustment:{source}", "paid", amount, amount, (PRIORITIES["paid"], NEVER, case.moment))
    outcome, again = case.survive(_adjusting(case, who, amount, source))
    repaid = case.models[who].grant(fresh)
    if outcome.applied or not again:
        case.same("credit by adjustment", (outcome.applied, outcome.repaid), (True, repaid))
    _keep(case, who, amount, source)
    case.counts["adjusted_up"] += 1


def _take(case: Case, who: int, amount: int, source: str, *, may_owe: bool) -> None:
    expected = case.models[who].adjust_down(amount, may_owe=may_owe)
    work = _adjusting(case, who, -amount, source, may_owe=may_owe)
    try:
        outcome, again = case.survive(work)
    except ledger.InsufficientCreditError:
        case.same("an adjustment that is refused", None, expected)
        case.counts["adjustment_refused"] += 1
        return
    if outcome.applied or not again:
        case.same("credit taken by adjustment", (outcome.applied, (outcome.taken, outcome.owed)), (True, expected))
    _keep(case, who, -amount, source)
    case.counts["adjusted_down"] += 1


def _keep(case: Case, who: int, amount: int, source: str) -> None:
    case.adjusted[source] = (who, amount)
    case.counts["adjust"] += 1


def _adjusting(case: Case, who: int, amount: int, source: str, *, may_owe: bool = False) -> Callable[[], AdjustOutcome]:
    workspace_id = case.accounts[who].workspace_id
    return lambda: ledger.adjust(
        workspace_id=workspace_id, amount=amount, reason="Proof", actor_id=None, source=source, may_owe=may_owe
    )


def adjust_again(case: Case) -> None:
    """Deliver an adjustment a second time, and its source with another amount: neither changes anything."""
    if not case.adjusted:
        return
    source = case.chance.choice(sorted(case.adjusted))
    who, amount = case.adjusted[source]
    again = _adjusting(case, who, amount, source, may_owe=True)()
    case.same("an adjustment of a known source", (again.applied, again.taken, again.owed), (False, 0, 0))
    try:
        answer = _adjusting(case, who, -amount, source, may_owe=True)()
    except ledger.SourceConflictError:
        case.counts["adjusted_twice"] += 1
    else:
        case.same("an adjustment that must be refused", answer, ledger.SourceConflictError)
