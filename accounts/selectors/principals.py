"""Who is calling, in one query: what the gateway knows of an API key before it adds the workspace's limits."""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Q

from accounts.models import ApiKey, Membership, PolicyAcceptance
from accounts.policies import POLICIES
from accounts.roles import GRANTS, Permission

KEY_MANAGERS = [role.value for role, permissions in GRANTS.items() if Permission.MANAGE_KEYS in permissions]


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """An API key, its workspace and its owner as they stand now."""

    api_key_id: int
    workspace_id: int
    owner_id: int
    is_test: bool
    #: Empty: all models.
    allowed_models: frozenset[str]
    expires_at: dt.datetime | None
    #: Revoked itself, or made by somebody who has since left the workspace, lost the right to keys, or been shut out.
    revoked: bool
    suspended: bool
    #: The owner's address is proved (or this installation does not ask for it).
    email_verified: bool
    #: Policies accepted in their current version.
    policies: frozenset[str]


def principal_row(digest: bytes) -> PrincipalRow | None:
    """Return who presents the key with this digest, or None for a key that does not exist. One query.

    Revoked and expired keys and suspended workspaces are returned as such: the caller says which it was.
    """
    maker_stands = Membership.objects.filter(
        workspace=OuterRef("workspace"), user=OuterRef("created_by"), role__in=KEY_MANAGERS, user__is_active=True
    )
    accepted = PolicyAcceptance.objects.filter(_current_policies(), workspace=OuterRef("workspace"))
    row = (
        ApiKey.objects.filter(digest=digest)
        .annotate(
            maker_stands=Exists(maker_stands),
            accepted=ArraySubquery(accepted.values("policy")),
            owner_id=F("workspace__owner_id"),
            suspended_at=F("workspace__suspended_at"),
            verified_at=F("workspace__owner__email_verified_at"),
        )
        .values()
        .first()
    )
    if row is None:
        return None
    return PrincipalRow(
        api_key_id=row["id"],
        workspace_id=row["workspace_id"],
        owner_id=row["owner_id"],
        is_test=row["is_test"],
        allowed_models=frozenset(row["allowed_models"]),
        expires_at=row["expires_at"],
        revoked=row["revoked_at"] is not None or (row["created_by_id"] is not None and not row["maker_stands"]),
        suspended=row["suspended_at"] is not None,
        email_verified=row["verified_at"] is not None or not settings.LUMYX_EMAIL_VERIFICATION,
        policies=frozenset(row["accepted"]),
    )


def _current_policies() -> Q:
    condition = Q(pk__in=[])
    for policy, version in POLICIES.items():
        condition |= Q(policy=policy, version=version)
    return condition
