"""The admin's page of announcements."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.models import Announcement
from accounts.services.announcements import save_announcement
from lumyx.lib import clock

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    AnnouncementModelAdmin = admin.ModelAdmin[Announcement]
    AnnouncementModelForm = forms.ModelForm[Announcement]
else:
    AnnouncementModelAdmin, AnnouncementModelForm = admin.ModelAdmin, forms.ModelForm


class AnnouncementForm(AnnouncementModelForm):
    """An announcement, whose end comes after its beginning."""

    class Meta:
        model = Announcement
        fields = ("text", "level", "is_active", "starts_at", "ends_at")
        widgets: ClassVar = {"text": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})}
        help_texts: ClassVar = {
            "text": "Plain text for everybody in the dashboard. Another text is shown again to those who put it away.",
            "starts_at": "UTC.",
            "ends_at": "UTC. Empty: until it is switched off.",
        }

    def clean_text(self) -> str:
        """Return the text on one line."""
        return " ".join(str(self.cleaned_data["text"]).split())

    def clean(self) -> dict[str, Any]:
        """Check the times together."""
        values = super().clean() or self.cleaned_data
        starts, ends = values.get("starts_at"), values.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "It has to end after it starts.")
        return values


@admin.register(Announcement)
class AnnouncementAdmin(AnnouncementModelAdmin):
    """What everybody is told in the dashboard."""

    form = AnnouncementForm
    list_display = ("__str__", "level", "shown", "starts_at", "ends_at")
    list_filter = ("is_active", "level")
    search_fields = ("text",)
    ordering = ("-starts_at", "-pk")

    @admin.display(boolean=True, description="shown now")
    def shown(self, row: Announcement) -> bool:
        """Return whether its time is now."""
        now = clock.now()
        return row.is_active and row.starts_at <= now and (row.ends_at is None or row.ends_at > now)

    def save_model(self, request: HttpRequest, obj: Announcement, form: Any, change: bool) -> None:
        """Save it by the service."""
        save_announcement(obj)
