"""What operators tell everybody in the dashboard, and who has put which away."""

from django.db import models

from accounts.models.user import User
from lumyx.lib import clock

TEXT_MAX_LENGTH = 400


class AnnouncementLevel(models.TextChoices):
    """How loud it is."""

    INFO = "info", "Information"
    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"


class Announcement(models.Model):
    """A sentence or two that people see on top of every page of the dashboard, for a time, until they put it away."""

    text = models.CharField(max_length=TEXT_MAX_LENGTH)
    level = models.CharField(max_length=10, choices=AnnouncementLevel, default=AnnouncementLevel.INFO)
    is_active = models.BooleanField(default=True)
    starts_at = models.DateTimeField(default=clock.now)
    #: NULL: until it is switched off.
    ends_at = models.DateTimeField(null=True, blank=True)
    #: Counts what it said: another text or level is shown again to those who had put the last one away.
    revision = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True) | models.Q(ends_at__gt=models.F("starts_at")),
                name="announcement_ends_after_it_starts",
            ),
        )

    def __str__(self) -> str:
        return self.text if len(self.text) <= 60 else f"{self.text[:59]}…"


class Dismissal(models.Model):
    """Somebody put an announcement away, as it read then."""

    announcement = models.ForeignKey(Announcement, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    revision = models.PositiveIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "announcement"], name="dismissal_once"),)

    def __str__(self) -> str:
        return f"{self.announcement_id} by {self.user_id}"
