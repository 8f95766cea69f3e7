"""Forms of the admin: tiers with amounts in dollars, subscriptions given by hand, overrides of limits, and money moved by hand."""

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.safestring import SafeString

from billing.models import LimitOverride, Subscription, Tier
from billing.payments.money import NANO_PER_CENT
from billing.selectors.tiers import FREE, is_paid_for
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from lumyx.lib.money import MoneyError, nano_to_usd, usd_to_nano

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


class MoneyForm(forms.Form):
    """What every form that moves money has: an id of its own, with which it does its deed once."""

    form_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid7)

    def hidden(self) -> list[SafeString]:
        """Return all that was filled in, as hidden fields: the form that is reviewed is sent again with its confirmation."""
        return [field.as_hidden() for field in self]


class AmountForm(MoneyForm):
    """One with an amount in dollars; its clean value is nano-USD."""

    amount = forms.DecimalField(label="Amount, USD", max_digits=19, decimal_places=9)

    def clean_amount(self) -> int:
        """Return nano-USD."""
        try:
            return usd_to_nano(self.cleaned_data["amount"])
        except MoneyError as error:
            raise forms.ValidationError(str(error)) from error


def _reason(help_text: str = "Kept for operators; the workspace does not see it.") -> forms.CharField:
    return forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 3}), help_text=help_text)


def _note() -> forms.CharField:
    return forms.CharField(max_length=500, required=False, help_text="The workspace sees it beside the credit.")


class AdjustForm(AmountForm):
    """A correction of a balance."""

    reason, note = _reason(), _note()
    may_owe = forms.BooleanField(
        label="Allow a debt",
        required=False,
        help_text="Take the amount even where it is spent, or set aside for requests that run.",
    )
    field_order = ("form_id", "amount", "reason", "note", "may_owe")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].help_text = "5 gives five dollars of paid credit; -5 takes five off what is left."

    def clean_amount(self) -> int:
        """Refuse to adjust by nothing."""
        amount = super().clean_amount()
        if amount == 0:
            raise forms.ValidationError("An adjustment is not zero.")
        return amount


class GrantForm(AmountForm):
    """Credit that is given by hand."""

    kind = forms.ChoiceField(
        choices=[("promo", "Promo: a gift, spent first"), ("paid", "Paid: bought elsewhere, never expires, spent last")]
    )
    expires_on = forms.DateField(
        label="Expires on",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Promo credit only: the first day on which it is gone (UTC). Empty: it never expires.",
    )
    note = _note()
    field_order = ("form_id", "kind", "amount", "expires_on", "note")

    def clean_amount(self) -> int:
        """Refuse to give nothing."""
        amount = super().clean_amount()
        if amount <= 0:
            raise forms.ValidationError("A grant is above zero. To take credit off, adjust the balance.")
        return amount

    def clean_expires_on(self) -> dt.datetime | None:
        """Return when it expires."""
        day = self.cleaned_data["expires_on"]
        if day is None:
            return None
        expires_at = dt.datetime.combine(day, dt.time(), dt.UTC)
        if expires_at <= clock.now():
            raise forms.ValidationError("That day has begun already.")
        return expires_at

    def clean(self) -> dict[str, Any]:
        """Refuse paid credit with an end."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("kind") == "paid" and cleaned.get("expires_on"):
            self.add_error("expires_on", "Paid credit never expires.")
        return cleaned


class FreezeForm(MoneyForm):
    """Why a wallet is stopped, or goes on."""

    reason = _reason()


class RefundForm(AmountForm):
    """Money of a payment that goes back."""

    reason = _reason("Kept here and at Stripe; the customer does not see it.")
    field_order = ("form_id", "amount", "reason")

    def clean_amount(self) -> int:
        """Refuse what a card cannot be given."""
        amount = super().clean_amount()
        if amount <= 0:
            raise forms.ValidationError("A refund is above zero.")
        if amount % NANO_PER_CENT:
            raise forms.ValidationError("A refund is in whole cents.")
        return amount
