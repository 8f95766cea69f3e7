"""Budgets: so much money in each period, and when periods begin and end. All of it in UTC. Pure: no Django."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class BudgetPeriod(StrEnum):
    """How long a budget lasts until it is whole again."""

    DAY = "day"
    #: ISO weeks: they begin on Monday.
    WEEK = "week"
    MONTH = "month"
    #: It never comes back.
    TOTAL = "total"


#: How often a budget is whole again, in words.
PERIOD_WORDS = {"day": "a day", "week": "a week", "month": "a month", "total": "in total"}
#: The first day of the one period that has no beginning.
ALWAYS = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Budget:
    """``amount`` is in nano-USD, above zero."""

    amount: int
    period: BudgetPeriod


def budget_of(amount: int | None, period: str) -> Budget | None:
    """Return a budget from its two columns; None where there is none."""
    return None if amount is None else Budget(amount, BudgetPeriod(period))


def period_start(period: str, at: dt.datetime) -> dt.date:
    """Return the UTC day on which the period that ``at`` lies in began."""
    today = at.astimezone(dt.UTC).date()
    match BudgetPeriod(period):
        case BudgetPeriod.DAY:
            return today
        case BudgetPeriod.WEEK:
            return today - dt.timedelta(days=today.weekday())
        case BudgetPeriod.MONTH:
            return today.replace(day=1)
        case BudgetPeriod.TOTAL:
            return ALWAYS


def period_end(period: str, at: dt.datetime) -> dt.datetime | None:
    """Return when the period that ``at`` lies in is over and the budget whole again; None: never."""
    start = period_start(period, at)
    match BudgetPeriod(period):
        case BudgetPeriod.DAY:
            end = start + dt.timedelta(days=1)
        case BudgetPeriod.WEEK:
            end = start + dt.timedelta(days=7)
        case BudgetPeriod.MONTH:
            end = (start + dt.timedelta(days=31)).replace(day=1)
        case BudgetPeriod.TOTAL:
            return None
    return dt.datetime.combine(end, dt.time(), tzinfo=dt.UTC)
