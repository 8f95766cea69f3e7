"""E-mails that are owed to people of a workspace, and who wants which no more."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from accounts.models import Workspace


class Notice(models.Model):
    """An e-mail that is owed to people of a workspace: written with what it tells of, sent once by a task."""

    #: What it tells of, so that it is told once: "receipt:pi_…", "low_balance:<workspace>:<threshold>:<entry id>".
    key = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=30)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    #: What its text needs; strings and whole numbers.
    facts = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")
    #: When it is tried next. While a sender has it, the time at which another may take it over.
    next_attempt_at = models.DateTimeField(db_default=Now())
    #: It is tried no more: too many attempts failed, or there was nobody to tell.
    gave_up_at = models.DateTimeField(null=True, blank=True)
    #: Ids of the people who have it already: another attempt leaves them out.
    delivered_to = ArrayField(models.BigIntegerField(), default=list, blank=True)

    class Meta:
        indexes = (models.Index(fields=["created_at"], condition=models.Q(sent_at__isnull=True), name="notice_unsent"),)

    def __str__(self) -> str:
        return self.key


class Mute(models.Model):
    """A person who wants no more notices of a kind that is not about their money's movements."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=30)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "kind"], name="mute_once"),)

    def __str__(self) -> str:
        return f"{self.user_id} without {self.kind}"
