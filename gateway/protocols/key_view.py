"""A key as its holder may see it: what it may do, and what is left of it. No secret, and nobody's name. Pure."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from billing.types import BudgetLeft, Entitlements
from lumyx.lib.money import nano_to_usd


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of a key. ``daily_used`` counts the present UTC day's requests to free models, of all that share the limit."""

    name: str
    prefix: str
    is_test: bool
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    #: Until when the secret that asked works, where a rotation has given it an end.
    secret_ends_at: dt.datetime | None
    allowed_models: tuple[str, ...]
    allowed_addresses: tuple[str, ...]
    requests_per_minute: int
    #: Its own, and its maker's over all of their keys.
    budget: BudgetLeft | None
    member_budget: BudgetLeft | None
    rights: Entitlements
    daily_used: int


def key_view(facts: KeyFacts) -> dict[str, Any]:
    """Return a key as ``GET /key`` answers it; what is null has no limit."""
    rights = facts.rights
    daily = rights.daily_requests
    return {
        "object": "key",
        "name": facts.name,
        "prefix": facts.prefix,
        "is_test": facts.is_test,
        "created_at": _moment(facts.created_at),
        "expires_at": _moment(facts.expires_at),
        "last_used_at": _moment(facts.last_used_at),
        "secret_ends_at": _moment(facts.secret_ends_at),
        "allowed_models": list(facts.allowed_models) or None,
        "allowed_addresses": list(facts.allowed_addresses) or None,
        "requests_per_minute": facts.requests_per_minute or None,
        "budget": budget_view(facts.budget),
        "member_budget": budget_view(facts.member_budget),
        "workspace": {
            "tier": rights.tier_slug,
            "requests_per_minute": rights.requests_per_minute or None,
            "free_requests_per_day": daily or None,
            "free_requests_left_today": max(0, daily - facts.daily_used) if daily else None,
        },
    }


def budget_view(budget: BudgetLeft | None) -> dict[str, Any] | None:
    """Return a budget as it stands; ``held`` is what running requests may still cost."""
    if budget is None:
        return None
    left = max(0, budget.left)
    return {
        "amount": nano_to_usd(budget.amount),
        "period": budget.period,
        "spent": nano_to_usd(budget.spent),
        "held": nano_to_usd(budget.held),
        "left": nano_to_usd(left),
        "left_nano": str(left),
        "resets_at": _moment(budget.resets_at),
    }


def _moment(at: dt.datetime | None) -> str | None:
    return None if at is None else at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
