"""Changes of an API key by name: what is not given stays."""

from typing import Any

from django.db import transaction

from accounts.budgets import budget_of
from accounts.models import ApiKey
from accounts.services.apikeys import locked_key, update_api_key


@transaction.atomic
def change_api_key(*, workspace_id: int, prefix: str, **given: Any) -> ApiKey:
    """Change the options of a key that are given, named as in ``update_api_key``, and return it. Raises as that does."""
    row = locked_key(workspace_id, prefix)
    options: dict[str, Any] = {
        "name": row.name,
        "expires_at": row.expires_at,
        "allowed_models": row.allowed_models,
        "allowed_addresses": row.allowed_addresses,
        "requests_per_minute": row.requests_per_minute,
        "budget": budget_of(row.budget_nano, row.budget_period or ""),
    }
    return update_api_key(workspace_id=workspace_id, prefix=prefix, **{**options, **given})
