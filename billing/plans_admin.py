"""The admin's pages of what subscriptions rest on: customers, prices, and the credit that they give. Strictly to look at."""

from django.contrib import admin

from billing.models import CreditPeriod, CreditPlan, StripeCustomer, StripePrice
from billing.read_only import ReadOnlyAdmin, WorkspaceRows, stripe_link, usd


@admin.register(StripeCustomer)
class StripeCustomerAdmin(WorkspaceRows):
    """Which customer at Stripe pays for which workspace."""

    list_display = ("workspace", "stripe_id", "is_deleted", "created_at")
    list_filter = ("is_deleted",)
    search_fields = ("workspace__slug", "=stripe_id")
    fields = ("workspace_link", "at_stripe", "is_deleted", "created_at")
    readonly_fields = ("workspace_link", "at_stripe")
    ordering = ("-created_at", "-pk")

    @admin.display(description="at Stripe")
    def at_stripe(self, customer: StripeCustomer) -> str:
        """Return a link to it."""
        return stripe_link("customers", customer.stripe_id)


@admin.register(StripePrice)
class StripePriceAdmin(ReadOnlyAdmin):
    """Prices at Stripe, made by `manage.py stripe sync`."""

    amount_usd = usd("amount")
    list_display = ("tier_slug", "tier_version", "interval", "amount_usd", "stripe_id", "created_at")
    list_filter = ("tier_slug", "interval")
    search_fields = ("=stripe_id", "tier_slug")
    fields = ("tier_slug", "tier_version", "interval", "amount_usd", "at_stripe", "created_at")
    readonly_fields = ("amount_usd", "at_stripe")
    ordering = ("tier_slug", "-tier_version", "interval")

    @admin.display(description="at Stripe")
    def at_stripe(self, price: StripePrice) -> str:
        """Return a link to it."""
        return stripe_link("prices", price.stripe_id)


@admin.register(CreditPlan)
class CreditPlanAdmin(WorkspaceRows):
    """Stretches that were paid for, and for which VIP credit comes month by month."""

    monthly_usd, replaced_usd = usd("monthly_credits"), usd("replaced_credits")
    list_display = ("workspace", "tier_slug", "interval", "monthly_usd", "starts_at", "ends_at")
    list_filter = ("tier_slug", "interval")
    search_fields = ("workspace__slug", "=source", "=subscription_id")
    fields = (
        "source", "workspace_link", "subscription_id", "tier_slug", "interval", "monthly_usd", "replaced_usd", "anchor_at",
        "starts_at", "ends_at", "created_at",
    )  # fmt: skip
    readonly_fields = ("workspace_link", "monthly_usd", "replaced_usd")
    ordering = ("-starts_at", "-pk")


@admin.register(CreditPeriod)
class CreditPeriodAdmin(WorkspaceRows):
    """Months for which VIP credit was granted."""

    list_display = ("workspace", "tier_slug", "starts_at", "ends_at", "source")
    list_filter = ("tier_slug",)
    search_fields = ("workspace__slug", "=source")
    fields = ("source", "workspace_link", "tier_slug", "starts_at", "ends_at", "created_at")
    readonly_fields = ("workspace_link",)
    ordering = ("-starts_at", "-pk")
