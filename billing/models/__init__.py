"""Rows of the billing app. Ledger rows (billing.models.ledger) are written by billing.services.ledger only."""

from billing.models.ledger import CreditGrant, DailyQuota, Hold, LedgerEntry, Wallet
from billing.models.tiers import LimitOverride, Subscription, Tier

__all__ = [
    "CreditGrant",
    "DailyQuota",
    "Hold",
    "LedgerEntry",
    "LimitOverride",
    "Subscription",
    "Tier",
    "Wallet",
]
