"""Rows behind the admin's pages of payments, as Stripe and operators leave them."""

import datetime as dt

from accounts.models import Workspace
from billing.models import (
    AutoTopUp,
    CreditOrder,
    CreditPeriod,
    CreditPlan,
    Invoice,
    OrderKind,
    Payment,
    RefundRequest,
    Reversal,
    StripeCustomer,
    StripePrice,
)
from billing.services import ledger, reconciliations
from lumyx.lib import clock
from lumyx.lib.ids import uuid7

USD = 10**9


def add_payments(workspace: Workspace, number: str) -> None:
    """Add a purchase that was refunded in part, an invoice with its plan, and all that belongs to them; ``number`` names them."""
    now = clock.now()
    StripeCustomer.objects.create(workspace=workspace, stripe_id=f"cus_{number}")
    order = CreditOrder.objects.create(workspace=workspace, kind=OrderKind.CHECKOUT, amount=10 * USD, state="paid")
    receipt = "https://pay.stripe.com/receipts/1"
    bought = Payment.objects.create(
        stripe_id=f"pi_{number}",
        workspace=workspace,
        order=order,
        charge_id=f"ch_{number}",
        amount=10 * USD,
        refunded=USD,
        receipt_url=receipt,
        paid_at=now,
    )
    Payment.objects.create(
        stripe_id=f"pi_in_{number}", workspace=workspace, invoice_id=f"in_{number}", amount=5 * USD, paid_at=now
    )
    Reversal.objects.create(ref=f"refund:re_{number}", payment=bought, amount=USD, happened_at=now)
    RefundRequest.objects.create(
        id=uuid7(), payment=bought, amount=USD, reason="Asked for", actor=workspace.owner, refund_id=f"re_{number}"
    )
    Invoice.objects.create(
        stripe_id=f"in_{number}",
        workspace=workspace,
        subscription_id=f"sub_{number}",
        number=f"LX-{number}",
        status="paid",
        total=5 * USD,
        hosted_url="https://invoice.stripe.com/i/1",
        pdf_url="https://invoice.stripe.com/i/1/pdf",
        created_at=now,
        paid_at=now,
    )
    _add_plan(workspace, number)
    AutoTopUp.objects.create(workspace=workspace, threshold=USD, amount=10 * USD, monthly_ceiling=50 * USD)
    source = f"form:{number}"
    ledger.adjust(workspace_id=workspace.pk, amount=USD, reason="Sorry", actor_id=workspace.owner_id, source=source)
    run = reconciliations.begin()
    reconciliations.finish(
        run, [reconciliations.Check("stripe_payments", 3, ["payment pi_9"], [f"pi_{number} is odd"])]
    )


def _add_plan(workspace: Workspace, number: str) -> None:
    now = clock.now()
    end = now + dt.timedelta(days=30)
    StripePrice.objects.create(
        stripe_id=f"price_{number}", tier_slug=f"t{number}"[:20], tier_version=1, interval="month", amount=5 * USD
    )
    CreditPlan.objects.create(
        source=f"in_{number}:il_{number}",
        workspace=workspace,
        subscription_id=f"sub_{number}",
        tier_slug="vip1",
        interval="month",
        monthly_credits=4 * USD,
        anchor_at=now,
        starts_at=now,
        ends_at=end,
    )
    CreditPeriod.objects.create(
        workspace=workspace, source=f"in_{number}:il_{number}", tier_slug="vip1", starts_at=now, ends_at=end
    )
