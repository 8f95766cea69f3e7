"""API keys as the page lists them: their state in words, what they used, and how full their budgets are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts.selectors.apikeys import api_keys_of
from billing.selectors.budgets import budgets_of_keys
from billing.types import BudgetLeft
from gateway.selectors.usage import UsageTotals, usage_by_key
from lumyx.lib import clock

if TYPE_CHECKING:
    from accounts.models import ApiKey

PERIODS = {"day": "today", "week": "this week", "month": "this month", "total": "in total"}
#: State → what people read, what it is to them, and the badge's colour.
STATES = {
    "active": ("Active", "", "ok"),
    "disabled": ("Off", "Switched off: requests with it are refused until it is switched on", "warn"),
    "expired": ("Expired", "Its time is over: edit it to give it a later end", "warn"),
    "orphaned": ("No access", "Whoever made it left the workspace, or may not manage keys any more", "bad"),
    "revoked": ("Revoked", "Revoked for good", ""),
}
#: From this share on a budget is nearly used up, in percent.
NEARLY = 80


@dataclass(frozen=True, slots=True)
class BudgetBar:
    """A budget as a bar. ``share`` is what is spent and held of it, in percent, 0 to 100."""

    left: BudgetLeft

    @property
    def used(self) -> int:
        """What is spent, and held by running requests."""
        return self.left.spent + self.left.held

    @property
    def share(self) -> int:
        """How full the bar is; it is full only when nothing is left."""
        return min(100, max(0, self.used * 100 // self.left.amount))

    @property
    def tone(self) -> str:
        """The bar's colour."""
        return "bad" if self.left.left <= 0 else "warn" if self.share >= NEARLY else ""

    @property
    def period(self) -> str:
        """The period in words."""
        return PERIODS[self.left.period]

    @property
    def is_members(self) -> bool:
        """Whether it is its maker's, over all of their keys."""
        return self.left.kind == "member"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A line of the table."""

    key: "ApiKey"
    used: UsageTotals
    budgets: Sequence[BudgetBar]

    @property
    def state(self) -> tuple[str, str, str]:
        """What people read of its state: a word, why, and the badge's colour."""
        return STATES[self.key.state]

    @property
    def is_on(self) -> bool:
        """Whether it may be switched off."""
        return self.key.disabled_at is None

    @property
    def is_changeable(self) -> bool:
        """Whether its limits may be changed, or it may be switched or rotated."""
        return self.key.state not in {"revoked", "orphaned"}


def key_rows(workspace_id: int) -> list[KeyRow]:
    """Return a workspace's keys, those that work first, with what each was charged since the first of the month (UTC)."""
    keys = sorted(api_keys_of(workspace_id), key=lambda key: key.state != "active")
    today = clock.now().date()
    used = usage_by_key(workspace_id, start=today.replace(day=1), end=today)
    budgets = budgets_of_keys([key.pk for key in keys])
    return [
        KeyRow(key, used.get(key.pk, UsageTotals()), [BudgetBar(left) for left in budgets.get(key.pk, [])])
        for key in keys
    ]
