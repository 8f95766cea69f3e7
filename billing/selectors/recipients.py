"""Who gets a workspace's notices: its people who may see billing, whose address is proved, and who did not mute the kind."""

from django.conf import settings

from accounts.models import User
from accounts.roles import Permission, Role, role_allows
from accounts.selectors.workspaces import members_of
from billing.models import Mute

_ROLES = [role.value for role in Role if role_allows(role, Permission.VIEW_BILLING)]


def people_of(workspace_id: int) -> list[User]:
    """Return the active people who may see a workspace's billing, with a proved address where addresses need proof."""
    members = members_of(workspace_id).filter(role__in=_ROLES, user__is_active=True)
    if settings.LUMYX_EMAIL_VERIFICATION:
        members = members.filter(user__email_verified_at__isnull=False)
    return [member.user for member in members]


def recipient(user_id: int) -> list[User]:
    """Return the one person of a notice to a person, in a list; an empty one if they are shut out or their address is unproved."""
    found = User.objects.filter(pk=user_id, is_active=True)
    if settings.LUMYX_EMAIL_VERIFICATION:
        found = found.filter(email_verified_at__isnull=False)
    return list(found)


def muted_among(people: list[User], *, kind: str) -> set[int]:
    """Return the ids of those who want no notices of a kind."""
    return set(Mute.objects.filter(user__in=people, kind=kind).values_list("user_id", flat=True))
