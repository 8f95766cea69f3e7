"""The admin's list of owed e-mails: strictly to look at, and what was given up can be sent again."""

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.models import Notice
from billing.services.notice_sending import send_again
from billing.services.notices import ask_for_sending

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    NoticeModelAdmin = admin.ModelAdmin[Notice]
else:
    NoticeModelAdmin = admin.ModelAdmin


class GivenUpFilter(admin.SimpleListFilter):
    """What became of a notice."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """Return the states."""
        return [("waiting", "waiting"), ("sent", "sent"), ("given_up", "given up")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notice]) -> QuerySet[Notice]:
        """Return the notices in the chosen state."""
        match self.value():
            case "waiting":
                return queryset.filter(sent_at__isnull=True, gave_up_at__isnull=True)
            case "sent":
                return queryset.filter(sent_at__isnull=False)
            case "given_up":
                return queryset.filter(sent_at__isnull=True, gave_up_at__isnull=False)
        return queryset


@admin.register(Notice)
class NoticeAdmin(NoticeModelAdmin):
    """E-mails that are owed, that were sent, and that were given up with their error."""

    list_display = ("key", "kind", "workspace", "state", "attempts", "created_at", "sent_at", "error")
    list_filter = (GivenUpFilter, "kind")
    list_select_related = ("workspace",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("key", "workspace__slug", "error")
    ordering = ("-pk",)
    actions = ("send_again",)
    fields = (
        "key", "kind", "workspace", "facts", "state", "attempts", "error",
        "created_at", "next_attempt_at", "sent_at", "gave_up_at", "delivered_to",
    )  # fmt: skip
    readonly_fields = ("state",)

    @admin.display(description="state")
    def state(self, notice: Notice) -> str:
        """Return what became of it."""
        if notice.sent_at is not None:
            return "sent"
        return "given up" if notice.gave_up_at is not None else "waiting"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A notice is owed by what it tells of."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Notice | None = None) -> bool:
        """What is told is what was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Notice | None = None) -> bool:
        """Without the row it would be told again."""
        return False

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Tell who may send again: whoever has the permission to change notices."""
        return request.user.has_perm("billing.change_notice")

    @admin.action(description="Send again (those that were given up)", permissions=["send"])
    def send_again(self, request: HttpRequest, notices: QuerySet[Notice]) -> None:
        """Try from the start what was given up; people who have it already do not get it twice."""
        count = send_again(notices)
        ask_for_sending()
        left = notices.count() - count
        self.message_user(
            request,
            f"{count} will be sent again."
            + (f" {left} were sent or are still tried: they stay as they are." if left else ""),
            messages.INFO if count else messages.WARNING,
        )
