"""What Stripe sent, what was turned away, and whether the books agree with what Stripe has."""

from django.db import models
from django.db.models.functions import Now


class EventState(models.TextChoices):
    """What became of an event."""

    NEW = "new"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"


class StripeEvent(models.Model):
    """The inbox: an event that Stripe sent and signed. It is done in the transaction that applied it."""

    #: evt_…
    id = models.CharField(max_length=100, primary_key=True)
    type = models.CharField(max_length=100)
    #: Of the object that it is about, which is fetched again when the event is applied.
    object_id = models.CharField(max_length=255, blank=True, default="")
    payload = models.JSONField()
    happened_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=8, choices=EventState, default=EventState.NEW)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    next_attempt_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=["next_attempt_at"], condition=models.Q(state="new"), name="event_waiting"),
            models.Index(fields=["-received_at"], name="event_newest"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class RefusedDelivery(models.Model):
    """Deliveries to the webhook that were turned away, counted by day and reason: anybody can send them, so no row each."""

    day = models.DateField()
    #: unsigned, forged, stale, wrong_mode, malformed, too_large, wrong_version, no_secret.
    reason = models.CharField(max_length=20)
    count = models.BigIntegerField(default=0)
    #: The newest of them: its sender's address, and what it claimed to be (cut short).
    last_from = models.CharField(max_length=45, blank=True, default="")
    last_claim = models.CharField(max_length=200, blank=True, default="")
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "refused deliveries"
        constraints = (
            models.UniqueConstraint(fields=["day", "reason"], name="refused_delivery_once_a_day_and_reason"),
        )

    def __str__(self) -> str:
        return f"{self.count} {self.reason} on {self.day}"


class Reconciliation(models.Model):
    """A run of the nightly comparison of the books with themselves, with usage and with Stripe."""

    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    #: Checks by name, each with what it looked at and what was wrong or put right.
    findings = models.JSONField(default=dict)
    #: Nothing was wrong; None while it runs or where it broke off.
    is_clean = models.BooleanField(null=True)

    class Meta:
        indexes = (models.Index(fields=["-started_at"], name="reconciliation_newest"),)

    def __str__(self) -> str:
        return f"reconciliation of {self.started_at:%Y-%m-%d %H:%M}"
