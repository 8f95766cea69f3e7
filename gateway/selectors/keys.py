"""A key with all that limits it, for its holder: the key's row (accounts), budgets and entitlements (billing)."""

from accounts.selectors.apikeys import api_key_of
from billing.selectors.budgets import budgets_of_keys
from billing.selectors.quotas import daily_allowance_of
from billing.selectors.tiers import entitlements_of
from gateway.protocols.key_view import KeyFacts
from gateway.types import Principal


def key_facts(principal: Principal) -> KeyFacts | None:
    """Return the key of a principal as it stands now; None if it is gone."""
    row = api_key_of(principal.workspace_id, principal.api_key_id)
    if row is None:
        return None
    budgets = {budget.kind: budget for budget in budgets_of_keys([row.pk]).get(row.pk, [])}
    rights = entitlements_of(principal.workspace_id, owner_id=principal.owner_id)
    return KeyFacts(
        name=row.name,
        prefix=row.prefix,
        is_test=row.is_test,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        secret_ends_at=principal.secret_ends_at,
        allowed_models=tuple(row.allowed_models),
        allowed_addresses=tuple(row.allowed_addresses),
        requests_per_minute=row.requests_per_minute,
        budget=budgets.get("key"),
        member_budget=budgets.get("member"),
        rights=rights,
        daily_used=daily_allowance_of(rights).used,
    )
