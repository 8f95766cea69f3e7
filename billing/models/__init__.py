"""Rows of the billing app. Ledger rows (billing.models.ledger) are written by billing.services.ledger only."""

from billing.models.hands import Adjustment, RefundRequest
from billing.models.inbox import EventState, Reconciliation, RefusedDelivery, StripeEvent
from billing.models.ledger import BudgetUse, CreditGrant, DailyQuota, Hold, LedgerEntry, Wallet
from billing.models.notices import Mute, Notice
from billing.models.payments import (
    AutoTopUp,
    CreditOrder,
    CreditPeriod,
    CreditPlan,
    Invoice,
    OrderKind,
    OrderState,
    Payment,
    Reversal,
    StripeCustomer,
    StripePrice,
)
from billing.models.tiers import Interval, LimitOverride, Subscription, SubscriptionStatus, Tier

__all__ = [
    "Adjustment",
    "AutoTopUp",
    "BudgetUse",
    "CreditGrant",
    "CreditOrder",
    "CreditPeriod",
    "CreditPlan",
    "DailyQuota",
    "EventState",
    "Hold",
    "Interval",
    "Invoice",
    "LedgerEntry",
    "LimitOverride",
    "Mute",
    "Notice",
    "OrderKind",
    "OrderState",
    "Payment",
    "Reconciliation",
    "RefundRequest",
    "RefusedDelivery",
    "Reversal",
    "StripeCustomer",
    "StripeEvent",
    "StripePrice",
    "Subscription",
    "SubscriptionStatus",
    "Tier",
    "Wallet",
]
