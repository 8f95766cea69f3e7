"""Who is calling: the key's row (accounts) with the workspace's entitlements (billing) as one immutable value."""

from ipaddress import ip_network

from accounts.selectors.principals import principal_row
from billing.selectors.tiers import entitlements_of
from gateway.types import Principal


def principal_of(digest: bytes) -> Principal | None:
    """Return the principal of an API key's digest, or None for an unknown one."""
    row = principal_row(digest)
    if row is None:
        return None
    rights = entitlements_of(row.workspace_id, owner_id=row.owner_id)
    return Principal(
        api_key_id=row.api_key_id,
        workspace_id=row.workspace_id,
        owner_id=row.owner_id,
        maker_id=row.maker_id,
        is_test=row.is_test,
        allowed_models=frozenset(id for id in row.allowed_models if not id.endswith("/*")),
        allowed_prefixes=tuple(sorted(id[:-1] for id in row.allowed_models if id.endswith("/*"))),
        networks=tuple(ip_network(text) for text in row.allowed_addresses),
        expires_at=row.expires_at,
        revoked=row.revoked,
        suspended=row.suspended,
        closing=row.closing,
        email_verified=row.email_verified,
        policies=frozenset(row.policies),
        requests_per_minute=rights.requests_per_minute,
        daily_requests=rights.daily_requests,
        quota_subject=rights.quota_subject,
        key_version=row.version,
        key_requests_per_minute=row.requests_per_minute,
        has_budget=row.has_budget,
        secret_ends_at=row.secret_ends_at,
        disabled=row.disabled,
        orphaned=row.orphaned,
    )
