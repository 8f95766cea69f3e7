"""The admin's pages of tiers, subscriptions and limits, changed through the services; and the books, strictly to look at."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from billing import inbox_admin as inbox_admin  # registers its pages
from billing import notices_admin as notices_admin  # registers its page
from billing.forms import LimitOverrideForm, SubscriptionForm, TierForm
from billing.models import CreditGrant, Hold, LedgerEntry, LimitOverride, Subscription, Tier, Wallet
from billing.selectors.tiers import FREE
from billing.services.tiers import change_tier, set_limits, set_tier
from lumyx.lib.money import nano_to_usd, usd_to_nano

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    AnyModelAdmin = admin.ModelAdmin[Any]
    TierModelAdmin = admin.ModelAdmin[Tier]
    SubscriptionModelAdmin = admin.ModelAdmin[Subscription]
    LimitModelAdmin = admin.ModelAdmin[LimitOverride]
else:
    AnyModelAdmin = TierModelAdmin = SubscriptionModelAdmin = LimitModelAdmin = admin.ModelAdmin


@admin.register(Tier)
class TierAdmin(TierModelAdmin):
    """Tiers. Saving writes a new version; old versions stay as they were."""

    form = TierForm
    list_display = (
        "name",
        "slug",
        "version",
        "price",
        "yearly",
        "credit",
        "daily_requests",
        "requests_per_minute",
        "is_public",
    )
    list_filter = ("slug",)
    fields = (
        "slug", "version", "name", "monthly_price_usd", "yearly_price_usd", "monthly_credits_usd",
        "daily_requests", "requests_per_minute", "is_public",
    )  # fmt: skip
    readonly_fields = ("slug", "version")
    actions = None

    @admin.display(description="price a month")
    def price(self, tier: Tier) -> str:
        """Return the price in US dollars."""
        return f"${nano_to_usd(tier.monthly_price)}"

    @admin.display(description="price a year")
    def yearly(self, tier: Tier) -> str:
        """Return the price in US dollars."""
        return f"${nano_to_usd(tier.yearly_price)}" if tier.yearly_price else "not sold"

    @admin.display(description="credit a month")
    def credit(self, tier: Tier) -> str:
        """Return the credit in US dollars."""
        return f"${nano_to_usd(tier.monthly_credits)}"

    def get_fields(self, request: HttpRequest, obj: Tier | None = None) -> Any:
        """Show an old version with its amounts, which are no longer a form."""
        if obj is None or self.has_change_permission(request, obj):
            return self.fields
        return (
            "slug",
            "version",
            "name",
            "price",
            "yearly",
            "credit",
            "daily_requests",
            "requests_per_minute",
            "is_public",
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Tier | None = None) -> Any:
        """Fix the slug and the version, and an old version's amounts."""
        return (*self.readonly_fields, "price", "yearly", "credit")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The tiers' slugs are the product's; operators change what they give."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        """Subscriptions and the books refer to tiers."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        """Only the current version can be followed by another."""
        is_old = obj is not None and Tier.objects.filter(slug=obj.slug, version__gt=obj.version).exists()
        return not is_old and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Tier, form: Any, change: bool) -> None:
        """Write a new version."""
        values = form.cleaned_data
        written = change_tier(
            obj.slug,
            name=values["name"],
            monthly_price=usd_to_nano(values["monthly_price_usd"]),
            yearly_price=usd_to_nano(values["yearly_price_usd"]),
            monthly_credits=usd_to_nano(values["monthly_credits_usd"]),
            daily_requests=values["daily_requests"],
            requests_per_minute=values["requests_per_minute"],
            is_public=values["is_public"],
        )
        self.message_user(request, f"The current version of {written.slug} is {written.version}.", messages.INFO)


@admin.register(Subscription)
class SubscriptionAdmin(SubscriptionModelAdmin):
    """Who is on which tier. Adding one ends the workspace's present one."""

    form = SubscriptionForm
    list_display = ("workspace", "tier_slug", "source", "started_at", "ends_at")
    list_filter = ("tier_slug", "source", ("ends_at", admin.EmptyFieldListFilter))
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    ordering = ("-started_at", "-pk")
    autocomplete_fields = ("workspace",)
    actions = ("end",)

    def has_change_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """What was, was: end it, or add another."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """What was, was."""
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Tell who may end subscriptions: whoever has the permission to change them."""
        return request.user.has_perm("billing.change_subscription")

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        """Put the workspace on the tier."""
        set_tier(obj.workspace_id, tier_slug=obj.tier_slug)
        live = Subscription.objects.get(workspace_id=obj.workspace_id, ends_at__isnull=True)
        obj.pk, obj._state.adding = live.pk, False

    @admin.action(description="End now (the workspace is on Free)", permissions=["end"])
    def end(self, request: HttpRequest, subscriptions: QuerySet[Subscription]) -> None:
        """Put workspaces back on Free."""
        for subscription in subscriptions.filter(ends_at__isnull=True):
            set_tier(subscription.workspace_id, tier_slug=FREE)


@admin.register(LimitOverride)
class LimitOverrideAdmin(LimitModelAdmin):
    """Limits instead of a tier's."""

    form = LimitOverrideForm
    list_display = ("workspace", "requests_per_minute", "daily_requests")
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    autocomplete_fields = ("workspace",)

    def get_readonly_fields(self, request: HttpRequest, obj: LimitOverride | None = None) -> tuple[str, ...]:
        """Fix whose limits they are."""
        return ("workspace",) if obj else ()

    def save_model(self, request: HttpRequest, obj: LimitOverride, form: Any, change: bool) -> None:
        """Set the limits."""
        set_limits(
            obj.workspace_id,
            requests_per_minute=obj.requests_per_minute,
            daily_requests=obj.daily_requests,
        )
        obj._state.adding = False

    def delete_model(self, request: HttpRequest, obj: LimitOverride) -> None:
        """Go back to the tier's limits."""
        set_limits(obj.workspace_id, requests_per_minute=None, daily_requests=None)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LimitOverride]) -> None:
        """Go back to the tiers' limits."""
        for override in queryset:
            self.delete_model(request, override)


def usd(field: str) -> Any:
    """Return a column that shows an amount in US dollars."""

    @admin.display(description=f"{field}, USD", ordering=field)
    def shown(_self: Any, row: Any) -> str:
        amount = getattr(row, field)
        return "" if amount is None else nano_to_usd(amount)

    return shown


class BooksAdmin(AnyModelAdmin):
    """Rows that only the ledger writes: nothing is added, changed or deleted here, by anybody."""

    actions = None
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Credit is given by `manage.py credits grant`."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books are never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books lose nothing."""
        return False


@admin.register(Wallet)
class WalletAdmin(BooksAdmin):
    """Wallets."""

    posted_usd, held_usd = usd("posted"), usd("held")
    list_display = ("workspace", "posted_usd", "held_usd", "next_expiry", "frozen")
    list_filter = ("frozen",)
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug",)
    fields = ("workspace", "posted_usd", "held_usd", "next_expiry", "frozen", "created_at")
    readonly_fields = ("posted_usd", "held_usd")
    ordering = ("-created_at", "-pk")


@admin.register(CreditGrant)
class CreditGrantAdmin(BooksAdmin):
    """Where credit came from, and what is left of it."""

    amount_usd, remaining_usd = usd("amount"), usd("remaining")
    list_display = ("workspace", "kind", "amount_usd", "remaining_usd", "effective_at", "expires_at", "source")
    list_filter = ("kind",)
    list_select_related = ("wallet__workspace",)
    search_fields = ("wallet__workspace__slug", "source")
    fields = (
        "workspace", "kind", "priority", "amount_usd", "remaining_usd",
        "effective_at", "expires_at", "source", "note",
    )  # fmt: skip
    readonly_fields = ("workspace", "amount_usd", "remaining_usd")
    ordering = ("-pk",)

    @admin.display(description="workspace")
    def workspace(self, grant: CreditGrant) -> str:
        """Return whose it is."""
        return grant.wallet.workspace.slug


@admin.register(Hold)
class HoldAdmin(BooksAdmin):
    """Credit set aside for requests."""

    amount_usd, actual_usd = usd("amount"), usd("actual")
    list_display = ("id", "workspace", "model", "state", "amount_usd", "actual_usd", "created_at", "expires_at")
    list_filter = ("state",)
    list_select_related = ("wallet__workspace",)
    search_fields = ("=id", "wallet__workspace__slug")
    fields = (
        "id", "workspace", "model", "state", "amount_usd", "actual_usd",
        "created_at", "expires_at", "api_key_id", "quota_subject", "quota_day",
    )  # fmt: skip
    readonly_fields = ("workspace", "amount_usd", "actual_usd")
    ordering = ("-id",)

    @admin.display(description="workspace")
    def workspace(self, hold: Hold) -> str:
        """Return whose it is."""
        return hold.wallet.workspace.slug


@admin.register(LedgerEntry)
class LedgerEntryAdmin(BooksAdmin):
    """Lines in the books."""

    amount_usd = usd("amount")
    list_display = ("at", "workspace", "kind", "amount_usd", "contra", "grant_kind", "ref")
    list_filter = ("kind", "contra")
    list_select_related = ("wallet__workspace", "grant")
    search_fields = ("=ref", "wallet__workspace__slug")
    fields = ("at", "workspace", "kind", "amount_usd", "contra", "grant_kind", "ref")
    readonly_fields = ("workspace", "amount_usd", "grant_kind")
    ordering = ("-pk",)

    @admin.display(description="workspace")
    def workspace(self, entry: LedgerEntry) -> str:
        """Return whose it is."""
        return entry.wallet.workspace.slug

    @admin.display(description="grant")
    def grant_kind(self, entry: LedgerEntry) -> str:
        """Return the kind of credit that it moved."""
        return str(entry.grant.kind)
