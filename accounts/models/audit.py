"""Who did what to which object, from where: written with what it tells of, never edited, never deleted."""

from django.db import models
from django.db.models.functions import Now


class ActorKind(models.TextChoices):
    """Who acted."""

    USER = "user"
    #: A staff user in the admin.
    OPERATOR = "operator"
    #: A management key.
    KEY = "key"
    #: The operators' command line.
    COMMAND = "command"
    #: Nobody: a task, or what Stripe said.
    SYSTEM = "system"


class AuditEntry(models.Model):
    """One act. Ids are kept without foreign keys: the rows that they name may go, this one stays.

    No secrets and no personal data are in it but the address that it came from: people are named by their ids, and shown as
    what they are called now.
    """

    at = models.DateTimeField(db_default=Now())
    #: NULL: it concerns no workspace (a person's sign-in, the catalog).
    workspace_id = models.BigIntegerField(null=True)
    actor_kind = models.CharField(max_length=8, choices=ActorKind)
    #: The user's or the key's; NULL where nobody is known.
    actor_id = models.BigIntegerField(null=True)
    #: "area.act": one of accounts.audit_actions.
    action = models.CharField(max_length=50)
    #: What it was done to: a kind ("api_key"), an id, and how people know it ("lx-abcd1234…wxyz").
    target_kind = models.CharField(max_length=30, blank=True, default="")
    target_id = models.CharField(max_length=64, blank=True, default="")
    target_name = models.CharField(max_length=200, blank=True, default="")
    #: What changed, old and new; texts and numbers only.
    details = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = (
            models.Index(fields=["workspace_id", "-id"], name="audit_by_workspace"),
            models.Index(
                fields=["actor_id", "-id"], condition=models.Q(workspace_id__isnull=True), name="audit_by_person"
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.target_name}".strip()
