"""The admin's list of the audit log: to look at, never to change."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.models import AuditEntry

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    AuditEntryModelAdmin = admin.ModelAdmin[AuditEntry]
else:
    AuditEntryModelAdmin = admin.ModelAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(AuditEntryModelAdmin):
    """What was done, newest first; searched by workspace (its number), actor, and what it was done to."""

    list_display = ("at", "action", "actor_kind", "actor_id", "workspace_id", "target_kind", "target_name", "address")
    list_filter = ("actor_kind",)
    search_fields = ("=workspace_id", "=actor_id", "action", "target_name")
    ordering = ("-pk",)
    fields = (
        "at", "workspace_id", "actor_kind", "actor_id", "action", "target_kind", "target_id", "target_name", "details",
        "address",
    )  # fmt: skip
    actions: Any = None
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Lines come with what they tell of."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        """Lines are never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        """Lines are never deleted."""
        return False
