"""Reads what is left of budgets now, by the clock of the database, as admission will see it. Amounts are nano-USD."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from django.db import connection

from accounts.budgets import budget_of
from billing.budgets import FIND_ROWS, BudgetLimit, BudgetRow, BudgetState, limits_in, member_limit
from billing.types import BudgetLeft

_OF_KEYS = """
SELECT k.workspace_id, k.id, k.budget_nano, k.budget_period, m.user_id, m.budget_nano, m.budget_period
FROM accounts_apikey k
LEFT JOIN accounts_membership m ON m.workspace_id = k.workspace_id AND m.user_id = k.created_by_id
WHERE k.id = ANY (%s) AND (k.budget_nano IS NOT NULL OR m.budget_nano IS NOT NULL)
"""

_OF_MEMBERS = """
SELECT user_id, workspace_id, budget_nano, budget_period FROM accounts_membership
WHERE workspace_id = %s AND budget_nano IS NOT NULL
"""


def limits_of_keys(key_ids: Iterable[int]) -> dict[int, tuple[BudgetLimit, ...]]:
    """Return the budgets that keys are under, their own first; keys without one are absent."""
    with connection.cursor() as cursor:
        cursor.execute(_OF_KEYS, [list(key_ids)])
        return {row[1]: limits_in(row) for row in cursor.fetchall()}


def use_of(limits: Sequence[BudgetLimit], *, at: dt.datetime) -> dict[BudgetRow, BudgetState]:
    """Return what is used of budgets in the periods of a time; where nothing is, a state of nothing."""
    wanted = list(dict.fromkeys(limit.row_at(at) for limit in limits))
    found = {row: BudgetState() for row in wanted}
    if wanted:
        columns = [[getattr(row, name) for row in wanted] for name in ("wallet_id", "subject", "period", "start")]
        with connection.cursor() as cursor:
            cursor.execute(FIND_ROWS, columns)
            for position, *state in cursor.fetchall():
                found[wanted[position - 1]] = BudgetState(*state)
    return found


def budgets_of_keys(key_ids: Iterable[int]) -> dict[int, list[BudgetLeft]]:
    """Return what is left now of the budgets that keys are under, their own first; keys without one are absent."""
    return _left(limits_of_keys(key_ids))


def budgets_of_members(workspace_id: int) -> dict[int, BudgetLeft]:
    """Return what is left now of the budgets of a workspace's members, by user; those without one are absent."""
    with connection.cursor() as cursor:
        cursor.execute(_OF_MEMBERS, [workspace_id])
        rows = cursor.fetchall()
    limits = {}
    for user_id, workspace, amount, period in rows:
        budget = budget_of(amount, period)
        if budget is not None:
            limits[user_id] = (member_limit(workspace, user_id, budget),)
    return {user_id: left[0] for user_id, left in _left(limits).items()}


def _left(limits: Mapping[int, tuple[BudgetLimit, ...]]) -> dict[int, list[BudgetLeft]]:
    if not limits:
        return {}
    at = _now()
    use = use_of([limit for some in limits.values() for limit in some], at=at)
    return {id: [limit.left_at(at, use[limit.row_at(at)]) for limit in some] for id, some in limits.items()}


def _now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        (at,) = cursor.fetchone()
    moment: dt.datetime = at
    return moment
