"""A few wallets in the books and in the model, side by side: what a history of the ledger's simulator works on."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import connection

from billing.types import Admission
from proofs.ledger_crashes import end_by_the_server
from proofs.ledger_model import Account, FaultError, ModelGrant, ModelHold, ModelWallet

#: How often the server ends the connection under an operation.
ENDED = 0.03

#: Wallets whose next expiry is not that of what they have left.
_MISSED = """
SELECT w.workspace_id, w.next_expiry FROM billing_wallet w
WHERE w.next_expiry IS DISTINCT FROM (
    SELECT min(g.expires_at) FROM billing_creditgrant g WHERE g.wallet_id = w.workspace_id AND g.remaining > 0)
"""


#: What is used of budgets, by wallet and kind. A changed period begins another row; the model knows one for all of them.
_BUDGETS = """
SELECT wallet_id, left(subject, 1), sum(held)::bigint, sum(spent)::bigint FROM billing_budgetuse GROUP BY 1, 2
"""

#: The kinds of counts that are operations; the others say more of these, or are what was done to connections.
OPERATIONS = (
    *("admit", "settle", "release", "expire", "extend", "sweep", "grant", "granted_twice", "clawback", "clawed_twice"),
    *("adjust", "adjusted_twice", "conflict", "crash", "budget"),
)


def operations_in(counts: Counter[str]) -> int:
    """Return how many operations were done, each item of a batch for itself."""
    return sum(counts[kind] for kind in OPERATIONS)


@dataclass
class Case:
    """Accounts and their models, and what was done to them. ``unit`` is the size of amounts; ``counts`` is by kind of operation.

    The first two wallets share a quota, as the workspaces of one owner do.
    """

    accounts: Sequence[Account]
    chance: random.Random
    executioner: psycopg.Connection
    unit: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    asked: list[tuple[int, Admission]] = field(default_factory=list)
    open: list[tuple[int, uuid.UUID]] = field(default_factory=list)
    clawed: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    adjusted: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Charge and absorbed excess of the requests whose end was recorded as usage.
    recorded: dict[uuid.UUID, tuple[int, int]] = field(default_factory=dict)
    models: list[ModelWallet] = field(default_factory=list)
    #: Goes up with each grant and each hold that gets old: their order in time.
    moment: int = 0
    _name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        """Make the models: nobody has anything, and everybody may come in."""
        self.models = [ModelWallet(account=account) for account in self.accounts]
        self.models[1].quota = self.models[0].quota
        self.admit_everybody()
        self.drop_budgets()

    @property
    def wallets(self) -> range:
        """The numbers of the wallets."""
        return range(len(self.accounts))

    def some_wallet(self) -> int:
        """Return the number of a wallet."""
        return self.chance.randrange(len(self.accounts))

    def subject(self, who: int) -> str:
        """Return whose quota a wallet's requests count against."""
        return f"w:{self.accounts[max(who, 1)].workspace_id}"

    def next_moment(self) -> int:
        """Return a number that is later than all before."""
        self.moment += 1
        return self.moment

    def new_source(self) -> str:
        """Return a source that nobody has used."""
        return f"{self._name}:{self.next_moment()}"

    def open_holds(self) -> list[tuple[ModelWallet, ModelHold]]:
        """Return what runs."""
        return [(model, hold) for model in self.models for hold in model.holds.values() if hold.state == "open"]

    def old_grants(self) -> list[tuple[int, ModelGrant]]:
        """Return all grants, with the numbers of their wallets."""
        return [(who, grant) for who, model in enumerate(self.models) for grant in model.grants]

    def admit_everybody(self) -> None:
        """Put all keys and workspaces in order."""
        run_sql("UPDATE accounts_apikey SET revoked_at = NULL, expires_at = NULL, disabled_at = NULL")
        run_sql("UPDATE accounts_membership SET role = 'owner'")
        run_sql("UPDATE accounts_workspace SET suspended_at = NULL")
        for model in self.models:
            model.barred = None

    def drop_budgets(self) -> None:
        """Take all budgets away; a history before this one may have left some."""
        for table in ("apikey", "membership"):
            run_sql(f"UPDATE accounts_{table} SET budget_nano = NULL, budget_period = ''")

    def survive[T](self, work: Callable[[], T]) -> tuple[T, bool]:
        """Do ``work``; now and then the server ends the connection meanwhile, and it is done again: then the second is True."""
        if self.chance.random() < ENDED:
            self.counts["ended"] += 1
            done = end_by_the_server(work, executioner=self.executioner, chance=self.chance)
            if done is not None:
                return done, False
            self.counts["done_again"] += 1
            return work(), True
        return work(), False

    def same(self, what: str, seen: object, expected: object) -> None:
        """Raise FaultError unless the ledger says what the model says."""
        if seen != expected:
            raise FaultError(f"{what}: the ledger says {seen!r}, the model {expected!r}; so far {dict(self.counts)}")

    def compare(self) -> None:
        """Compare wallets, grants and quotas with the model. Raises FaultError."""
        wallets = {row[0]: row[1:] for row in run_sql("SELECT workspace_id, posted, held, frozen FROM billing_wallet")}
        used = dict(run_sql("SELECT subject, used FROM billing_dailyquota"))
        for who, (account, model) in enumerate(zip(self.accounts, self.models, strict=True)):
            expected = (model.posted, model.held, model.frozen)
            self.same(f"wallet {who}", wallets.get(account.workspace_id, (0, 0, False)), expected)
            self.same(f"the quota of wallet {who}", used.get(self.subject(who), 0), model.used)
        left = dict(run_sql("SELECT source, remaining FROM billing_creditgrant WHERE kind <> 'overdraft'"))
        self.same("the grants", left, {grant.source: grant.remaining for _, grant in self.old_grants()})
        seen = {(row[0], row[1]): row[2:] for row in run_sql(_BUDGETS)}
        used_of_budgets = {
            (account.workspace_id, budget.name): (budget.held, budget.spent)
            for account, model in zip(self.accounts, self.models, strict=True)
            for budget in (model.key_budget, model.member_budget)
            if budget.held or budget.spent
        }
        self.same("the budgets", {key: sums for key, sums in seen.items() if any(sums)}, used_of_budgets)
        self.same("wallets that will not see a grant expire", run_sql(_MISSED), [])

    def compare_requests(self) -> None:
        """Compare every hold and every usage event with the model. Raises FaultError."""
        seen = {row[0]: row[1:] for row in run_sql("SELECT id, wallet_id, amount, state, actual FROM billing_hold")}
        holds = {
            id: (account.workspace_id, hold.amount, hold.state, hold.charged if hold.state == "settled" else None)
            for account, model in zip(self.accounts, self.models, strict=True)
            for id, hold in model.holds.items()
        }
        unlike = {id for id in seen.keys() | holds.keys() if seen.get(id) != holds.get(id)}
        for id in sorted(unlike):
            self.same(f"hold {id}", seen.get(id), holds.get(id))
        events = {row[0]: row[1:] for row in run_sql("SELECT id, charge, absorbed FROM gateway_usageevent")}
        self.same("the usage", events, self.recorded)
        for model in self.models:  # the model's own sum, which it keeps beside its holds
            self.same("held", model.held, sum(hold.amount for hold in model.holds.values() if hold.state == "open"))


def run_sql(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run a statement beside the ledger, to look at rows or to let time pass."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []
