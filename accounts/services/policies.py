"""Accepting policies for a workspace."""

from accounts.models import PolicyAcceptance
from accounts.policies import POLICIES


class UnknownPolicyError(LookupError):
    """There is no such policy; the message lists those that exist."""


def accept_policy(workspace_id: int, *, policy: str, accepted_by: str) -> PolicyAcceptance:
    """Record that a workspace accepts the current version of a policy; accepting twice keeps the first record.

    Args:
        workspace_id: who accepts.
        policy: its name, as models carry it in their tags.
        accepted_by: the person's e-mail address, or "operator".

    Raises UnknownPolicyError.
    """
    if policy not in POLICIES:
        raise UnknownPolicyError(f"There is no policy {policy!r}; there is: {', '.join(sorted(POLICIES))}.")
    acceptance, _ = PolicyAcceptance.objects.get_or_create(
        workspace_id=workspace_id,
        policy=policy,
        version=POLICIES[policy],
        defaults={"accepted_by": accepted_by[:254]},
    )
    return acceptance
