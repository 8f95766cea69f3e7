"""Usage events in the admin: to be read, page by page, without ever counting millions of rows."""

import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway.models import UsageEvent
from lumyx.lib.money import nano_to_usd

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    UsageModelAdmin = admin.ModelAdmin[UsageEvent]
    UsagePaginator = Paginator[UsageEvent]
else:
    UsageModelAdmin, UsagePaginator = admin.ModelAdmin, Paginator

#: The list ends here: what lies deeper is found by its workspace or its id.
ROWS_SHOWN = 5_000


class ShortPaginator(UsagePaginator):
    """Pages over the newest rows; it counts no further than it shows, along the index of ids."""

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, at most ROWS_SHOWN."""
        rows = self.object_list
        return rows.values("pk")[:ROWS_SHOWN].count() if isinstance(rows, QuerySet) else len(rows)


@admin.register(UsageEvent)
class UsageEventAdmin(UsageModelAdmin):
    """Requests, newest first. The search takes a workspace's row id or a request's id."""

    list_display = (
        "id",
        "started_at",
        "workspace_id",
        "model",
        "status",
        "http_status",
        "error_code",
        "all_input",
        "output_tokens",
        "charge_usd",
        "cost_usd",
        "duration_ms",
    )
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    paginator = ShortPaginator
    search_fields = ("id",)
    search_help_text = "A workspace's number or a request's id."

    @admin.display(description="input tokens")
    def all_input(self, row: UsageEvent) -> int:
        """Return input tokens of every class."""
        return row.input_tokens + row.cache_read_tokens + row.cache_write_tokens

    @admin.display(description="charge (USD)")
    def charge_usd(self, row: UsageEvent) -> str:
        """Return the charge in US dollars."""
        return nano_to_usd(row.charge)

    @admin.display(description="cost (USD)", empty_value="not known")
    def cost_usd(self, row: UsageEvent) -> str | None:
        """Return what it cost the operator in US dollars."""
        return None if row.cost is None else nano_to_usd(row.cost)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageEvent], search_term: str
    ) -> tuple[QuerySet[UsageEvent], bool]:
        """Find by what has an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.isascii() and term.isdigit() and len(term) < 19:
            return queryset.filter(workspace_id=int(term)), False
        try:
            return queryset.filter(id=uuid.UUID(term)), False
        except ValueError:
            return queryset.none(), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The request path writes them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes them."""
        return False
