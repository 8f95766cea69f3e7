"""Payments and invoices in words, as pages list them."""

from dataclasses import dataclass

from billing.selectors.payments import PaymentLine
from dashboard.templatetags.figures import short_usd

WHAT = {"purchase": "Credit", "top_up": "Automatic top-up", "plan": "Plan"}
#: An order's or an invoice's status: its name and colour.
STATUSES = {
    "paid": ("Paid", "ok"),
    "failed": ("Failed", "bad"),
    "open": ("To be paid", "warn"),
    "void": ("Void", ""),
    "uncollectible": ("Not collected", "bad"),
}
#: Stripe's status of a dispute. "warning_…" are a bank's questions, with no money taken yet.
DISPUTES = {
    "won": ("Dispute won", "ok"),
    "lost": ("Dispute lost", "bad"),
    "warning_closed": ("Inquiry closed", ""),
    "prevented": ("Dispute prevented", ""),
}
ERRORS = {
    "authentication_required": "The bank asks you to confirm it.",
    "expired_card": "The card has expired.",
    "insufficient_funds": "The card has too little money.",
    "no_payment_method": "No card is saved.",
}
DECLINED = "The card was declined."


@dataclass(frozen=True, slots=True)
class ShownPayment:
    """A payment or an invoice, in words. ``badge`` is the colour of its status."""

    line: PaymentLine
    what: str
    status: str
    badge: str
    #: What more there is to say about the status; may be empty.
    detail: str


def show_payment(line: PaymentLine) -> ShownPayment:
    """Return a line in words. A dispute is said before a refund, and a refund before that it was paid."""
    status, badge = STATUSES.get(line.status, (line.status.capitalize(), ""))
    detail = ERRORS.get(line.error, DECLINED) if line.status == "failed" else ""
    if line.dispute:
        status, badge = DISPUTES.get(line.dispute, ("Disputed", "warn"))
        if line.dispute.startswith("warning_") and line.dispute != "warning_closed":
            status, badge = "Bank’s inquiry", "warn"
    elif line.refunded >= line.amount > 0:
        status, badge = "Refunded", ""
    if line.refunded and (line.dispute or line.refunded < line.amount):
        detail = f"{short_usd(line.refunded)} refunded"
    return ShownPayment(line, WHAT[line.kind], status, badge, detail)
