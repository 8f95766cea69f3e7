"""Budgets as requests meet them: which there are, which row counts what is used of them, and what is left. Pure: no Django."""

import datetime as dt
from dataclasses import dataclass

from accounts.budgets import Budget, period_end, period_start
from billing.types import BudgetLeft


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """What tells the rows of billing.models.BudgetUse apart."""

    wallet_id: int
    subject: str
    period: str
    start: dt.date


@dataclass(slots=True)
class BudgetState:
    """What was used of a budget in a period, in nano-USD. It goes on as holds are placed."""

    id: int = 0
    held: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """A budget that requests are under. ``kind`` is "key" or "member"; ``subject`` is billing.models.BudgetUse's."""

    kind: str
    wallet_id: int
    subject: str
    budget: Budget

    def row_at(self, at: dt.datetime) -> BudgetRow:
        """Return which row counts what is used of it at a time."""
        period = self.budget.period
        return BudgetRow(self.wallet_id, self.subject, period.value, period_start(period, at))

    def left_at(self, at: dt.datetime, state: BudgetState) -> BudgetLeft:
        """Return it as it stands, with what was used in the period of a time."""
        period = self.budget.period
        resets_at = period_end(period, at)
        return BudgetLeft(self.kind, self.budget.amount, period.value, state.spent, state.held, resets_at)


def key_limit(wallet_id: int, key_id: int, budget: Budget) -> BudgetLimit:
    """Return the budget of a key."""
    return BudgetLimit("key", wallet_id, f"k:{key_id}", budget)


def member_limit(wallet_id: int, user_id: int, budget: Budget) -> BudgetLimit:
    """Return the budget of a person in a workspace, over all keys that they made there."""
    return BudgetLimit("member", wallet_id, f"m:{user_id}", budget)
