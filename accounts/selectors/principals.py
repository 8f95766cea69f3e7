"""Who is calling, in one query: what the gateway knows of an API key before it adds the workspace's limits."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection

from accounts.policies import POLICIES
from accounts.roles import GRANTS, Permission

KEY_MANAGERS = [role.value for role, permissions in GRANTS.items() if Permission.MANAGE_KEYS in permissions]


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """An API key, its workspace and its owner as they stand now."""

    api_key_id: int
    workspace_id: int
    owner_id: int
    #: Who made the key, None where no person did: it lives no longer than its maker's right to keys.
    maker_id: int | None
    is_test: bool
    #: Empty: all models.
    allowed_models: frozenset[str]
    expires_at: dt.datetime | None
    #: Revoked itself, or made by somebody who has since left the workspace, lost the right to keys, or been shut out.
    revoked: bool
    suspended: bool
    #: It is being deleted, or was: that is why it is suspended, or one reason more.
    closing: bool
    #: The owner's address is proved (or this installation does not ask for it).
    email_verified: bool
    #: Policies accepted in their current version.
    policies: frozenset[str]


# Plain SQL: composing the same query with the ORM took 3 ms of CPU at each cache miss, this 0.2.
_PRINCIPAL = """
SELECT k.id, k.workspace_id, w.owner_id, k.created_by_id, k.is_test, k.allowed_models, k.expires_at,
       k.revoked_at IS NOT NULL OR (
           k.created_by_id IS NOT NULL AND NOT EXISTS (
               SELECT FROM accounts_membership m JOIN accounts_user maker ON maker.id = m.user_id
               WHERE m.workspace_id = k.workspace_id AND m.user_id = k.created_by_id
                 AND m.role = ANY(%(key_managers)s) AND maker.is_active)),
       w.suspended_at IS NOT NULL,
       w.deletion_planned_at IS NOT NULL,
       owner.email_verified_at IS NOT NULL,
       ARRAY(SELECT p.policy
             FROM accounts_policyacceptance p
             JOIN unnest(%(policies)s::text[], %(versions)s::int[]) AS present(policy, version)
               ON present.policy = p.policy AND present.version = p.version
             WHERE p.workspace_id = k.workspace_id)
FROM accounts_apikey k
JOIN accounts_workspace w ON w.id = k.workspace_id
JOIN accounts_user owner ON owner.id = w.owner_id
WHERE k.digest = %(digest)s
"""


def principal_row(digest: bytes) -> PrincipalRow | None:
    """Return who presents the key with this digest, or None for a key that does not exist. One query.

    Revoked and expired keys and suspended workspaces are returned as such: the caller says which it was.
    """
    values: dict[str, Any] = {
        "digest": digest,
        "key_managers": KEY_MANAGERS,
        "policies": list(POLICIES),
        "versions": list(POLICIES.values()),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PRINCIPAL, values)
        row = cursor.fetchone()
    if row is None:
        return None
    key, workspace, owner, maker, is_test, models, expires_at, revoked, *standing, verified, policies = row
    suspended, closing = standing
    return PrincipalRow(
        api_key_id=key,
        workspace_id=workspace,
        owner_id=owner,
        maker_id=maker,
        is_test=is_test,
        allowed_models=frozenset(models),
        expires_at=expires_at,
        revoked=revoked,
        suspended=suspended,
        closing=closing,
        email_verified=verified or not settings.LUMYX_EMAIL_VERIFICATION,
        policies=frozenset(policies),
    )
