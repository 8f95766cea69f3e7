"""Random histories of a few wallets, done by the real ledger and by the model; whatever differs is a fault.

A step is a call of one of the ledger's public functions. Time passes by hand (ends are moved into the past) and by the clock
(credit that lives a few milliseconds).
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import psycopg

from billing.services import ledger
from gateway.services.settlement import settle_exchanges
from proofs.ledger_adjust import adjust, adjust_again
from proofs.ledger_budgets import set_budget
from proofs.ledger_case import Case
from proofs.ledger_crashes import crash_at_a_statement, rolled_back
from proofs.ledger_credit import (
    bar,
    claw_back,
    claw_back_again,
    conflict,
    freeze,
    grant,
    grant_again,
    grant_briefly,
    grant_something,
    let_all_in,
    let_expire,
    thaw,
)
from proofs.ledger_model import Account
from proofs.ledger_requests import HOLD, admit, draw_batch, draw_settlements, expire, record_of, settle

#: Amounts of a history are multiples of it, more or less: nano-USD, and what does not fit 32 bits.
UNITS = (1, 1, 997, 10**9 + 7)
#: What a wallet begins with, in units: little, so that what has expired is missed, or much.
STARTS = (150, 400, 1_200)


class History:
    """One random history of fresh wallets. ``counts`` says how many operations of each kind were done."""

    def __init__(self, accounts: Sequence[Account], *, chance: random.Random, executioner: psycopg.Connection) -> None:
        self.case = Case(accounts, chance, executioner, unit=chance.choice(UNITS))

    @property
    def counts(self) -> Counter[str]:
        """How many operations of each kind were done."""
        return self.case.counts

    def run(self, steps: int) -> None:
        """Do so many steps, after a first grant for each wallet. Raises FaultError."""
        case = self.case
        for who in case.wallets:
            grant(case, who, case.chance.choice(("paid", "vip")), case.chance.choice(STARTS) * case.unit)
        menu: list[tuple[Callable[[Case], None], int]] = [
            (admit, 30),
            (settle, 36),
            (grant_something, 7),
            (grant_briefly, 2),
            (grant_again, 2),
            (expire, 6),
            (let_expire, 6),
            (claw_back, 5),
            (claw_back_again, 2),
            (adjust, 4),
            (adjust_again, 2),
            (set_budget, 6),
            (conflict, 2),
            (freeze, 3),
            (thaw, 6),
            (bar, 3),
            (let_all_in, 8),
            (crash, 8),
        ]
        for step in case.chance.choices([step for step, _ in menu], [weight for _, weight in menu], k=steps):
            step(case)
        case.admit_everybody()
        case.compare()
        case.compare_requests()


def crash(case: Case) -> None:
    """Begin an operation that dies before its end: it must leave nothing."""
    work = _some_work(case)
    if case.chance.random() < 0.2:
        with rolled_back():
            work()
        case.counts["rolled_back"] += 1
    else:
        case.counts["cut"] += crash_at_a_statement(work, chance=case.chance)
    case.counts["crash"] += 1
    case.compare()


def _some_work(case: Case) -> Callable[[], object]:
    """Return an operation that would change something."""
    who, old = case.chance.choice(case.old_grants())
    workspace_id = case.accounts[who].workspace_id
    batch = [request for _, request in draw_batch(case)]
    correction = case.chance.choice((HOLD, -1))
    ending = draw_settlements(case)
    settlements = [settlement for _, settlement in ending]
    exchanges = [(settlement, record_of(case, owner, settlement)) for owner, settlement in ending]
    works: list[Callable[[], object]] = [
        *[lambda: ledger.admit(batch)] * 3,
        *[lambda: ledger.settle(settlements)] * 3,
        *[lambda: settle_exchanges(exchanges)] * 3,
        lambda: ledger.grant(workspace_id=workspace_id, kind="promo", amount=HOLD, source="a grant that dies"),
        lambda: ledger.clawback(
            workspace_id=workspace_id, grant_source=old.source, source="a clawback that dies", freeze=True
        ),
        lambda: ledger.adjust(
            workspace_id=workspace_id,
            amount=correction,
            reason="Proof",
            actor_id=None,
            source="an adjustment that dies",
            may_owe=True,
        ),
        lambda: ledger.set_frozen(workspace_id=workspace_id, frozen=not case.models[who].frozen),
        lambda: ledger.extend_holds([hold.request.request_id for _, hold in case.open_holds()], ttl=0.0),
        ledger.expire_holds,
        ledger.sweep_grants,
    ]
    return case.chance.choice(works)
