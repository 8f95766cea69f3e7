"""What the books' refusal of a request is to its client: an error with its own code, and words that say what to do. Pure."""

from typing import TYPE_CHECKING

from accounts.budgets import PERIOD_WORDS
from billing.types import Admitted, BudgetLeft, Refusal
from gateway.errors import DO_NOT_RETRY, ApiError
from gateway.pipeline.authenticate import disabled, expired, orphaned, revoked, suspended
from gateway.pipeline.exchange import Exchange
from lumyx.lib import clock
from lumyx.lib.money import nano_to_usd

if TYPE_CHECKING:
    from gateway.pipeline.admit import Budget

#: Whose budget it is, and where it is changed.
OWNERS = {
    "key": ("this API key", "Raise it at /dashboard/api-keys"),
    "member": (
        "the member who made this API key, over all of their keys",
        "Ask an owner or admin of the workspace to raise it",
    ),
}


def refused(admitted: Admitted, *, exchange: Exchange, budget: "Budget") -> ApiError:
    """Return the error of a request that was not admitted."""
    match admitted.refusal:
        case Refusal.KEY_ORPHANED:
            return orphaned()
        case Refusal.KEY_REVOKED:
            return revoked()
        case Refusal.KEY_EXPIRED:
            return expired()
        case Refusal.KEY_DISABLED:
            return disabled()
        case Refusal.WORKSPACE_SUSPENDED:
            return suspended()
        case Refusal.QUOTA_EXCEEDED:
            return _quota_spent(admitted, exchange)
        case Refusal.WALLET_FROZEN:
            return ApiError(
                402, "wallet_frozen", "This workspace's credits are frozen. Ask the operator of this service."
            )
        case Refusal.KEY_BUDGET_EXCEEDED | Refusal.MEMBER_BUDGET_EXCEEDED if admitted.budget is not None:
            return _beyond(admitted.budget, admitted.refusal.value, budget)
        case _:
            return _too_dear(admitted, budget)


def _quota_spent(admitted: Admitted, exchange: Exchange) -> ApiError:
    # No retry-after: with one, SDKs and agents sleep until midnight.
    at = admitted.at or clock.now()
    minutes = -(-int(clock.until_midnight(at).total_seconds()) // 60)
    left = f"{minutes // 60}h{minutes % 60}m" if minutes >= 60 else f"{minutes}m"
    return ApiError(
        429,
        "daily_quota_exceeded",
        f"You have used all {exchange.principal.daily_requests} free requests for today. "
        f"Resets at 00:00 UTC, in {left}. Upgrade: /pricing",
        headers=[DO_NOT_RETRY],
    )


def _too_dear(admitted: Admitted, budget: "Budget") -> ApiError:
    have = nano_to_usd(max(0, admitted.available))
    tokens = budget.affordable(max(0, admitted.available))
    if budget.asked is not None and tokens > 0:
        message = (
            f"max_tokens {budget.asked} may cost up to ${nano_to_usd(budget.most)}, and ${have} is available. "
            f"It covers max_tokens up to {tokens}. Lower it, leave it out, or add credits at /dashboard/credits."
        )
    else:
        message = f"Not enough credits: ${have} is available. Add credits at /dashboard/credits."
    return ApiError(402, "insufficient_credits", message, headers=[DO_NOT_RETRY])


def _beyond(left: BudgetLeft, code: str, budget: "Budget") -> ApiError:
    """Return the refusal of a budget: which it is, what it has left, and when it is whole again."""
    whose, where = OWNERS[left.kind]
    have = max(0, left.left)
    parts = [
        f"The budget of {whose} is ${nano_to_usd(left.amount)} {PERIOD_WORDS[left.period]}, of which ${nano_to_usd(have)} is left."
    ]
    tokens = budget.affordable(have)
    if budget.asked is not None and tokens > 0:
        parts.append(
            f"max_tokens {budget.asked} may cost up to ${nano_to_usd(budget.most)}; "
            f"max_tokens up to {tokens} fits. Lower it, or leave it out."
        )
    if left.resets_at is not None:
        parts.append(f"It resets at {left.resets_at:%Y-%m-%dT%H:%M:%SZ}.")
    parts.append(f"{where}.")
    return ApiError(403, code, " ".join(parts), headers=[DO_NOT_RETRY])
