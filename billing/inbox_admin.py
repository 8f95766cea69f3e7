"""The admin's pages of what Stripe sent and how it compares with the books: to look at, but an event can be applied again."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.text import Truncator

from billing.models import EventState, Reconciliation, RefusedDelivery, StripeEvent
from billing.payments import inbox
from billing.read_only import ReadOnly, ReadOnlyAdmin

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    StripeEventModelAdmin = admin.ModelAdmin[StripeEvent]
else:
    StripeEventModelAdmin = admin.ModelAdmin


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnly, StripeEventModelAdmin):
    """Events, with what became of them."""

    list_display = ("id", "type", "state", "attempts", "why", "received_at")
    list_filter = ("state", "type")
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("id", "object_id", "error")
    ordering = ("-received_at",)
    actions = ("apply_again",)

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("css/admin-money.css",)}

    @admin.display(description="error", empty_value="")
    def why(self, event: StripeEvent) -> str:
        """Return why it was not applied, cut short: its page has all of it."""
        return Truncator(event.error).chars(160)

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
class RefusedDeliveryAdmin(ReadOnlyAdmin):
    """Deliveries that were turned away, by day and reason."""

    list_display = ("day", "reason", "count", "last_from", "last_claim", "last_at")
    list_filter = ("reason",)
    ordering = ("-day", "reason")


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyAdmin):
    """What the nightly comparison found, check by check."""

    list_display = ("started_at", "finished_at", "is_clean", "looked_at", "put_right", "wrong")
    list_filter = ("is_clean",)
    fields = ("started_at", "finished_at", "is_clean", "found")
    readonly_fields = ("found",)
    ordering = ("-started_at", "-pk")

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("css/admin-money.css",)}

    @admin.display(description="looked at")
    def looked_at(self, run: Reconciliation) -> int:
        """Return how many things the checks looked at."""
        return _sum(run, "looked_at")

    @admin.display(description="put right")
    def put_right(self, run: Reconciliation) -> int:
        """Return how many it put right."""
        return _sum(run, "put_right_count")

    @admin.display(description="wrong")
    def wrong(self, run: Reconciliation) -> int:
        """Return how many are wrong."""
        return _sum(run, "wrong_count")

    @admin.display(description="found")
    def found(self, run: Reconciliation) -> str:
        """Return a table of the checks, those with something wrong first."""
        checks = [
            {
                **found,
                "name": name.replace("_", " "),
                "more_wrong": _more(found, "wrong"),
                "more_right": _more(found, "put_right"),
            }
            for name, found in sorted(run.findings.items(), key=lambda item: (not item[1].get("wrong_count"), item[0]))
        ]
        return render_to_string("admin/billing/findings.html", {"checks": checks})


def _sum(run: Reconciliation, what: str) -> int:
    return sum(found.get(what, 0) for found in run.findings.values())


def _more(found: dict[str, Any], what: str) -> int:
    """Return how many sentences were found beside those that were kept."""
    return int(found.get(f"{what}_count", 0)) - len(found.get(what, []))
