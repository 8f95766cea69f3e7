"""Which policies a workspace accepted."""

from django.db import models

from accounts.models.workspace import Workspace
from lumyx.lib import clock


class PolicyAcceptance(models.Model):
    """One acceptance of one version of a policy. Rows are added, never changed."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="policy_acceptances")
    policy = models.SlugField(max_length=40)
    version = models.PositiveIntegerField()
    accepted_at = models.DateTimeField(default=clock.now)
    accepted_by = models.CharField(max_length=254)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["workspace", "policy", "version"], name="policy_acceptance_unique"),
        )

    def __str__(self) -> str:
        return f"{self.policy} v{self.version}"
