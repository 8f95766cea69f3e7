"""Which announcements somebody sees now."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Announcement, Dismissal, User
from lumyx.lib import clock

#: More at once nobody reads.
MOST = 3


def running() -> QuerySet[Announcement]:
    """Return the announcements whose time is now."""
    now = clock.now()
    return Announcement.objects.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now), is_active=True, starts_at__lte=now)


def announcements_for(user: User) -> list[Announcement]:
    """Return what is announced now and what this person has not put away, the newest first. One query."""
    away = Dismissal.objects.filter(user=user, announcement=OuterRef("pk"), revision=OuterRef("revision"))
    return list(running().filter(~Exists(away)).order_by("-starts_at", "-pk")[:MOST])
