"""Automatic top-ups: credit is bought with the saved card when little is left, one purchase at a time, within a monthly ceiling.

The order is ours and comes first; Stripe is asked with a key made of it, so that a crash between the two buys once. It stops where
the bank wants to see the person, where there is no card, and at the third decline in a row.
"""

import datetime as dt
import logging

from django.db import IntegrityError, transaction
from django.db.models import Sum

from accounts.services.audit import record
from billing.models import AutoTopUp, CreditOrder, OrderKind, OrderState, StripeCustomer
from billing.payments import charges, orders, stripe_api
from billing.payments.checkout import LEAST, MOST
from billing.payments.errors import CardError, PaymentsError, StripeRefusedError
from billing.payments.money import CURRENCY, NANO_PER_CENT, cents_of
from billing.payments.objects import PaymentIntent
from billing.payments.subscription_objects import PaymentMethod
from billing.selectors.top_up import is_below, workspaces_below
from billing.services import notices
from lumyx.lib import clock
from lumyx.lib.money import MAX_NANO, NANO_PER_USD, format_usd, nano_to_usd

logger = logging.getLogger(__name__)

#: At this decline in a row it is turned off; before that it waits between two.
MAX_DECLINES = 3
PAUSE_AFTER_DECLINE = dt.timedelta(hours=6)
#: Stripe forgets a key after 24 hours: an older order is looked for among the customer's payments instead.
_KEY_LIVES = dt.timedelta(hours=20)
AUTHENTICATION, NO_CARD, DECLINED = "authentication_required", "no_payment_method", "declined"
_REASONS = {
    AUTHENTICATION: "The bank asks for a confirmation, which only a person can give",
    NO_CARD: "No card is saved",
    DECLINED: "The card was declined",
}


class TopUpError(PaymentsError, ValueError):
    """Automatic top-ups cannot be set so. The text is for the person who asked; ``field`` names what is wrong."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def save_top_up(
    workspace_id: int, *, is_on: bool, threshold: int, amount: int, monthly_ceiling: int, user_id: int
) -> AutoTopUp:
    """Set a workspace's automatic top-ups. Amounts are nano-USD, the ceiling is for a calendar month (UTC).

    Raises:
        TopUpError: amounts that make no sense, or none that is sold; or no saved card to turn it on with.
        PaymentsOffError, StripeUnreachableError: whether there is a card cannot be asked.
    """
    if not 0 <= threshold <= MAX_NANO:
        raise TopUpError("The threshold is $0 or more.", field="threshold")
    if not LEAST * NANO_PER_USD <= amount <= MOST * NANO_PER_USD or amount % NANO_PER_CENT:
        raise TopUpError(f"The amount is from ${LEAST} to ${MOST:,}, in whole cents.", field="amount")
    if not amount <= monthly_ceiling <= MAX_NANO:
        raise TopUpError("The monthly ceiling is at least one top-up.", field="monthly_ceiling")
    if is_on and not has_card(workspace_id):
        raise TopUpError(
            "No card is saved for this workspace. Buy credit once, and tick that the card is kept for top-ups.",
            field="is_on",
        )
    amounts = {"threshold": threshold, "amount": amount, "monthly_ceiling": monthly_ceiling}
    with transaction.atomic():
        row, _ = AutoTopUp.objects.update_or_create(
            workspace_id=workspace_id,
            defaults={
                "is_on": is_on,
                **amounts,
                "declines": 0,
                "stopped_by": "",
                "changed_by_id": user_id,
                "changed_at": clock.now(),
            },
        )
        words = {name: f"${nano_to_usd(value)}" for name, value in amounts.items()}
        record("billing.top_up_changed", workspace_id=workspace_id, details={"on": is_on, **words})
    return row


def has_card(workspace_id: int) -> bool:
    """Ask Stripe whether a card is saved for a workspace. Raises PaymentsOffError, StripeUnreachableError."""
    customer = StripeCustomer.objects.filter(workspace_id=workspace_id, is_deleted=False).first()
    return customer is not None and _card_of(customer) is not None


def top_up_due() -> int:
    """Buy credit where too little is left; return how many purchases were begun or brought to an end."""
    if not stripe_api.payments_are_on():
        return 0
    done = 0
    for workspace_id in workspaces_below():
        try:
            done += _top_up(workspace_id)
        except PaymentsError as error:
            # Stripe is away, or the purchase waits in the inbox: the next run goes on with the same order.
            logger.warning("The top-up of workspace %d waits: %s", workspace_id, error)
        except Exception:
            # Whatever it is, the next workspace must not wait for it.
            logger.exception("The top-up of workspace %d cannot be brought to an end.", workspace_id)
    return done


def spent_this_month(workspace_id: int) -> int:
    """Return what automatic top-ups bought, or are buying, in this calendar month (UTC), in nano-USD."""
    month = clock.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    bought = CreditOrder.objects.filter(
        workspace_id=workspace_id,
        kind=OrderKind.TOP_UP,
        state__in=[OrderState.OPEN, OrderState.PAID],
        created_at__gte=month,
    )
    return bought.aggregate(sum=Sum("amount"))["sum"] or 0


def stop_without_card(customer_id: str) -> None:
    """Turn a workspace's top-ups off if its last card was removed."""
    customer = StripeCustomer.objects.filter(stripe_id=customer_id).first()
    if customer is None or _card_of(customer) is not None:
        return
    with transaction.atomic():
        wish = AutoTopUp.objects.select_for_update().filter(workspace_id=customer.workspace_id, is_on=True).first()
        if wish is not None:
            _stop(wish, NO_CARD, key=f"top_up_failed:{customer.workspace_id}:no_card:{wish.changed_at.isoformat()}")


def _top_up(workspace_id: int) -> bool:
    open_order = _open_order(workspace_id)
    order = open_order or _new_order(workspace_id)
    if order is None:
        return False
    customer = StripeCustomer.objects.filter(workspace_id=workspace_id, is_deleted=False).first()
    try:
        if customer is None:
            payment = None
        elif open_order is not None and not is_below(workspace_id):
            # While Stripe was away, somebody turned it off or bought credit: only what was paid then still counts.
            payment = _paid_before(order, customer)
            if payment is None:
                _drop(order)
                return True
        else:
            payment = _pay(order, customer)
    except StripeRefusedError as error:
        _failed(order, error.code if isinstance(error, CardError) else "refused", str(error))
        return True
    if payment is None:
        _failed(order, NO_CARD, "")
    elif payment.status == "succeeded":
        charges.apply_payment(payment.id)
        AutoTopUp.objects.filter(workspace_id=workspace_id).update(declines=0)
    elif payment.status in {"requires_action", "requires_payment_method", "requires_confirmation"}:
        _failed(order, AUTHENTICATION, "")
    elif payment.status == "canceled":
        _failed(order, "canceled", "")
    return True


def _open_order(workspace_id: int) -> CreditOrder | None:
    return CreditOrder.objects.filter(workspace_id=workspace_id, kind=OrderKind.TOP_UP, state=OrderState.OPEN).first()


def _new_order(workspace_id: int) -> CreditOrder | None:
    """Order a top-up, if it is still wanted; None if not, or if another is being bought."""
    try:
        with transaction.atomic():
            wish = AutoTopUp.objects.select_for_update().filter(workspace_id=workspace_id, is_on=True).first()
            if wish is None or not is_below(workspace_id) or _has_to_wait(wish):
                return None
            if spent_this_month(workspace_id) + wish.amount > wish.monthly_ceiling:
                return None
            return CreditOrder.objects.create(workspace_id=workspace_id, kind=OrderKind.TOP_UP, amount=wish.amount)
    except IntegrityError:
        return None  # one in flight is enough (order_one_top_up_in_flight)


def _has_to_wait(wish: AutoTopUp) -> bool:
    if not wish.declines:
        return False
    since = clock.now() - PAUSE_AFTER_DECLINE
    failed = CreditOrder.objects.filter(
        workspace_id=wish.workspace_id, kind=OrderKind.TOP_UP, state=OrderState.FAILED, finished_at__gt=since
    )
    return failed.filter(finished_at__gt=wish.changed_at).exists()


def _drop(order: CreditOrder) -> None:
    """End an order that nobody paid and nobody wants any more."""
    with transaction.atomic():
        orders.finish_order(orders.order_of(str(order.pk)), OrderState.EXPIRED)


def _pay(order: CreditOrder, customer: StripeCustomer) -> PaymentIntent | None:
    """Charge the saved card for an order, once; None without a card. Raises PaymentsError."""
    if order.created_at < clock.now() - _KEY_LIVES:
        return _paid_before(order, customer) or _lost(order)
    card = _card_of(customer)
    if card is None:
        return None
    try:
        return _charge(order, customer, card)
    except StripeRefusedError as error:
        if error.code != stripe_api.OTHER_PARAMETERS:
            raise
        # Another card was saved since the first attempt, whose answer never came.
        return _paid_before(order, customer) or _lost(order)


def _charge(order: CreditOrder, customer: StripeCustomer, card: str) -> PaymentIntent:
    return stripe_api.send(
        PaymentIntent,
        stripe_api.client().v1.payment_intents.create,
        params={
            "amount": cents_of(order.amount),
            "currency": CURRENCY,
            "customer": customer.stripe_id,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
            "description": f"{format_usd(order.amount)} of LumyxAI credit (automatic top-up)",
            "metadata": {orders.ORDER_ID: str(order.pk)},
        },
        key=f"top_up:{order.pk}",
    )


def _paid_before(order: CreditOrder, customer: StripeCustomer) -> PaymentIntent | None:
    since = int(order.created_at.timestamp()) - 60
    found = stripe_api.listed(
        PaymentIntent,
        stripe_api.client().v1.payment_intents.list,
        params={"customer": customer.stripe_id, "created": {"gte": since}},
    )
    return next((intent for intent in found if intent.metadata.get(orders.ORDER_ID) == str(order.pk)), None)


def _lost(order: CreditOrder) -> PaymentIntent:
    raise StripeRefusedError(f"The top-up {order.pk} was never asked for.", code="never_asked")


def _card_of(customer: StripeCustomer) -> str | None:
    """Return the card to charge: the newest that is saved."""
    cards = stripe_api.listed(
        PaymentMethod,
        stripe_api.client().v1.payment_methods.list,
        params={"customer": customer.stripe_id, "type": "card"},
    )
    return cards[0].id if cards else None


def _failed(order: CreditOrder, code: str, words: str) -> None:
    """End an order that was not paid; turn top-ups off where trying again would be of no use."""
    with transaction.atomic():
        locked = orders.order_of(str(order.pk))
        if not orders.finish_order(locked, OrderState.FAILED, error=code):
            return
        wish = AutoTopUp.objects.select_for_update().filter(workspace_id=order.workspace_id).first()
        if wish is None:
            return
        wish.declines += 1
        key = f"top_up_failed:{order.pk}"
        if code in {AUTHENTICATION, NO_CARD}:
            _stop(wish, code, key=key)
        elif wish.declines >= MAX_DECLINES:
            _stop(wish, DECLINED, key=key, words=words)
        else:
            wish.save(update_fields=["declines"])
            _tell(wish, words or _REASONS[DECLINED], key=key)


def _stop(wish: AutoTopUp, reason: str, *, key: str, words: str = "") -> None:
    wish.is_on, wish.stopped_by = False, reason
    wish.save(update_fields=["is_on", "stopped_by", "declines"])
    _tell(wish, words or _REASONS[reason], key=key)


def _tell(wish: AutoTopUp, reason: str, *, key: str) -> None:
    notices.owe(
        "top_up_failed",
        workspace_id=wish.workspace_id,
        key=key,
        facts={"amount": wish.amount, "reason": reason[:300], "stopped": not wish.is_on},
    )
