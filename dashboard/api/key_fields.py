"""How API keys and their budgets look in the management API's JSON. What values mean is said by accounts.services.apikeys."""

from typing import Any

from rest_framework import serializers

from accounts.budgets import Budget, BudgetPeriod
from dashboard.api.fields import StrictSerializer, UsdField
from lumyx.lib.money import MoneyError, usd_to_nano

PERIODS = [period.value for period in BudgetPeriod]
STATES = ["active", "disabled", "expired", "orphaned", "revoked"]
#: Minutes: 30 days.
OVERLAP_MAX = 30 * 24 * 60


class BudgetBody(StrictSerializer):
    """What a key or a member may spend in each period."""

    amount = serializers.CharField(
        max_length=24, help_text='US dollars, a decimal string above zero, as "25" or "0.5".'
    )
    period = serializers.ChoiceField(PERIODS, help_text="Periods are UTC; weeks begin on Monday; `total` never resets.")

    def to_internal_value(self, data: Any) -> Any:
        """Return a ``Budget``. Raises ValidationError."""
        given = super().to_internal_value(data)
        try:
            amount = usd_to_nano(given["amount"])
        except MoneyError as error:
            raise serializers.ValidationError({"amount": [str(error)]}) from error
        if amount <= 0:
            raise serializers.ValidationError({"amount": ["A budget is above zero. Send null for no budget."]})
        return Budget(amount, BudgetPeriod(given["period"]))


class BudgetSerializer(serializers.Serializer[Any]):
    """A budget as it stands in its present period."""

    amount = UsdField()
    period = serializers.ChoiceField(PERIODS)
    spent = UsdField()
    held = UsdField(help_text="What running requests may still cost.")
    left = UsdField(help_text="What new requests may set aside; below zero after the budget was lowered.")
    resets_at = serializers.DateTimeField(allow_null=True)


def _models(**options: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        max_length=100,
        help_text="Ids of the only models that it may call, `provider/*` for all of a provider's; empty: all.",
        **options,
    )


def _addresses(**options: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=60),
        required=False,
        max_length=100,
        help_text="The only addresses and networks (CIDR) that it may be used from; empty: all.",
        **options,
    )


def _pace() -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False, min_value=0, max_value=1_000_000, help_text="A pace of its own; 0: the workspace's alone."
    )


class NewKeyBody(StrictSerializer):
    """An API key to be made."""

    name = serializers.CharField(max_length=80, help_text="What people call it.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, help_text="When it ends; null: never.")
    allowed_models = _models()
    allowed_addresses = _addresses()
    requests_per_minute = _pace()
    budget = BudgetBody(required=False, allow_null=True)
    is_test = serializers.BooleanField(required=False, help_text="It reaches sandbox models only, and costs nothing.")


class KeyPatchBody(StrictSerializer):
    """What to change of an API key; what is left out stays."""

    name = serializers.CharField(required=False, max_length=80)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    allowed_models = _models()
    allowed_addresses = _addresses()
    requests_per_minute = _pace()
    budget = BudgetBody(required=False, allow_null=True)
    disabled = serializers.BooleanField(required=False, help_text="Switched off, until it is switched on again.")


class RotationBody(StrictSerializer):
    """How an API key gets a new secret."""

    overlap_minutes = serializers.IntegerField(
        min_value=0, max_value=OVERLAP_MAX, default=0, help_text="So long the old secret works on; 0: it ends now."
    )


class KeySerializer(serializers.Serializer[Any]):
    """An API key without its secret."""

    prefix = serializers.CharField(help_text="Names the key: the public beginning of its secret.")
    last_four = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(
        STATES, help_text="`orphaned`: its maker has left, or may not manage keys any more."
    )
    is_test = serializers.BooleanField()
    allowed_models = serializers.ListField(child=serializers.CharField())
    allowed_addresses = serializers.ListField(child=serializers.CharField())
    requests_per_minute = serializers.IntegerField()
    budget = BudgetSerializer(source="budget_left", allow_null=True)
    created_by = serializers.IntegerField(source="created_by_id", allow_null=True, help_text="A member's user_id.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    disabled_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    previous_prefix = serializers.CharField(help_text="Of the secret before the last rotation; empty without one.")
    previous_ends_at = serializers.DateTimeField(allow_null=True, help_text="When that secret ends, or ended.")


class NewKeySerializer(KeySerializer):
    """An API key that was just made."""

    secret = serializers.CharField(allow_null=True, help_text="Seen this once; null in a repeated answer.")
