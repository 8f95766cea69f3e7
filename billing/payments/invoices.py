"""Invoices in the books: a paid one gives its tier's VIP credit. The one way in, whatever the event was about.

A subscription is brought in whole: its row, and each of its invoices that is not paid in our rows yet. So it does not matter which
of its events came, in which order, or whether any came at all.
"""

import datetime as dt

from django.db import transaction

from billing.models import CreditPeriod, CreditPlan, Invoice, StripeCustomer, StripePrice, Subscription, Tier
from billing.payments import stripe_api, subscriptions
from billing.payments.errors import NotAppliedError, NotOursError
from billing.payments.money import CURRENCY, cents_of, nano_of
from billing.payments.objects import PaymentIntent
from billing.payments.payment_rows import PaymentRead, read_intent, read_payment, write_payment
from billing.payments.plan_credit import Change, Plan, TierPrice, credit_of
from billing.payments.reversals import apply_reversals
from billing.payments.subscription_objects import InvoicePayment, Line, StripeInvoice, StripeSubscription
from billing.periods import GRACE
from billing.services import ledger, notices, returns, vip
from lumyx.lib import clock

#: An invoice that is this stays so.
_FINAL = {"paid", "void"}
_NEWS = dt.timedelta(days=7)
_NOTICES = {
    "subscription_create": "subscription_started",
    "subscription_cycle": "subscription_renewed",
    "subscription_update": "subscription_changed",
}


def apply_subscription(subscription_id: str) -> None:
    """Bring in a subscription and what its invoices gave. Raises NotOursError, NotAppliedError."""
    with transaction.atomic():
        customer, found = subscriptions.lock_subscription(subscription_id)
        _bring_in(customer, found)


def apply_invoice(invoice_id: str, *, asks_for_action: bool = False) -> None:
    """Bring in an invoice's subscription; tell its people where the bank asks them to confirm. Raises as above."""
    invoice = stripe_api.send(StripeInvoice, stripe_api.client().v1.invoices.retrieve, invoice_id)
    if invoice.subscription is None:
        raise NotOursError(f"The invoice {invoice_id} is of no subscription.")
    with transaction.atomic():
        customer, found = subscriptions.lock_subscription(invoice.subscription)
        _bring_in(customer, found)
        row = Invoice.objects.filter(pk=invoice_id, status="open").first()
        if asks_for_action and row is not None and row.hosted_url:
            notices.owe(
                "payment_action_needed",
                workspace_id=row.workspace_id,
                key=f"action:{invoice_id}",
                facts={"amount": row.total, "url": row.hosted_url},
            )


def apply_invoice_payment(customer: StripeCustomer, intent: PaymentIntent) -> None:
    """Bring in the subscription that a payment paid for, and what went back of it. Call it under the customer's lock."""
    paid = stripe_api.listed(
        InvoicePayment,
        stripe_api.client().v1.invoice_payments.list,
        params={"payment": {"type": "payment_intent", "payment_intent": intent.id}},
    )
    if not paid:
        raise NotOursError(f"The payment {intent.id} is for no order and no invoice of ours.")
    invoice = stripe_api.send(StripeInvoice, stripe_api.client().v1.invoices.retrieve, paid[0].invoice)
    if invoice.subscription is None or invoice.customer != intent.customer:
        raise NotOursError(f"The invoice {invoice.id} is of no subscription of this customer.")
    found = subscriptions.read_subscription(invoice.subscription)
    read = read_payment(intent)
    _bring_in(customer, found)
    if intent.status == "succeeded" and Invoice.objects.filter(pk=invoice.id, status="paid").exists():
        # Also a second one, of an invoice that was paid before: it can be refunded and disputed like the first.
        payment, _ = write_payment(read, workspace_id=customer.workspace_id, invoice_id=invoice.id)
        apply_reversals(payment, read)


def tier_prices(price_ids: set[str]) -> dict[str, TierPrice]:
    """Return what prices sell, by their ids; those that sell nothing here are left out."""
    found = {}
    for price in StripePrice.objects.filter(pk__in=price_ids):
        tier = Tier.objects.get(slug=price.tier_slug, version=price.tier_version)
        cents = cents_of(price.amount)
        found[price.pk] = TierPrice(price.tier_slug, price.interval, cents, tier.monthly_credits)
    return found


def _bring_in(customer: StripeCustomer, found: StripeSubscription) -> None:
    row = subscriptions.write_subscription(customer, found)
    if row is None:
        return
    fresh = [_write_invoice(customer, found, invoice) for invoice in _news_of(found.id)]
    paid = [invoice for invoice in fresh if invoice.status == "paid"]
    changes = [change for invoice in paid if (change := _credit(customer, found, invoice))]
    payments = [(invoice.id, read) for invoice in paid for read in _payments_of(invoice)]
    subscriptions.cut_plans(row)
    # From here on the wallet is locked, and Stripe is not asked any more.
    # Before the months: one that begins ends what is left of a change in the month before it.
    for change in changes:
        _grant_change(customer.workspace_id, change)
    if paid:
        # Stripe's clock may be ahead of ours: what is paid has begun.
        paid_at = max(_at(invoice.status_transitions.paid_at or 0) for invoice in paid)
        vip.refresh(customer.workspace_id, at=max(clock.now(), paid_at))
    for invoice_id, read in payments:
        payment, _ = write_payment(read, workspace_id=customer.workspace_id, invoice_id=invoice_id)
        apply_reversals(payment, read)
    for invoice in paid:
        _tell(row, invoice)


def _news_of(subscription_id: str) -> list[StripeInvoice]:
    """Return the invoices that are not paid in our rows, oldest first.

    Whoever was here before has read all of them, so what is older than the oldest that was not final then needs no second look.
    """
    rows = list(Invoice.objects.filter(subscription_id=subscription_id).values_list("pk", "created_at", "status"))
    params: dict[str, object] = {"subscription": subscription_id}
    if rows:
        waiting = [created_at for _, created_at, status in rows if status not in _FINAL]
        params["created"] = {"gte": int(min([max(row[1] for row in rows), *waiting]).timestamp())}
    seen = stripe_api.listed(StripeInvoice, stripe_api.client().v1.invoices.list, params=params)
    paid = {id for id, _, status in rows if status == "paid"}
    return sorted((each for each in seen if each.id not in paid), key=lambda each: (each.created, each.id))


def _write_invoice(customer: StripeCustomer, found: StripeSubscription, invoice: StripeInvoice) -> StripeInvoice:
    paid_at = invoice.status_transitions.paid_at if invoice.status == "paid" else None
    if invoice.status == "paid" and paid_at is None:
        raise NotAppliedError(f"The invoice {invoice.id} is paid, and does not say when.")
    Invoice.objects.update_or_create(
        stripe_id=invoice.id,
        defaults={
            "workspace_id": customer.workspace_id,
            "subscription_id": found.id,
            "number": (invoice.number or "")[:60],
            "status": invoice.status or "draft",
            "total": nano_of(invoice.total),
            "hosted_url": invoice.hosted_invoice_url or "",
            "pdf_url": invoice.invoice_pdf or "",
            "created_at": _at(invoice.created),
            "paid_at": _at(paid_at) if paid_at is not None else None,
        },
    )
    return invoice


def lines_of(invoice: StripeInvoice) -> list[Line]:
    """Return all lines of an invoice."""
    if not invoice.lines.has_more:
        return invoice.lines.data
    return stripe_api.listed(Line, stripe_api.client().v1.invoices.line_items.list, invoice.id)


def _credit(customer: StripeCustomer, found: StripeSubscription, invoice: StripeInvoice) -> Change | None:
    """Write the stretches that a paid invoice gives credit for, and return what it gives once."""
    if invoice.currency != CURRENCY:
        raise NotAppliedError(f"The invoice {invoice.id} is in {invoice.currency.upper()}, and tiers are sold in USD.")
    lines = lines_of(invoice)
    prices = tier_prices({line.price for line in lines if line.price})
    plans, change = credit_of(invoice, lines, prices, anchor=found.billing_cycle_anchor)
    for plan in plans:
        _write_plan(customer, found, plan)
    return change


def _write_plan(customer: StripeCustomer, found: StripeSubscription, plan: Plan) -> None:
    CreditPlan.objects.get_or_create(
        source=plan.source,
        defaults={
            "workspace_id": customer.workspace_id,
            "subscription_id": found.id,
            "tier_slug": plan.tier_slug,
            "interval": plan.interval,
            "monthly_credits": plan.monthly_credits,
            "replaced_credits": plan.replaced_credits,
            "anchor_at": plan.anchor_at,
            "starts_at": plan.starts_at,
            "ends_at": plan.ends_at,
        },
    )


def _grant_change(workspace_id: int, change: Change) -> None:
    CreditPeriod.objects.get_or_create(
        source=change.source,
        defaults={
            "workspace_id": workspace_id,
            "tier_slug": change.tier_slug,
            "starts_at": change.starts_at,
            "ends_at": change.ends_at,
        },
    )
    ledger.grant(
        workspace_id=workspace_id,
        kind=ledger.VIP,
        amount=change.amount,
        source=returns.grant_source(change.source),
        expires_at=change.ends_at + GRACE,
        note=f"Change to {subscriptions.tier_name(change.tier_slug)}",
        # As for whole months: what is heard of when it is over does not pay for what happened since.
        repays_debt=change.ends_at + GRACE > clock.now(),
    )


def _payments_of(invoice: StripeInvoice) -> list[PaymentRead]:
    """Return what paid an invoice, with all that Stripe says of it."""
    paid = stripe_api.listed(
        InvoicePayment, stripe_api.client().v1.invoice_payments.list, params={"invoice": invoice.id}
    )
    ids = [each.payment.payment_intent for each in paid if each.status == "paid"]
    return [read_payment(read_intent(id)) for id in ids if id]


def _tell(row: Subscription, invoice: StripeInvoice) -> None:
    kind = _NOTICES.get(invoice.billing_reason or "")
    paid_at = invoice.status_transitions.paid_at
    period_end = row.period_ends_at
    if kind is None or paid_at is None or period_end is None or _at(paid_at) < clock.now() - _NEWS:
        return
    notices.owe(
        kind,
        workspace_id=row.workspace_id,
        key=f"invoice:{invoice.id}",
        facts={
            "tier_name": subscriptions.tier_name(row.tier_slug),
            "interval": row.interval,
            "amount": max(0, nano_of(invoice.total)),
            "period_end": period_end.isoformat(),
            "receipt_url": invoice.hosted_invoice_url or "",
        },
    )


def _at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
