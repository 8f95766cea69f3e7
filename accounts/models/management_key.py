"""Management keys, and the answers that were given to repeatable requests with them. A secret is never stored: only its HMAC."""

from django.db import models

from accounts.models.user import User
from accounts.models.workspace import Workspace
from lumyx.lib import clock


class ManagementKey(models.Model):
    """A program's right to manage a workspace. Written by accounts.services.management_keys only.

    It may do what its maker may do now, and nothing without one: who leaves the workspace leaves no key that works behind.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="management_keys")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=80)
    #: HMAC-SHA-256 of the secret under the pepper.
    digest = models.BinaryField(max_length=32, unique=True)
    #: "lm-" and the secret's first eight characters.
    prefix = models.CharField(max_length=11, unique=True)
    last_four = models.CharField(max_length=4)
    is_read_only = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    #: Approximate: written at most once a minute.
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=["workspace", "-created_at"], name="mgmtkey_by_workspace"),)

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last_four}"

    @property
    def state(self) -> str:
        """Return "revoked", "expired" or "active"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= clock.now() else "active"


class IdempotentAnswer(models.Model):
    """What was answered to a POST with an Idempotency-Key: written with what the POST changed, or not at all."""

    management_key = models.ForeignKey(ManagementKey, on_delete=models.CASCADE, related_name="answers")
    #: What the client sent as Idempotency-Key.
    key = models.CharField(max_length=255)
    #: SHA-256 of the method, the path and the body.
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    #: Without secrets.
    body = models.JSONField()
    created_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["management_key", "key"], name="idempotent_answer_unique"),)

    def __str__(self) -> str:
        return f"{self.management_key_id} {self.key}"
