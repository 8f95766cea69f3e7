"""What was used: one event per admitted request, and its roll-ups by hour and day (UTC)."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now


class UsageStatus(models.TextChoices):
    """How an admitted request ended."""

    OK = "ok"
    CLIENT_CLOSED = "client_closed"
    UPSTREAM_ERROR = "upstream_error"
    CUT = "cut"
    RELEASED = "released"
    EXPIRED = "expired"


class UsageSource(models.TextChoices):
    """Who counted the tokens."""

    UPSTREAM = "upstream"
    ESTIMATED = "estimated"
    NONE = "none"


class UsageEvent(models.Model):
    """One admitted request. Written in the transaction that closed its hold; partitioned by month of its id (a UUIDv7)."""

    id = models.UUIDField(primary_key=True)
    workspace_id = models.BigIntegerField()
    api_key_id = models.BigIntegerField(null=True)
    #: The public id that the client asked for.
    model = models.CharField(max_length=200)
    #: Upstream's row id, for operators; NULL when none was reached.
    upstream_id = models.BigIntegerField(null=True)
    #: The price that was charged (gateway.Price); NULL for an event written by the sweeper.
    price_id = models.BigIntegerField(null=True)
    #: What the route cost then (gateway.RouteCost); NULL when nobody had entered it, or no route was tried.
    route_cost_id = models.BigIntegerField(null=True)
    #: Disjoint token classes; reasoning is a part of output.
    input_tokens = models.IntegerField(default=0)
    cache_read_tokens = models.IntegerField(default=0)
    cache_write_tokens = models.IntegerField(default=0)
    output_tokens = models.IntegerField(default=0)
    reasoning_tokens = models.IntegerField(default=0)
    #: nano-USD that the workspace paid, and that rating asked for beyond the hold (the operator's loss).
    charge = models.BigIntegerField(default=0)
    absorbed = models.BigIntegerField(default=0)
    #: nano-USD that the operator owes the upstream for these tokens; NULL: not known (never 0 for "not known").
    cost = models.BigIntegerField(null=True)
    usage_source = models.CharField(max_length=10, choices=UsageSource)
    #: Why the upstream's numbers were changed ("clamped"), or empty.
    flags = models.CharField(max_length=200, default="", blank=True)
    status = models.CharField(max_length=16, choices=UsageStatus)
    http_status = models.SmallIntegerField()
    error_code = models.CharField(max_length=40, default="", blank=True)
    is_stream = models.BooleanField(default=False)
    is_free = models.BooleanField(default=False)
    started_at = models.DateTimeField()
    #: Milliseconds from the request's arrival; NULL when there was no content.
    first_token_ms = models.IntegerField(null=True)
    duration_ms = models.IntegerField()
    # Two columns are not mapped, because Django has no such type; they make roll-ups exact (gateway.services.rollups):
    # `committed_xid xid8 DEFAULT pg_current_xact_id()`, the transaction that wrote the row, and `amended_xid xid8`, the
    # one that replaced an expired event's numbers.

    class Meta:
        db_table = "gateway_usageevent"

    def __str__(self) -> str:
        return f"usage {self.id}"


class _Sums(models.Model):
    model = models.CharField(max_length=200)
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    charge = models.BigIntegerField(default=0)
    absorbed = models.BigIntegerField(db_default=0)
    #: The sum of the costs that are known, and of how many requests they are.
    cost = models.BigIntegerField(db_default=0)
    costed = models.BigIntegerField(db_default=0)

    class Meta:
        abstract = True


class _Rollup(_Sums):
    workspace_id = models.BigIntegerField()
    api_key_id = models.BigIntegerField()

    class Meta:
        abstract = True


class HourlyUsage(_Rollup):
    """Sums of events that started in an hour. api_key_id 0 stands for no key."""

    hour = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["workspace_id", "hour", "api_key_id", "model"], name="hourly_usage_unique"),
        )
        # For sums over all workspaces: rows of an hour are written together, so a few blocks hold a day.
        indexes = (BrinIndex(fields=["hour"], pages_per_range=16, autosummarize=True, name="hourly_usage_hour"),)

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.hour}"


class DailyUsage(_Rollup):
    """Sums of hourly rows of a UTC day."""

    day = models.DateField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["workspace_id", "day", "api_key_id", "model"], name="daily_usage_unique"),
        )

    def __str__(self) -> str:
        return f"{self.workspace_id} {self.day}"


class UpstreamUsage(_Sums):
    """Sums of events that started on a UTC day, by model and upstream, over all workspaces: the operator's side of usage."""

    day = models.DateField()
    #: 0 stands for no upstream: none was tried, or the sweeper wrote the event.
    upstream_id = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["day", "model", "upstream_id"], name="upstream_usage_unique"),)
        # What it is in the admin.
        verbose_name = "margin"
        verbose_name_plural = "margins"

    def __str__(self) -> str:
        return f"{self.day} {self.model} {self.upstream_id}"


class DroppedUsage(models.Model):
    """A month whose usage events retention removed; their roll-ups and ledger entries are still there."""

    month = models.DateField(primary_key=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class UsageWatermark(models.Model):
    """Up to which transaction the roll-up has counted; moved in the transaction that counted."""

    name = models.CharField(max_length=20, primary_key=True)
    #: A transaction id (xid8) as a number.
    xid = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.name} at {self.xid}"
