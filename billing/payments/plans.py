"""Subscribing to a tier and changing it: dearer at once, cheaper at the end of what is paid, cancelled likewise.

Stripe decides and takes the money; our rows follow (``invoices.apply_subscription``), at once here and again by its events.
"""

import datetime as dt
import uuid
from dataclasses import dataclass

from django.db import transaction

from accounts.models import Workspace
from accounts.services.audit import record
from billing.models import Interval, StripePrice, Subscription, SubscriptionStatus, Tier
from billing.payments import invoices, plan_steps, portal, stripe_api, subscriptions
from billing.payments.checkout import tax_of_checkout
from billing.payments.customers import customer_for, lock_customer
from billing.payments.errors import PaymentsError
from billing.payments.money import nano_of
from billing.payments.objects import CheckoutSession
from billing.payments.plan_credit import credit_of
from billing.payments.subscription_objects import StripeInvoice, StripeSubscription
from billing.selectors.tiers import current_tiers
from lumyx.lib import clock

portal_url = portal.portal_url

_HAS_A_PLAN = "This workspace has a plan already. Change it instead of subscribing again."
_OVERDUE = "A payment of the present plan is overdue. Pay it, or change the card, before you change the plan."


class PlanError(PaymentsError):
    """A plan cannot become what was asked for. The text is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change of plan means. Amounts are nano-USD."""

    tier_slug: str
    interval: str
    #: It happens at once and is paid for; else at the end of the period, for nothing.
    is_upgrade: bool
    due_now: int
    credit_now: int
    at: dt.datetime


def start_plan_checkout(
    workspace: Workspace, *, user_id: int, email: str, tier_slug: str, interval: str, success_url: str, cancel_url: str
) -> CheckoutSession:
    """Return the checkout at Stripe (``url``) where a workspace subscribes to a tier, by the month or by the year.

    Raises:
        PlanError: it pays for a plan already, or the tier is not sold so.
        PaymentsOffError, StripeUnreachableError, StripeRefusedError: nothing was begun.
    """
    price = _price_of(tier_slug, interval)
    if _paid_row(workspace.pk) is not None:
        raise PlanError(_HAS_A_PLAN)
    customer = customer_for(workspace, email=email)
    params = {
        "mode": "subscription",
        "customer": customer,
        "client_reference_id": workspace.slug,
        "line_items": [{"price": price.pk, "quantity": 1}],
        "metadata": {"workspace_id": str(workspace.pk), "user_id": str(user_id)},
        "subscription_data": {"metadata": {"workspace_id": str(workspace.pk), "workspace": workspace.slug}},
        "success_url": success_url,
        "cancel_url": cancel_url,
        **tax_of_checkout(),
    }
    # Under the lock: of two people who subscribe at once, the second closes the checkout of the first.
    with transaction.atomic():
        lock_customer(customer)
        _close_other_checkouts(customer)
        begun = subscriptions.begun_at_stripe(customer)
        if begun is None:
            create = stripe_api.client().v1.checkout.sessions.create
            key = f"plan_checkout:{workspace.pk}:{price.pk}:{uuid.uuid4()}"
            session = stripe_api.send(CheckoutSession, create, params=params, key=key)
            _record("billing.plan_checkout_started", workspace.pk, tier_slug, interval=interval)
            return session
    # It was paid a moment ago, and its event has not come yet.
    invoices.apply_subscription(begun)
    raise PlanError(_HAS_A_PLAN)


def preview_change(workspace_id: int, *, tier_slug: str, interval: str) -> Preview:
    """Return what a change of plan would cost now and bring. Raises PlanError, PaymentsError."""
    row, price = _change_of(workspace_id, tier_slug, interval)
    return _preview(_read_of(row), price)


def change_plan(workspace_id: int, *, tier_slug: str, interval: str) -> Preview:
    """Change a plan, now if it becomes dearer, and return what happened. A planned change or cancellation is taken back.

    Raises:
        PlanError: there is no paid plan, it is this one already, or a payment of it is overdue.
        CardError: the card was declined; the plan stays as it was.
        PaymentsOffError, StripeUnreachableError, StripeRefusedError.
    """
    row, price = _change_of(workspace_id, tier_slug, interval)
    with transaction.atomic():
        _customer, found = subscriptions.lock_subscription(_id_of(row))
        if found.item.price.id == price.pk:
            raise PlanError("This is the plan that the workspace has.")
        if found.status not in {"active", "trialing"}:
            # Our row may not know yet. Stripe would credit the rest of a period that nobody paid for.
            raise PlanError(_OVERDUE)
        preview = _preview(found, price)
        if preview.is_upgrade and _has_unpaid_invoice(found):
            raise PlanError(
                "An invoice of the present plan is not paid yet, as for about an hour after a renewal. Pay it, or wait until"
                " it is paid, before you change the plan."
            )
        with plan_steps.plans_kept(found):
            plan_steps.take_back(found)
            if preview.is_upgrade:
                plan_steps.upgrade(found, price)
            else:
                plan_steps.schedule(found, price)
        _record("billing.plan_changed", workspace_id, tier_slug, interval=interval, before=row.tier_slug)
    invoices.apply_subscription(found.id)
    return preview


def cancel_plan(workspace_id: int) -> dt.datetime:
    """Let a plan end with what is paid, and return when. Twice is once. Raises PlanError, PaymentsError."""
    row = _needed_row(workspace_id)
    with transaction.atomic():
        _customer, found = subscriptions.lock_subscription(_id_of(row))
        plan_steps.release_schedule(found)
        if found.ends_at_cancellation is None:
            plan_steps.update(found, {"cancel_at_period_end": True}, "cancel")
            _record("billing.plan_cancelled", workspace_id, row.tier_slug)
    invoices.apply_subscription(found.id)
    return dt.datetime.fromtimestamp(found.ends_at_cancellation or found.item.current_period_end, dt.UTC)


def resume_plan(workspace_id: int) -> None:
    """Take back a cancellation or a planned change. Twice is once. Raises PlanError, PaymentsError."""
    row = _needed_row(workspace_id)
    with transaction.atomic():
        _customer, found = subscriptions.lock_subscription(_id_of(row))
        plan_steps.take_back(found)
        _record("billing.plan_resumed", workspace_id, row.tier_slug)
    invoices.apply_subscription(found.id)


def _record(action: str, workspace_id: int, tier_slug: str, **details: str) -> None:
    record(action, workspace_id=workspace_id, target=("tier", tier_slug, tier_slug), details=details)


def _price_of(tier_slug: str, interval: str) -> StripePrice:
    """Return the price of a tier's newest version. Raises PlanError."""
    tier = next((tier for tier in current_tiers() if tier.slug == tier_slug and tier.is_public), None)
    if tier is None or interval not in Interval.values or not tier.monthly_price:
        raise PlanError("There is no such plan.")
    if interval == Interval.YEAR and not tier.yearly_price:
        raise PlanError(f"{tier.name} is not sold by the year.")
    price = StripePrice.objects.filter(tier_slug=tier.slug, tier_version=tier.version, interval=interval).first()
    if price is None:
        raise PlanError(f"{tier.name} cannot be bought yet: the operator has to run `manage.py stripe sync`.")
    return price


def _paid_row(workspace_id: int) -> Subscription | None:
    return Subscription.objects.filter(workspace_id=workspace_id, ends_at__isnull=True, stripe_id__isnull=False).first()


def _needed_row(workspace_id: int) -> Subscription:
    row = _paid_row(workspace_id)
    if row is None:
        raise PlanError("This workspace pays for no plan.")
    return row


def _id_of(row: Subscription) -> str:
    return row.stripe_id or ""


def _has_unpaid_invoice(found: StripeSubscription) -> bool:
    """Tell whether a period is not paid yet: an upgrade would credit the rest of it, and the invoice may never be paid."""
    list_invoices = stripe_api.client().v1.invoices.list
    return any(
        stripe_api.listed(StripeInvoice, list_invoices, params={"subscription": found.id, "status": status})
        for status in ("draft", "open")
    )


def _read_of(row: Subscription) -> StripeSubscription:
    return subscriptions.read_subscription(_id_of(row))


def _change_of(workspace_id: int, tier_slug: str, interval: str) -> tuple[Subscription, StripePrice]:
    row, price = _needed_row(workspace_id), _price_of(tier_slug, interval)
    if row.status != SubscriptionStatus.ACTIVE:
        raise PlanError(_OVERDUE)
    if (row.tier_slug, row.interval) == (tier_slug, interval):
        raise PlanError("This is the plan that the workspace has.")
    return row, price


def _is_dearer(found: StripeSubscription, price: StripePrice) -> bool:
    """Tell whether a change is paid for now: to a higher tier, or from the month to the year on the same one."""
    # By what Stripe says, and not by our row, which another change may have outrun.
    present = subscriptions.sold_by(found.item.price.id)
    ranks = dict(Tier.objects.order_by("slug", "-version").distinct("slug").values_list("slug", "rank"))
    old, new = ranks[present.tier_slug], ranks[price.tier_slug]
    return new > old or (new == old and price.interval == Interval.YEAR)


def _preview(found: StripeSubscription, price: StripePrice) -> Preview:
    if not _is_dearer(found, price):
        ends = dt.datetime.fromtimestamp(found.item.current_period_end, dt.UTC)
        return Preview(price.tier_slug, price.interval, False, 0, 0, ends)
    invoice = stripe_api.send(
        StripeInvoice,
        stripe_api.client().v1.invoices.create_preview,
        params={
            "customer": found.customer,
            "subscription": found.id,
            "subscription_details": {
                "items": [{"id": found.item.id, "price": price.pk}],
                "proration_behavior": "always_invoice",
            },
        },
    )
    return Preview(
        price.tier_slug, price.interval, True, nano_of(invoice.amount_due), _credit_now(found, invoice), clock.now()
    )


def _credit_now(found: StripeSubscription, invoice: StripeInvoice) -> int:
    """Return the credit that comes with a change at once, in nano-USD."""
    lines = invoice.lines.data
    prices = invoices.tier_prices({line.price for line in lines if line.price})
    plans, change = credit_of(invoice, lines, prices, anchor=found.billing_cycle_anchor)
    return (change.amount if change else 0) + sum(plan.first_month for plan in plans)


def _close_other_checkouts(customer: str) -> None:
    """Expire the customer's open checkouts of plans, so that two tabs do not become two plans."""
    sessions = stripe_api.client().v1.checkout.sessions
    for session in stripe_api.listed(CheckoutSession, sessions.list, params={"customer": customer, "status": "open"}):
        if session.mode == "subscription":
            stripe_api.send(CheckoutSession, sessions.expire, session.id, key=f"expire:{session.id}")
