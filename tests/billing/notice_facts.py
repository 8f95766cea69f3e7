"""Facts of every kind of notice, as callers give them."""

from billing.services.notice_kinds import Facts
from lumyx.lib.money import usd_to_nano

RECEIPT_URL = "https://pay.example.com/receipts/r_1?a=1&b=2"
_TIER: dict[str, str | int | bool] = {
    "tier_name": "VIP 2",
    "interval": "month",
    "amount": usd_to_nano("15"),
    "period_end": "2027-01-31T10:00:00+00:00",
}
_GONE = 2**31 - 1

FACTS: dict[str, Facts] = {
    "receipt": {
        "amount": usd_to_nano("21.50"),
        "credit": usd_to_nano("20"),
        "method": "Visa ending in 4242",
        "receipt_url": RECEIPT_URL,
        "paid_at": "2026-11-26T23:30:00+00:00",
    },
    "low_balance": {"balance": usd_to_nano("4.999999999"), "threshold": usd_to_nano("5"), "entry": 1},
    "top_up_failed": {"amount": usd_to_nano("25"), "reason": "The card was declined.", "stopped": True},
    "payment_action_needed": {"amount": usd_to_nano("30"), "url": "https://pay.example.com/confirm/pi_1"},
    "subscription_started": {**_TIER, "receipt_url": RECEIPT_URL},
    "subscription_renewed": _TIER,
    "subscription_changed": _TIER,
    "subscription_past_due": _TIER,
    "subscription_ended": _TIER,
    "refund": {"amount": usd_to_nano("10"), "credit_taken": usd_to_nano("9.123456789")},
    "dispute_opened": {"amount": usd_to_nano("40")},
    "dispute_closed": {"amount": usd_to_nano("40"), "won": False},
    # 0 is an operator, and no user has the last number that there is.
    "member_joined": {"person": 1, "member": _GONE, "role": "developer"},
    "role_changed": {"person": 1, "by": 0, "role": "viewer", "before": "admin"},
    "member_removed": {"person": 1, "by": 0},
    "ownership_transferred": {"person": 1, "giver": 0, "taker": _GONE},
    "deletion_planned": {"person": 1, "by": 0, "deletes_at": "2027-01-31T23:30:00+00:00"},
    "deletion_undone": {"person": 1, "by": 0},
    "workspace_deleted": {"person": 1, "called": "<b>Ann & Bob's</b>"},
}
