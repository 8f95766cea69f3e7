"""Accepting policies for a workspace."""

from django.db import transaction

from accounts.models import PolicyAcceptance, User
from accounts.policies import POLICIES
from accounts.services.audit import record


class UnknownPolicyError(LookupError):
    """There is no such policy; the message lists those that exist."""


class PolicyChangedError(Exception):
    """The policy has another version than the one that was read."""


def accept_policy(
    workspace_id: int, *, policy: str, accepted_by: str | User, version: int | None = None
) -> PolicyAcceptance:
    """Record that a workspace accepts the current version of a policy; accepting twice keeps the first record.

    Args:
        workspace_id: who accepts.
        policy: its name, as models carry it in their tags.
        accepted_by: the person, or "operator".
        version: the one that was read; None: the present one, whatever it is.

    Raises:
        UnknownPolicyError: there is no such policy.
        PolicyChangedError: what was read is not the present version.
    """
    if policy not in POLICIES:
        raise UnknownPolicyError(f"There is no policy {policy!r}; there is: {', '.join(sorted(POLICIES))}.")
    present = POLICIES[policy]
    if version is not None and version != present:
        raise PolicyChangedError(
            f"The policy changed: version {present} is the present one. Read it before you accept."
        )
    person = accepted_by if isinstance(accepted_by, User) else None
    with transaction.atomic():
        acceptance, is_new = PolicyAcceptance.objects.get_or_create(
            workspace_id=workspace_id,
            policy=policy,
            version=present,
            defaults={
                "accepted_by": "" if isinstance(accepted_by, User) else accepted_by[:254],
                "accepted_by_user": person,
            },
        )
        if is_new:
            record(
                "policy.accepted",
                workspace_id=workspace_id,
                target=("policy", policy, f"{policy}, version {present}"),
                details={"version": present},
                actor_id=person.pk if person else None,
            )
    return acceptance
