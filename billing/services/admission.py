"""Decides who is let in and how holds end: pure, on rows that billing.services.ledger has locked and read.

Requests of a batch are decided one after another, each on what the ones before it left. A refused one takes nothing, so a
big request that is refused cannot refuse a small one beside it, and none needs a second try.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from billing.budgets import BudgetLimit, BudgetRow, BudgetState
from billing.types import Admission, Admitted, BudgetLeft, Refusal, Settled, Settlement

#: What a request is refused with where a budget does not let it in.
BUDGET_REFUSALS = {"key": Refusal.KEY_BUDGET_EXCEEDED, "member": Refusal.MEMBER_BUDGET_EXCEEDED}


@dataclass(slots=True)
class WalletState:
    """A locked wallet."""

    id: int
    posted: int
    held: int
    next_expiry: dt.datetime | None
    frozen: bool
    suspended: bool

    @property
    def available(self) -> int:
        """What new holds may take."""
        return self.posted - self.held


@dataclass(frozen=True, slots=True)
class AdmissionFacts:
    """What the database says of one request: its API key (no workspace: no such key), and the hold it already has."""

    key_workspace_id: int | None
    key_is_revoked: bool = False
    key_has_expired: bool = False
    key_is_disabled: bool = False
    key_is_orphaned: bool = False
    key_version: int = 0
    earlier_wallet_id: int | None = None
    earlier_amount: int | None = None
    budgets: tuple[BudgetLimit, ...] = ()


def limits_of(admission: Admission, facts: AdmissionFacts) -> tuple[BudgetLimit, ...]:
    """Return the budgets that a request is under; what wants no money is under none, and another workspace's are not asked."""
    return facts.budgets if admission.amount and facts.key_workspace_id == admission.workspace_id else ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold to write."""

    admission: Admission
    held: int
    #: The rows of budgets that it counts in.
    budget_ids: tuple[int, ...] = ()


@dataclass(slots=True)
class AdmissionDesk:
    """Decides a batch. ``wallets``, ``used`` (requests of today by quota subject) and ``budgets`` go on as holds are placed."""

    at: dt.datetime
    wallets: Mapping[int, WalletState]
    used: dict[str, int] = field(default_factory=dict)
    budgets: Mapping[BudgetRow, BudgetState] = field(default_factory=dict)
    placed: list[Placed] = field(default_factory=list)
    _answered: dict[uuid.UUID, Admitted] = field(default_factory=dict)

    @property
    def day(self) -> dt.date:
        """The UTC date of the decision, whose quota it is."""
        return self.at.astimezone(dt.UTC).date()

    def refusal_by_state(self, admission: Admission, facts: AdmissionFacts) -> Refusal | None:
        """Return why the key or the workspace is not let in at all, or None."""
        if facts.key_workspace_id != admission.workspace_id:
            return Refusal.KEY_REVOKED
        if facts.key_is_orphaned:
            return Refusal.KEY_ORPHANED
        if facts.key_is_revoked:
            return Refusal.KEY_REVOKED
        if facts.key_has_expired:
            return Refusal.KEY_EXPIRED
        if facts.key_is_disabled:
            return Refusal.KEY_DISABLED
        if admission.key_version not in {0, facts.key_version}:
            return Refusal.KEY_CHANGED
        return Refusal.WORKSPACE_SUSPENDED if self.wallets[admission.workspace_id].suspended else None

    def decide(self, admission: Admission, facts: AdmissionFacts) -> Admitted:
        """Return the answer to one request, and note the hold if it is let in. A request seen before changes nothing."""
        answer = self._answered.get(admission.request_id)
        if answer is None:
            earlier = facts.earlier_wallet_id == admission.workspace_id and facts.earlier_amount is not None
            answer = (
                self._answer(admission, held=facts.earlier_amount or 0) if earlier else self._judge(admission, facts)
            )
            self._answered[admission.request_id] = answer
        return answer

    def _judge(self, admission: Admission, facts: AdmissionFacts) -> Admitted:
        refusal = self.refusal_by_state(admission, facts)
        if refusal is not None:
            return self._answer(admission, refusal=refusal)
        wallet, quota = self.wallets[admission.workspace_id], admission.quota
        if quota and quota.limit and self.used[quota.subject] >= quota.limit:
            return self._answer(admission, refusal=Refusal.QUOTA_EXCEEDED)
        # A request that wants no money is not asked for any: neither a freeze nor debt keeps it from a free model.
        if admission.amount > 0 and wallet.frozen:
            return self._answer(admission, refusal=Refusal.WALLET_FROZEN)
        held = max(0, min(admission.amount, wallet.available))
        if held < admission.floor:
            return self._answer(admission, refusal=Refusal.INSUFFICIENT_CREDITS)
        budgets = [limit.left_at(self.at, self.budgets[limit.row_at(self.at)]) for limit in limits_of(admission, facts)]
        tightest = min(budgets, key=lambda budget: budget.left, default=None)
        if tightest is not None:
            held = max(0, min(held, tightest.left))
            if held < admission.floor:
                return self._answer(admission, refusal=BUDGET_REFUSALS[tightest.kind], budget=tightest)
        if quota:
            self.used[quota.subject] += 1
        answer = self._answer(admission, held=held)
        self._place(admission, held, facts)
        return answer

    def place_again(self, admission: Admission, facts: AdmissionFacts) -> None:
        """Note the hold of a request that was let in before, as far as the balance goes; it is not judged a second time."""
        wallet = self.wallets[admission.workspace_id]
        self._place(admission, max(0, min(admission.amount, wallet.available)), facts)

    def _place(self, admission: Admission, held: int, facts: AdmissionFacts) -> None:
        self.wallets[admission.workspace_id].held += held
        # A hold of nothing can never be charged: no budget needs to know of it.
        limits = limits_of(admission, facts) if held else ()
        states = [self.budgets[limit.row_at(self.at)] for limit in limits]
        for state in states:
            state.held += held
        self.placed.append(Placed(admission, held, tuple(state.id for state in states)))

    def _answer(
        self, admission: Admission, *, refusal: Refusal | None = None, held: int = 0, budget: BudgetLeft | None = None
    ) -> Admitted:
        wallet, quota, remaining = self.wallets.get(admission.workspace_id), admission.quota, None
        if quota and quota.limit and quota.subject in self.used:
            remaining = max(0, quota.limit - self.used[quota.subject])
        available = wallet.available if wallet else 0
        return Admitted(admission.request_id, refusal, held, available, remaining, self.at, budget)


@dataclass(slots=True)
class HoldState:
    """A hold as it is now. ``state`` and ``actual`` go on as it is closed."""

    id: uuid.UUID
    wallet_id: int
    amount: int
    state: str
    actual: int | None
    quota_subject: str | None
    quota_day: dt.date | None
    budget_ids: list[int] | None = None


@dataclass(slots=True)
class BudgetChange:
    """What a batch adds to a row of a budget; ``held`` is below zero."""

    held: int = 0
    spent: int = 0


@dataclass(slots=True)
class Closing:
    """What a batch of settlements does: the holds it closes and what each wallet is charged (request, amount > 0)."""

    answers: list[Settled] = field(default_factory=list)
    closed: list[HoldState] = field(default_factory=list)
    #: Those of the closed that were open: their amount leaves ``held``.
    freed: dict[int, int] = field(default_factory=dict)
    charges: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    #: By the ids of budgets' rows.
    budgets: dict[int, BudgetChange] = field(default_factory=dict)

    @property
    def given_back(self) -> list[HoldState]:
        """The released holds that had claimed a daily quota."""
        return [hold for hold in self.closed if hold.state == "released" and hold.quota_subject is not None]


def close_holds(settlements: Iterable[Settlement], holds: Mapping[uuid.UUID, HoldState]) -> Closing:
    """Decide a batch of settlements: open and expired holds are closed, all others answer with what was charged before."""
    closing = Closing()
    for settlement in settlements:
        hold = holds.get(settlement.request_id)
        if hold is None or hold.state not in {"open", "expired"}:
            before = hold.actual if hold and hold.actual else 0
            closing.answers.append(Settled(settlement.request_id, charge=before, absorbed=0, applied=False))
            continue
        if hold.state == "open" and hold.amount:
            closing.freed[hold.wallet_id] = closing.freed.get(hold.wallet_id, 0) + hold.amount
        charge = min(settlement.rated or 0, hold.amount)
        for budget_id in hold.budget_ids or ():
            change = closing.budgets.setdefault(budget_id, BudgetChange())
            change.held -= hold.amount if hold.state == "open" else 0
            change.spent += charge
        hold.state, hold.actual = ("released", None) if settlement.rated is None else ("settled", charge)
        closing.closed.append(hold)
        if charge:
            closing.charges.setdefault(hold.wallet_id, []).append((str(hold.id), charge))
        absorbed = (settlement.rated or 0) - charge
        closing.answers.append(Settled(settlement.request_id, charge=charge, absorbed=absorbed, applied=True))
    return closing
