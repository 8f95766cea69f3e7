"""Tiers, who is on which, and operators' overrides. Every change of a tier is a new version; old ones stay."""

from django.db import models
from django.db.models.functions import Now

from accounts.models import Workspace


class Tier(models.Model):
    """A version of a tier. The current one of a slug is the one with the highest version. 0 is unlimited."""

    slug = models.SlugField(max_length=20)
    version = models.PositiveIntegerField(default=1)
    name = models.CharField(max_length=40)
    #: Order on the pricing page, and what is an upgrade.
    rank = models.PositiveSmallIntegerField()
    #: nano-USD a month.
    monthly_price = models.BigIntegerField()
    #: nano-USD a year; 0: not sold by the year.
    yearly_price = models.BigIntegerField(default=0, db_default=0)
    #: nano-USD of VIP credit a month.
    monthly_credits = models.BigIntegerField()
    #: Requests to free models a UTC day.
    daily_requests = models.PositiveIntegerField()
    requests_per_minute = models.PositiveIntegerField()
    is_public = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["slug", "version"], name="tier_version_unique"),)
        ordering = ("rank", "-version")

    def __str__(self) -> str:
        return f"{self.name} (v{self.version})"


class SubscriptionStatus(models.TextChoices):
    """Whether it gives its tier's rights. Stripe's other words (unpaid, incomplete, paused) are "paused" here."""

    ACTIVE = "active"
    #: A payment failed: the tier's limits stay for a while (billing.selectors.tiers), no new credit comes.
    PAST_DUE = "past_due"
    PAUSED = "paused"


class Interval(models.TextChoices):
    """How often a subscription is paid."""

    MONTH = "month"
    YEAR = "year"


class Subscription(models.Model):
    """A time-bound right to a tier. Without a live one a workspace is on Free."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    tier_slug = models.SlugField(max_length=20)
    #: "operator" for one given by hand (a comped one), "stripe" for one that is paid.
    source = models.CharField(max_length=20)
    started_at = models.DateTimeField(db_default=Now())
    ends_at = models.DateTimeField(null=True, blank=True)
    #: sub_…; NULL for a comped one.
    stripe_id = models.CharField(max_length=100, null=True, blank=True, unique=True)
    status = models.CharField(
        max_length=8,
        choices=SubscriptionStatus,
        default=SubscriptionStatus.ACTIVE,
        db_default=SubscriptionStatus.ACTIVE,
    )
    interval = models.CharField(max_length=5, choices=Interval, default=Interval.MONTH, db_default=Interval.MONTH)
    #: Months are counted from here, always: 31 January, 28 February, 31 March. NULL: from ``started_at``.
    anchor_at = models.DateTimeField(null=True, blank=True)
    #: Paid until then; NULL for a comped one.
    period_ends_at = models.DateTimeField(null=True, blank=True)
    past_due_since = models.DateTimeField(null=True, blank=True)
    #: A person cancelled it: it ends then.
    cancels_at = models.DateTimeField(null=True, blank=True)
    #: What it becomes at the end of the period (a downgrade); empty: what it is.
    next_tier_slug = models.SlugField(max_length=20, blank=True, default="", db_default="")
    next_interval = models.CharField(max_length=5, choices=Interval, blank=True, default="", db_default="")

    class Meta:
        indexes = (models.Index(fields=["workspace", "-started_at"], name="subscription_by_workspace"),)
        constraints = (
            models.UniqueConstraint(
                fields=["workspace"], condition=models.Q(ends_at__isnull=True), name="subscription_one_open"
            ),
        )

    def __str__(self) -> str:
        return f"{self.tier_slug} for workspace {self.workspace_id}"


class LimitOverride(models.Model):
    """An operator's limits for one workspace, instead of its tier's. NULL inherits, 0 is unlimited."""

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.CASCADE, related_name="+")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    daily_requests = models.PositiveIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"limits of workspace {self.workspace_id}"
