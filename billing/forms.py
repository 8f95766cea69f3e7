"""Forms of the admin: tiers with amounts in dollars, subscriptions given by hand, and overrides of limits."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from billing.models import LimitOverride, Subscription, Tier
from billing.selectors.tiers import FREE, is_paid_for
from lumyx.lib.money import nano_to_usd

if TYPE_CHECKING:  # Django's classes take their parameter in the eyes of the type checker only
    TierModelForm = forms.ModelForm[Tier]
    SubscriptionModelForm = forms.ModelForm[Subscription]
    LimitModelForm = forms.ModelForm[LimitOverride]
else:
    TierModelForm = SubscriptionModelForm = LimitModelForm = forms.ModelForm


class TierForm(TierModelForm):
    """A tier with its amounts in US dollars."""

    monthly_price_usd = forms.DecimalField(label="Price a month, USD", min_value=0, max_digits=12, decimal_places=2)
    yearly_price_usd = forms.DecimalField(
        label="Price a year, USD", min_value=0, max_digits=12, decimal_places=2, help_text="0: not sold by the year."
    )
    monthly_credits_usd = forms.DecimalField(label="Credit a month, USD", min_value=0, max_digits=12, decimal_places=9)

    class Meta:
        model = Tier
        fields = ("name", "daily_requests", "requests_per_minute", "is_public")
        help_texts: ClassVar[dict[str, str]] = {
            "daily_requests": "Requests to free models a UTC day; 0 is unlimited.",
            "requests_per_minute": "0 is unlimited.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("monthly_price", "yearly_price", "monthly_credits"):
            self.initial[f"{name}_usd"] = nano_to_usd(getattr(self.instance, name) or 0)


class SubscriptionForm(SubscriptionModelForm):
    """A right to a tier, given by hand from now on."""

    tier_slug = forms.ChoiceField(label="Tier")

    class Meta:
        model = Subscription
        fields = ("workspace", "tier_slug")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        slugs = Tier.objects.exclude(slug=FREE).order_by("slug").values_list("slug", flat=True).distinct()
        choice = self.fields["tier_slug"]
        if isinstance(choice, forms.ChoiceField):
            choice.choices = [(slug, slug) for slug in slugs]

    def clean(self) -> dict[str, Any]:
        """Refuse to put something in the place of what is paid for."""
        cleaned = super().clean() or self.cleaned_data
        workspace = cleaned.get("workspace")
        if workspace is not None and is_paid_for(workspace.pk):
            raise forms.ValidationError(
                "The workspace pays for its plan. Cancel that first, at Stripe or on its plan page."
            )
        return cleaned

    def validate_constraints(self) -> None:
        """Leave the one open subscription to the service, which ends it."""


class LimitOverrideForm(LimitModelForm):
    """An operator's limits for one workspace."""

    class Meta:
        model = LimitOverride
        fields = ("workspace", "requests_per_minute", "daily_requests")
        help_texts: ClassVar[dict[str, str]] = {
            "requests_per_minute": "0 is unlimited; empty: the tier's.",
            "daily_requests": "Requests to free models a UTC day. 0 is unlimited; empty: the tier's.",
        }

    def clean(self) -> dict[str, Any]:
        """Refuse an override that overrides nothing."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and cleaned["requests_per_minute"] is None and cleaned["daily_requests"] is None:
            raise forms.ValidationError("Set at least one limit; to go back to the tier's, delete the override.")
        return cleaned
