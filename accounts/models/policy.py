"""Which policies a workspace accepted."""

from django.db import models

from accounts.models.user import User
from accounts.models.workspace import Workspace
from lumyx.lib import clock


class PolicyAcceptance(models.Model):
    """One acceptance of one version of a policy. Rows are added, never changed."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="policy_acceptances")
    policy = models.SlugField(max_length=40)
    version = models.PositiveIntegerField()
    accepted_at = models.DateTimeField(default=clock.now)
    #: "operator", or what was known before people were kept by their id; empty where ``accepted_by_user`` says who.
    accepted_by = models.CharField(max_length=254, blank=True)
    accepted_by_user = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["workspace", "policy", "version"], name="policy_acceptance_unique"),
        )

    def __str__(self) -> str:
        return f"{self.policy} v{self.version}"
