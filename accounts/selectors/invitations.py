"""Invitations as pages show them, and whose they are."""

from allauth.account.models import EmailAddress
from django.db.models import QuerySet

from accounts.models import Invitation, User


def open_invitations_of(workspace_id: int) -> QuerySet[Invitation]:
    """Return a workspace's invitations that are not answered and not taken back, newest first; some may have expired."""
    return (
        Invitation.objects.filter(workspace_id=workspace_id, accepted_at__isnull=True, revoked_at__isnull=True)
        .select_related("invited_by")
        .order_by("-sent_at", "-pk")
    )


def invitation_by_digest(digest: bytes) -> Invitation | None:
    """Return the invitation whose newest link has a digest, with its workspace and who sent it."""
    return Invitation.objects.select_related("workspace", "invited_by").filter(digest=digest).first()


def addresses_of(user: User) -> set[str]:
    """Return the addresses that invitations to a person may name: the one they sign in by, and others that they proved."""
    proved = EmailAddress.objects.filter(user_id=user.pk, verified=True).values_list("email", flat=True)
    return {user.email, *(address.lower() for address in proved)}
