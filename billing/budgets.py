"""Budgets as requests meet them: which there are, which row counts what is used of them, and what is left. Pure: no Django."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounts.budgets import Budget, budget_of, period_end, period_start
from billing.types import BudgetLeft

#: Rows of BudgetUse that are there, each with its place among those that are asked for.
FIND_ROWS = """
SELECT r.position, b.id, b.held, b.spent
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::date[]) WITH ORDINALITY AS r (wallet_id, subject, period, start, position)
JOIN billing_budgetuse b
  ON b.wallet_id = r.wallet_id AND b.subject = r.subject AND b.period = r.period AND b.start = r.start
"""


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


def limits_in(columns: Sequence[Any]) -> tuple[BudgetLimit, ...]:
    """Return the budgets that a key is under, its own first.

    ``columns``: workspace, key, the key's amount and period, its maker, their amount and period; where there is no budget, the
    amount is None.
    """
    workspace_id, key_id, key_amount, key_period, user_id, member_amount, member_period = columns
    if key_amount is None and member_amount is None:
        return ()
    own, members = budget_of(key_amount, key_period), budget_of(member_amount, member_period)
    limits = (key_limit(workspace_id, key_id, own),) if own else ()
    return (*limits, member_limit(workspace_id, user_id, members)) if members else limits
