"""Which policies a workspace has accepted."""

from accounts.models import PolicyAcceptance
from accounts.policies import POLICIES


def accepted_policies(workspace_id: int) -> frozenset[str]:
    """Return the policies that the workspace accepted in their current version."""
    rows = PolicyAcceptance.objects.filter(workspace_id=workspace_id).values_list("policy", "version")
    return frozenset(policy for policy, version in rows if POLICIES.get(policy) == version)
