"""API keys. The secret is never stored: only its HMAC, and the two ends that people recognise it by."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models.user import User
from accounts.models.workspace import Workspace
from lumyx.lib import clock


class ApiKey(models.Model):
    """A caller's secret, and what it may do. Written by accounts.services.apikeys only."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="api_keys")
    #: Its maker: a key's rights are the intersection with theirs. Empty for keys made on the operators' command line.
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=80)
    #: HMAC-SHA-256 of the secret under the pepper.
    digest = models.BinaryField(max_length=32, unique=True)
    #: "lx-" and the secret's first eight characters.
    prefix = models.CharField(max_length=11, unique=True)
    last_four = models.CharField(max_length=4)
    #: A test key reaches sandbox models only.
    is_test = models.BooleanField(default=False)
    #: Catalog model ids it may call; empty means all.
    allowed_models = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    #: Approximate: written at most once a minute, by the usage roll-up.
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        indexes = (models.Index(fields=["workspace", "-created_at"], name="apikey_by_workspace"),)

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last_four}"

    @property
    def state(self) -> str:
        """Return "revoked", "expired" or "active"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= clock.now() else "active"
