"""Invitations: a link by e-mail that lets one address join a workspace, once. The secret in the link is never stored."""

from django.db import models

from accounts.models.user import User
from accounts.models.workspace import Workspace
from accounts.roles import Role
from lumyx.lib import clock


class Invitation(models.Model):
    """A person who may join. Written by accounts.services.invitations only; rows stay, as a record of who was asked."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="invitations")
    #: In lower case: only who proves this address may accept.
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=12, choices=[(role.value, role.value) for role in Role])
    #: HMAC-SHA-256 of the secret in the link that was sent last; the links before it are void.
    digest = models.BinaryField(max_length=32, unique=True)
    #: Whose right to give the role it rests on: whoever sent it last.
    invited_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now)
    sent_at = models.DateTimeField(default=clock.now)
    #: How many messages went out for it.
    sends = models.PositiveSmallIntegerField(default=0)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["workspace", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_one_open",
            ),
        )
        indexes = (models.Index(fields=["workspace", "-created_at"], name="invitation_by_workspace"),)

    def __str__(self) -> str:
        return f"invitation {self.pk}"

    @property
    def state(self) -> str:
        """Return "accepted", "revoked", "expired" or "open"."""
        if self.accepted_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= clock.now() else "open"
