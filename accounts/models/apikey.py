"""API keys. The secret is never stored: only its HMAC, and the two ends that people recognise it by."""

import datetime as dt

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.budgets import Budget, BudgetPeriod, budget_of
from accounts.models.user import User
from accounts.models.workspace import Workspace
from lumyx.lib import clock

PERIODS = [(period.value, period.value) for period in BudgetPeriod]


class ApiKey(models.Model):
    """A caller's secret, and what it may do. Written by accounts.services.apikeys and accounts.services.rotation only.

    ``version``, ``maker_is_barred`` and ``maker_has_budget`` are the database's own (triggers of migration accounts.0004):
    admission reads this one row, and knows whether what a process remembers of the key is still true.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    #: Its maker: a key's rights are the intersection with theirs. Empty for keys made on the operators' command line.
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=80)
    #: HMAC-SHA-256 of the secret under the pepper.
    digest = models.BinaryField(max_length=32, unique=True)
    #: "lx-" (of a test key "lx-test-") and the secret's first eight characters.
    prefix = models.CharField(max_length=16, unique=True)
    last_four = models.CharField(max_length=4)
    #: A test key reaches sandbox models only, and costs nothing.
    is_test = models.BooleanField(default=False)
    #: Catalog model ids it may call, and "provider/*" for all of one provider's; empty means all.
    allowed_models = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    #: Networks that it may be used from, in CIDR form; empty means all.
    allowed_addresses = ArrayField(models.CharField(max_length=43), default=list, blank=True, db_default=[])
    #: A pace of its own, beside the workspace's; 0: none.
    requests_per_minute = models.PositiveIntegerField(default=0, db_default=0)
    #: nano-USD that it may use in each period; NULL: no budget.
    budget_nano = models.BigIntegerField(null=True, blank=True)
    budget_period = models.CharField(max_length=5, choices=PERIODS, blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    #: Switched off; it may be switched on again.
    disabled_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    #: The secret before the last rotation, which works until ``previous_ends_at``.
    previous_digest = models.BinaryField(max_length=32, unique=True, null=True, blank=True)
    previous_prefix = models.CharField(max_length=16, blank=True, default="", db_default="")
    previous_ends_at = models.DateTimeField(null=True, blank=True)
    #: Approximate: written at most once a minute, by the usage roll-up.
    last_used_at = models.DateTimeField(null=True, blank=True)
    #: Goes up with every change of what the key may do.
    version = models.BigIntegerField(default=1, db_default=1, editable=False)
    #: Its maker has left, been shut out, or lost the right to manage keys.
    maker_is_barred = models.BooleanField(default=False, db_default=False, editable=False)
    #: Its maker has a budget for all keys that they made here.
    maker_has_budget = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        verbose_name = "API key"
        indexes = (models.Index(fields=["workspace", "-created_at"], name="apikey_by_workspace"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(budget_nano__isnull=True, budget_period="")
                | (models.Q(budget_nano__gt=0) & ~models.Q(budget_period="")),
                name="apikey_budget_whole",
            ),
        )

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last_four}"

    @property
    def state(self) -> str:
        """Return why it does not work, the final reason first, or "active"."""
        if self.revoked_at is not None:
            return "revoked"
        if self.maker_is_barred:
            return "orphaned"
        if self.expires_at is not None and self.expires_at <= clock.now():
            return "expired"
        return "disabled" if self.disabled_at is not None else "active"

    @property
    def budget(self) -> Budget | None:
        """The budget of the key alone."""
        return budget_of(self.budget_nano, self.budget_period)

    @property
    def overlap_ends_at(self) -> dt.datetime | None:
        """Until when the secret before the last rotation works; None: it does not."""
        ends_at = self.previous_ends_at
        return ends_at if ends_at is not None and ends_at > clock.now() else None
