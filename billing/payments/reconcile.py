"""Whether the books say what Stripe says: the last days' payments, refunds, disputes and invoices, and every open subscription.

What is missing goes through the same handlers as events do, so that lost events are made up for; what cannot be brought in is a
finding for an operator. Lists at Stripe are read to their end.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from msgspec import Struct

from billing.models import EventState, Invoice, Payment, Reversal, StripeCustomer, StripeEvent, Subscription
from billing.payments import charges, invoices, stripe_api
from billing.payments.errors import BusyError, NotAppliedError, NotOursError, NotYetError, StripeRefusedError
from billing.payments.money import nano_of
from billing.payments.objects import Dispute, PaymentIntent, Refund
from billing.payments.subscription_objects import StripeInvoice, StripeSubscription
from billing.payments.subscriptions import is_as_written
from billing.services.ledger import LedgerError
from lumyx.lib import clock

#: How far back the nightly run looks.
WINDOW = dt.timedelta(hours=48)
#: What is wrong with one thing, and no reason not to look at the next.
_WRONG = (NotAppliedError, NotYetError, BusyError, StripeRefusedError, LedgerError, ValueError)
#: Disputes that are not decided yet. Their end may come months later.
_OPEN = ("needs_response", "under_review")


class BalanceTransaction(Struct, frozen=True):
    """txn_…: money that moved at Stripe, in cents, with what moved it."""

    id: str
    type: str
    amount: int
    source: str | None = None


@dataclass(slots=True)
class Finding:
    """A check: how many things it looked at, what it put right, and a sentence for each thing that is wrong."""

    name: str
    looked_at: int = 0
    put_right: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def compare_with_stripe(since: dt.datetime | None = None) -> list[Finding]:
    """Bring in what Stripe has since a time (48 hours ago) and the books do not, and return what was found.

    Raises StripeUnreachableError, PaymentsOffError.
    """
    since = since or clock.now() - WINDOW
    ours = set(StripeCustomer.objects.values_list("stripe_id", flat=True))
    return [
        _payments(since, ours),
        _reversals(since),
        _subscriptions(since, ours),
        _money(since),
        _waiting(),
    ]


def _payments(since: dt.datetime, ours: set[str]) -> Finding:
    found = Finding("stripe_payments")
    seen = stripe_api.listed(PaymentIntent, stripe_api.client().v1.payment_intents.list, params=_created(since))
    paid = [intent for intent in seen if intent.status == "succeeded" and intent.customer in ours]
    found.looked_at = len(paid)
    known = set(Payment.objects.filter(pk__in=[intent.id for intent in paid]).values_list("pk", flat=True))
    for intent in _oldest_first(paid):
        if intent.id not in known:
            _bring_in(found, f"payment {intent.id}", partial(charges.apply_payment, intent.id))
    return found


def _reversals(since: dt.datetime) -> Finding:
    found = Finding("stripe_refunds_and_disputes")
    api = stripe_api.client().v1
    refunds = stripe_api.listed(Refund, api.refunds.list, params=_created(since))
    disputes = stripe_api.listed(Dispute, api.disputes.list, params=_created(since))
    seen: list[tuple[str, Refund | Dispute]] = [
        *((f"refund:{refund.id}", refund) for refund in refunds),
        *((f"dispute:{dispute.id}", dispute) for dispute in disputes),
    ]
    payments = set(
        Payment.objects.filter(pk__in=[each.payment_intent for _, each in seen]).values_list("pk", flat=True)
    )
    of_ours = [(ref, each) for ref, each in seen if each.payment_intent in payments]
    found.looked_at = len(of_ours)
    known = dict(Reversal.objects.filter(pk__in=[ref for ref, _ in of_ours]).values_list("ref", "is_undone"))
    for ref, each in of_ours:
        if each.payment_intent and known.get(ref) != (each.status in {"failed", "canceled", "won"}):
            if each.status in {"pending", "requires_action"} or (each.status or "").startswith("warning"):
                continue
            _bring_in(found, ref, partial(charges.apply_payment, each.payment_intent))
    for payment in Payment.objects.filter(dispute__in=_OPEN):
        found.looked_at += 1
        now = stripe_api.listed(Dispute, api.disputes.list, params={"payment_intent": payment.pk})
        if now and now[0].status != payment.dispute:
            _bring_in(found, f"dispute:{now[0].id}", partial(charges.apply_payment, payment.pk))
    return found


def _subscriptions(since: dt.datetime, ours: set[str]) -> Finding:
    """Bring in every subscription that stands otherwise here than there, or has an invoice since then."""
    found = Finding("stripe_subscriptions")
    api = stripe_api.client().v1
    listed = stripe_api.listed(StripeSubscription, api.subscriptions.list, params={"status": "all"})
    rows = {row.stripe_id: row for row in Subscription.objects.filter(stripe_id__isnull=False)}
    # Also those of a customer that was deleted and replaced since.
    there = [each for each in listed if each.customer in ours or each.id in rows]
    invoiced = stripe_api.listed(StripeInvoice, api.invoices.list, params=_created(since))
    touched = {invoice.subscription for invoice in invoiced if invoice.customer in ours and invoice.subscription}
    found.looked_at = len(there)
    for each in reversed(there):
        before = _as_seen(each.id)
        try:
            if each.id in touched or not is_as_written(rows.get(each.id), each):
                invoices.apply_subscription(each.id)
        except NotOursError:
            continue
        except _WRONG as error:
            found.wrong.append(f"{each.id}: {error}")
            continue
        if _as_seen(each.id) != before:
            found.put_right.append(f"subscription {each.id}")
    for stripe_id in sorted(id for id, row in rows.items() if id and row.ends_at is None):
        if stripe_id not in {each.id for each in there}:
            found.wrong.append(f"{stripe_id} is open here, and Stripe's list has no such subscription of ours.")
    return found


def _as_seen(subscription_id: str) -> tuple[object, int]:
    """Return what our rows say of a subscription, to be compared with what they say later."""
    row = Subscription.objects.filter(stripe_id=subscription_id).values_list().first()
    return row, Invoice.objects.filter(subscription_id=subscription_id, paid_at__isnull=False).count()


def _money(since: dt.datetime) -> Finding:
    """Compare Stripe's own movements of money with our rows: each charge, refund and dispute of ours, to the cent."""
    found = Finding("stripe_balance")
    moved = stripe_api.listed(
        BalanceTransaction, stripe_api.client().v1.balance_transactions.list, params=_created(since)
    )
    by_charge = {row.charge_id: row for row in Payment.objects.filter(charge_id__in=[each.source for each in moved])}
    by_ref = {
        row.ref.partition(":")[2]: row
        for row in Reversal.objects.filter(
            ref__in=[f"{kind}:{each.source}" for each in moved for kind in ("refund", "dispute")]
        )
    }
    for each in moved:
        payment, reversal = by_charge.get(each.source or ""), by_ref.get(each.source or "")
        if payment is not None:
            found.looked_at += 1
            if each.type in {"charge", "payment"} and nano_of(each.amount) != payment.amount:
                found.wrong.append(f"{payment.pk} is {payment.amount} nano-USD here, and {each.amount} cents came in.")
        elif reversal is not None:
            found.looked_at += 1
            if abs(nano_of(each.amount)) != reversal.amount:
                found.wrong.append(f"{reversal.ref} is {reversal.amount} nano-USD here, and {each.amount} cents moved.")
    return found


def _waiting() -> Finding:
    """Events that failed wait for an operator; those that are late say that no worker runs."""
    failed = StripeEvent.objects.filter(state=EventState.FAILED)
    late = StripeEvent.objects.filter(state=EventState.NEW, received_at__lt=clock.now() - dt.timedelta(hours=1))
    wrong = [
        f"{event.pk} ({event.type}) was not applied: {event.error}" for event in failed.order_by("received_at")[:100]
    ]
    wrong += [f"{event.pk} ({event.type}) waits: {event.error}" for event in late.order_by("received_at")[:100]]
    return Finding("stripe_events", failed.count() + late.count(), wrong=wrong)


def _bring_in(found: Finding, name: str, step: Callable[[], None]) -> None:
    try:
        step()
    except NotOursError:
        return
    except _WRONG as error:
        found.wrong.append(f"{name}: {error}")
    else:
        found.put_right.append(name)


def _created(since: dt.datetime) -> dict[str, object]:
    return {"created": {"gte": int(since.timestamp())}}


def _oldest_first(intents: Iterable[PaymentIntent]) -> list[PaymentIntent]:
    return sorted(intents, key=lambda intent: (intent.created, intent.id))
