"""Workspaces, the tenants, and who belongs to them."""

from django.db import models

from accounts.budgets import Budget, BudgetPeriod, budget_of
from accounts.models.user import User
from accounts.roles import Role
from lumyx.lib import clock


class Workspace(models.Model):
    """A tenant: everything that is bought, called or counted belongs to one."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    #: The person whose free quota it shares and whose verified address opens free models. Also the member with role owner.
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="owned_workspaces")
    #: An IANA name: its pages show times in it. Days of usage and of quotas are UTC everywhere.
    time_zone = models.CharField(max_length=64, default="UTC")
    created_at = models.DateTimeField(default=clock.now)
    #: Its keys are refused from then on: an operator stopped it, or its deletion is planned.
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspension_reason = models.CharField(max_length=200, blank=True)
    #: It stands still for its deletion alone: with that taken back, it works again.
    suspended_for_deletion = models.BooleanField(default=False)
    #: Its owner asked for the deletion; until it is due, that can be taken back.
    deletion_planned_at = models.DateTimeField(null=True, blank=True)
    deletion_due_at = models.DateTimeField(null=True, blank=True)
    #: It is closed for good. The row stays, because the books name it.
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(deletion_planned_at__isnull=True)
                | models.Q(suspended_at__isnull=False, deletion_due_at__isnull=False),
                name="workspace_to_be_deleted_stands_still",
            ),
            models.CheckConstraint(
                condition=models.Q(deleted_at__isnull=True) | models.Q(deletion_planned_at__isnull=False),
                name="workspace_deletion_was_planned",
            ),
        )
        indexes = (
            models.Index(
                fields=["deletion_due_at"],
                condition=models.Q(deletion_due_at__isnull=False, deleted_at__isnull=True),
                name="workspace_deletion_due",
            ),
        )

    def __str__(self) -> str:
        return self.slug

    @property
    def is_suspended(self) -> bool:
        """Whether its keys are refused."""
        return self.suspended_at is not None

    @property
    def is_closing(self) -> bool:
        """Whether its deletion is planned, or done."""
        return self.deletion_planned_at is not None


class FormerSlug(models.Model):
    """A slug that a workspace had: for some time it still leads to it, and nobody else may take it."""

    slug = models.SlugField(max_length=60, unique=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="former_slugs")
    ends_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """A person in a workspace, with a role."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=[(role.value, role.value) for role in Role])
    created_at = models.DateTimeField(default=clock.now)
    #: nano-USD that all keys which they made here may use together in each period; NULL: no budget.
    budget_nano = models.BigIntegerField(null=True, blank=True)
    budget_period = models.CharField(
        max_length=5,
        choices=[(period.value, period.value) for period in BudgetPeriod],
        blank=True,
        default="",
        db_default="",
    )

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(budget_nano__isnull=True, budget_period="")
                | (models.Q(budget_nano__gt=0) & ~models.Q(budget_period="")),
                name="membership_budget_whole",
            ),
            models.UniqueConstraint(fields=["workspace", "user"], name="membership_unique"),
            models.UniqueConstraint(
                fields=["workspace"], condition=models.Q(role="owner"), name="membership_one_owner"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} is {self.role} of {self.workspace_id}"

    @property
    def budget(self) -> Budget | None:
        """The budget of the person, over all keys which they made here."""
        return budget_of(self.budget_nano, self.budget_period)
