"""Putting announcements away, and changing what they say."""

from accounts.models import Announcement, Dismissal, User
from accounts.selectors.announcements import running


def dismiss(announcement_id: int, *, user: User) -> bool:
    """Put an announcement away for a person, as it reads now; returns whether there is one. Twice is once."""
    found = running().filter(pk=announcement_id).first()
    if found is None:
        return False
    Dismissal.objects.update_or_create(announcement=found, user=user, defaults={"revision": found.revision})
    return True


def save_announcement(announcement: Announcement) -> Announcement:
    """Save an announcement; one that says something else, or louder, is shown to everybody again."""
    before = Announcement.objects.filter(pk=announcement.pk).values("text", "level", "revision").first()
    if before and (before["text"], before["level"]) != (announcement.text, announcement.level):
        announcement.revision = before["revision"] + 1
    announcement.save()
    return announcement
