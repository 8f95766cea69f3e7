"""Which policies a workspace has accepted."""

from accounts.models import PolicyAcceptance
from accounts.policies import POLICIES


def accepted_policies(workspace_id: int) -> frozenset[str]:
    """Return the policies that the workspace accepted in their current version."""
    rows = PolicyAcceptance.objects.filter(workspace_id=workspace_id).values_list("policy", "version")
    return frozenset(policy for policy, version in rows if POLICIES.get(policy) == version)


def acceptances_of(workspace_id: int, *, policy: str) -> list[PolicyAcceptance]:
    """Return a workspace's acceptances of a policy with who gave them, of every version, newest first."""
    rows = PolicyAcceptance.objects.filter(workspace_id=workspace_id, policy=policy)
    return list(rows.select_related("accepted_by_user").order_by("-version"))
