"""The admin's pages of tiers, subscriptions and limits, changed through the services."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from billing import books_admin as books_admin  # registers its pages, like those below
from billing import inbox_admin as inbox_admin
from billing import notices_admin as notices_admin
from billing import payments_admin as payments_admin
from billing import plans_admin as plans_admin
from billing.forms import LimitOverrideForm, SubscriptionForm, TierForm
from billing.models import LimitOverride, Subscription, Tier
from billing.read_only import stripe_link
from billing.selectors.tiers import FREE
from billing.services.tiers import PaidSubscriptionError, change_tier, set_limits, set_tier
from lumyx.lib.money import nano_to_usd, usd_to_nano

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    TierModelAdmin = admin.ModelAdmin[Tier]
    SubscriptionModelAdmin = admin.ModelAdmin[Subscription]
    LimitModelAdmin = admin.ModelAdmin[LimitOverride]
else:
    TierModelAdmin = SubscriptionModelAdmin = LimitModelAdmin = admin.ModelAdmin


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
    list_display = (
        "workspace", "tier_slug", "interval", "source", "status", "started_at", "period_ends_at", "cancels_at", "ends_at",
    )  # fmt: skip
    list_filter = ("tier_slug", "source", "status", "interval", ("ends_at", admin.EmptyFieldListFilter))
    list_select_related = ("workspace",)
    search_fields = ("workspace__slug", "=stripe_id")
    ordering = ("-started_at", "-pk")
    autocomplete_fields = ("workspace",)
    actions = ("end",)

    def has_change_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """What was, was: end it, or add another."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """What was, was."""
        return False

    def get_fields(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        """Ask for the tier alone, and show all there is."""
        if obj is None:
            return ("workspace", "tier_slug")
        return (
            "workspace", "tier_slug", "interval", "source", "status", "at_stripe", "started_at", "anchor_at",
            "period_ends_at", "past_due_since", "cancels_at", "next_tier_slug", "next_interval", "ends_at",
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        """Show where it is at Stripe."""
        return () if obj is None else ("at_stripe",)

    @admin.display(description="at Stripe")
    def at_stripe(self, subscription: Subscription) -> str:
        """Return a link to it."""
        return stripe_link("subscriptions", subscription.stripe_id or "") or "comped"

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
            try:
                set_tier(subscription.workspace_id, tier_slug=FREE)
            except PaidSubscriptionError as error:
                self.message_user(request, f"{subscription}: {error}", messages.WARNING)
            else:
                self.log_change(request, subscription, "Ended from the list.")


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
