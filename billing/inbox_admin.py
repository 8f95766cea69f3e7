"""The admin's pages of what Stripe sent: strictly to look at, but that an event can be applied again."""

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from billing.models import EventState, RefusedDelivery, StripeEvent
from billing.payments import inbox

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    AnyModelAdmin = admin.ModelAdmin[Model]
    StripeEventModelAdmin = admin.ModelAdmin[StripeEvent]
else:
    AnyModelAdmin = StripeEventModelAdmin = admin.ModelAdmin


class _ReadOnly:
    """What is told is what was."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from Stripe."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows are never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows are never deleted: without its row, an event would be taken again."""
        return False


@admin.register(StripeEvent)
class StripeEventAdmin(_ReadOnly, StripeEventModelAdmin):
    """Events, with what became of them."""

    list_display = ("id", "type", "object_id", "state", "attempts", "received_at", "finished_at", "error")
    list_filter = ("state", "type")
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("id", "object_id", "error")
    ordering = ("-received_at",)
    actions = ("apply_again",)

    def has_apply_permission(self, request: HttpRequest) -> bool:
        """Tell who may apply again: whoever has the permission to change events."""
        return request.user.has_perm("billing.change_stripeevent")

    @admin.action(description="Apply again", permissions=["apply"])
    def apply_again(self, request: HttpRequest, events: QuerySet[StripeEvent]) -> None:
        """Apply events once more, whatever became of them; what is in the books already stays as it is."""
        states = [inbox.retry(event_id).state for event_id in events.values_list("pk", flat=True)]
        failed = sum(state in {EventState.FAILED, EventState.NEW} for state in states)
        self.message_user(
            request,
            f"{len(states) - failed} applied." + (f" {failed} not: their error says why." if failed else ""),
            messages.WARNING if failed else messages.INFO,
        )


@admin.register(RefusedDelivery)
class RefusedDeliveryAdmin(_ReadOnly, AnyModelAdmin):
    """Deliveries that were turned away, by day and reason."""

    list_display = ("day", "reason", "count", "last_from", "last_claim", "last_at")
    list_filter = ("reason",)
    ordering = ("-day", "reason")
