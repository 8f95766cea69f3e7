"""What the admin's pages of billing share: rows that are only looked at, amounts in dollars, and links to what they belong to."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.payments import stripe_api
from lumyx.lib.money import format_usd, nano_to_usd

if TYPE_CHECKING:  # Django's classes take their parameters in the eyes of the type checker only
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyInline = admin.TabularInline[Any, Any]
else:
    AnyModelAdmin, AnyInline = admin.ModelAdmin, admin.TabularInline

_CENT = 10_000_000
_STRIPE = "https://dashboard.stripe.com"


def dollars(nano: int) -> str:
    """Return nano-USD for people, exactly: "$1.50", "-$0.000042"."""
    if nano % _CENT == 0:
        return format_usd(nano)
    return f"{'-' if nano < 0 else ''}${nano_to_usd(abs(nano))}"


def usd(field: str, *, description: str = "") -> Any:
    """Return a column that shows an amount in US dollars."""

    @admin.display(description=description or f"{field.replace('_', ' ')}, USD", ordering=field)
    def shown(_self: Any, row: Any) -> str:
        amount = getattr(row, field)
        return "" if amount is None else nano_to_usd(amount)

    return shown


def link_to(row: Any, words: object = "") -> SafeString:
    """Return a link to a row's page in the admin."""
    return format_html('<a href="{}">{}</a>', page_of(row, "change"), words or row)


def page_of(row: Any, page: str) -> str:
    """Return the address of a row's page. The id is quoted as the admin does: it would read "pi_3A…" as "pi:…"."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[quote(row.pk)])


def stripe_link(kind: str, stripe_id: str) -> str | SafeString:
    """Return a link to an object's page in Stripe's dashboard ("payments", "customers", …); its id alone at a stand-in."""
    if not stripe_id or not stripe_api.payments_are_on() or settings.STRIPE_API_BASE:
        return stripe_id
    address = f"{_STRIPE}/{'' if stripe_api.is_live() else 'test/'}{kind}/{stripe_id}"
    return outside_link(address, stripe_id)


def outside_link(address: str, words: str) -> str | SafeString:
    """Return a link that leaves this installation, in a window of its own; nothing without an https or http address."""
    if not address.startswith(("https://", "http://")):
        return ""
    return format_html('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>', address, words)


class ReadOnly:
    """Rows that nobody adds, changes or deletes here, whatever their permissions."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows come from elsewhere."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are never deleted."""
        return False


class ReadOnlyAdmin(ReadOnly, AnyModelAdmin):
    """A list of many rows, to look at."""

    actions: Any = None
    show_full_result_count = False
    list_per_page = 50


class WorkspaceRows(ReadOnlyAdmin):
    """Rows that belong to a workspace, which is searched by its slug and linked from the row's page."""

    list_select_related: ClassVar[Any] = ("workspace",)
    search_fields: ClassVar[Any] = ("workspace__slug",)

    @admin.display(description="workspace")
    def workspace_link(self, row: Any) -> SafeString:
        """Return a link to the workspace."""
        return link_to(row.workspace, row.workspace.slug)


class ReadOnlyInline(ReadOnly, AnyInline):
    """Rows that are shown beside their parent."""

    extra = 0
    can_delete = False
