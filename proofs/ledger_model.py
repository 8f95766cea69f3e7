"""A small model of the ledger in plain Python, to judge the real one by: no database, no SQL, none of its code."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from billing.types import Admission, Settlement


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace and a key of it."""

    workspace_id: int
    api_key_id: int


@dataclass
class ModelBudget:
    """A budget of the model: what it allows (None: there is none now), and what holds and charges have used of it."""

    name: str
    amount: int | None = None
    held: int = 0
    spent: int = 0

    @property
    def left(self) -> int:
        """What new holds may take; of no budget, all there is."""
        return 2**62 if self.amount is None else self.amount - self.held - self.spent


class FaultError(AssertionError):
    """The ledger and the model differ."""


class ModelAnswer(NamedTuple):
    """What an admission is told. ``remaining`` of the daily quota: None without a claim or a limit."""

    refusal: str | None
    held: int
    available: int
    remaining: int | None


@dataclass
class ModelGrant:
    """A grant of the model. ``rank`` is its place in burn-down order."""

    source: str
    kind: str
    amount: int
    remaining: int
    rank: tuple[int, int, int]
    expired: bool = False
    #: What was written off of it.
    lost: int = 0


@dataclass
class ModelHold:
    """A hold of the model. ``due`` is when it gets old, in an order of time; None: not in our lifetime."""

    request: Admission
    amount: int
    state: str = "open"
    charged: int = 0
    due: tuple[int, int] | None = None
    #: Those that it counts in: the ones that there were when it was placed.
    budgets: tuple[ModelBudget, ...] = ()


@dataclass
class ModelQuota:
    """What a subject has used today; several wallets may share one."""

    used: int = 0


@dataclass
class ModelWallet:
    """A wallet, written as plainly as can be: one request at a time.

    ``account`` is whose it is (None: anybody's), ``barred`` the reason why its key or workspace lets nobody in.
    """

    grants: list[ModelGrant] = field(default_factory=list)
    debt: int = 0
    held: int = 0
    frozen: bool = False
    holds: dict[uuid.UUID, ModelHold] = field(default_factory=dict)
    quota: ModelQuota = field(default_factory=ModelQuota)
    account: Account | None = None
    barred: str | None = None
    #: Of the key, and of its maker.
    key_budget: ModelBudget = field(default_factory=lambda: ModelBudget("k"))
    member_budget: ModelBudget = field(default_factory=lambda: ModelBudget("m"))

    @property
    def budgets(self) -> tuple[ModelBudget, ...]:
        """The budgets that there are now."""
        return tuple(budget for budget in (self.key_budget, self.member_budget) if budget.amount is not None)

    @property
    def posted(self) -> int:
        """What is left of the grants, less the debt."""
        return sum(grant.remaining for grant in self.grants) - self.debt

    @property
    def used(self) -> int:
        """What its quota's subject has used today."""
        return self.quota.used

    def sweep(self) -> None:
        """Write off what has expired, first what is spent first, but for what open holds were promised.

        One nano-dollar may go as long as what has expired is more than the open holds, or what is left of everything is.
        """
        gone = [grant for grant in sorted(self.grants, key=lambda g: g.rank) if grant.expired and grant.remaining]
        due = sum(grant.remaining for grant in gone)
        going = min(due, max(0, due - self.held, self.posted - self.held))
        for grant in gone:
            part = min(going, grant.remaining)
            grant.remaining -= part
            grant.lost += part
            going -= part

    def grant(self, grant: ModelGrant) -> int:
        """Add a grant, debt first; return what repaid debt."""
        repaid = min(self.debt, grant.amount)
        self.debt -= repaid
        grant.remaining = grant.amount - repaid
        self.grants.append(grant)
        return repaid

    def claw_back(self, grant: ModelGrant, amount: int) -> tuple[int, int]:
        """Take a part of a grant back; return what it still had, and what became debt. What was written off makes none."""
        taken = min(grant.remaining, amount)
        grant.remaining -= taken
        gone = min(grant.lost, amount - taken)
        grant.lost -= gone
        self.debt += amount - taken - gone
        return taken, amount - taken - gone

    def adjust_down(self, amount: int, *, may_owe: bool) -> tuple[int, int] | None:
        """Take an amount off; return what the grants had and what became debt, None where it is refused."""
        debt = self.debt
        before = [(grant, grant.remaining, grant.lost) for grant in self.grants]
        self.sweep()
        if amount > self.posted - self.held and not may_owe:
            for grant, remaining, lost in before:
                grant.remaining, grant.lost = remaining, lost
            return None
        self.take(amount)
        return amount - (self.debt - debt), self.debt - debt

    def admit(self, request: Admission) -> ModelAnswer:
        """Let a request in, or say why not."""
        available = self.posted - self.held
        if request.request_id in self.holds:
            return self._answer(request, None, self.holds[request.request_id].amount)
        if self.account is not None and Account(request.workspace_id, request.api_key_id) != self.account:
            return self._answer(request, "key_revoked")
        if self.barred:
            return self._answer(request, self.barred)
        if request.quota and 0 < request.quota.limit <= self.used:
            return self._answer(request, "quota_exceeded")
        if request.amount and self.frozen:
            return self._answer(request, "wallet_frozen")
        held = max(0, min(request.amount, available))
        if held < request.floor:
            return self._answer(request, "insufficient_credits")
        if request.amount:
            key, member = self.key_budget.left, self.member_budget.left
            held = max(0, min(held, key, member))
            if held < request.floor:
                whose = "key" if key <= member else "member"
                return self._answer(request, f"{whose}_budget_exceeded")
        self.place(request, held)
        return self._answer(request, None, held)._replace(available=available)

    def place(self, request: Admission, held: int) -> None:
        """Set ``held`` aside, and count the request."""
        self.quota.used += request.quota is not None
        budgets = self.budgets if held else ()
        self.holds[request.request_id] = ModelHold(request, held, budgets=budgets)
        self.held += held
        for budget in budgets:
            budget.held += held

    def _answer(self, request: Admission, refusal: str | None, held: int = 0) -> ModelAnswer:
        limit = request.quota.limit if request.quota else 0
        remaining = max(0, limit - self.used) if limit else None
        return ModelAnswer(refusal, held, self.posted - self.held, remaining)

    def settle(self, request_id: uuid.UUID, rated: int | None) -> tuple[int, int, bool]:
        """Return the charge, what is absorbed, and whether something was written."""
        hold = self.holds.get(request_id)
        if hold is None:
            return 0, 0, False
        if hold.state not in {"open", "expired"}:
            return hold.charged, 0, False
        if hold.state == "open":
            self._free(hold)
        if rated is None:
            hold.state = "released"
            self.quota.used -= hold.request.quota is not None
            return 0, 0, True
        hold.state, hold.charged = "settled", min(rated, hold.amount)
        self.take(hold.charged)
        for budget in hold.budgets:
            budget.spent += hold.charged
        return hold.charged, rated - hold.charged, True

    def place_lost(self, settlements: Sequence[Settlement]) -> int:
        """Place the holds again that a crash lost, each as far as the balance goes, and return how many."""
        known = len(self.holds)
        for settlement in settlements:
            request = settlement.admission
            if request is not None and settlement.rated is not None and request.request_id not in self.holds:
                self.place(request, max(0, min(request.amount, self.posted - self.held)))
        return len(self.holds) - known

    def expire(self, hold: ModelHold) -> None:
        """Close a hold that got old."""
        hold.state, hold.due = "expired", None
        self._free(hold)

    def _free(self, hold: ModelHold) -> None:
        self.held -= hold.amount
        for budget in hold.budgets:
            budget.held -= hold.amount

    def take(self, amount: int) -> None:
        """Spend from the grants in their order; what they do not cover is debt."""
        for grant in sorted((grant for grant in self.grants if grant.remaining), key=lambda g: g.rank):
            part = min(amount, grant.remaining)
            grant.remaining -= part
            amount -= part
        self.debt += amount
