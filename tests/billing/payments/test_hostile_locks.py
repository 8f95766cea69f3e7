"""No request waits for Stripe: the wallet, which every request of a workspace locks, is free while Stripe is asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection, connections

from billing.models import Payment, StripeEvent
from billing.payments import charges, invoices, stripe_api
from billing.payments.plans import change_plan
from billing.selectors.ledger import balance_of
from lumyx.lib.money import NANO_PER_USD as USD
from rig.stripe.state import Record
from tests.billing.payments.conftest import Shop, hand_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asked_under_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """For each call to Stripe, whether somebody had a wallet locked then."""
    other = connections.create_connection("default")
    seen: list[bool] = []
    plain = stripe_api._errors_in_our_words

    @contextmanager
    def watched() -> Iterator[None]:
        with other.cursor() as cursor:
            try:
                cursor.execute("SELECT workspace_id FROM billing_wallet FOR UPDATE NOWAIT")
                seen.append(False)
            except OperationalError:
                seen.append(True)
        with plain():
            yield

    monkeypatch.setattr(stripe_api, "_errors_in_our_words", watched)
    yield seen
    other.close()


def without_locks(asked: list[bool], events: list[Record]) -> None:
    """Apply events, and see that Stripe was asked, and never under a wallet's lock."""
    asked.clear()
    hand_in(events)
    assert asked
    assert not any(asked)


def test_a_purchase_and_its_refund_lock_the_wallet_when_stripe_has_answered(
    shop: Shop, asked_under_lock: list[bool]
) -> None:
    shop.account.fund(1)
    payment = shop.buy(10)
    without_locks(asked_under_lock, shop.fake.events())
    shop.refund(payment, 4)
    StripeEvent.objects.all().delete()
    without_locks(asked_under_lock, shop.fake.events())
    assert balance_of(shop.account.id).posted == 6 * USD + 1


def test_a_plan_and_its_change_lock_the_wallet_when_stripe_has_answered(
    plan_shop: Shop, asked_under_lock: list[bool]
) -> None:
    shop = plan_shop
    shop.account.fund(1)
    subscription = shop.subscribe("vip1")
    without_locks(asked_under_lock, shop.fake.events())
    asked_under_lock.clear()
    change_plan(shop.account.id, tier_slug="vip2", interval="month")
    invoices.apply_subscription(subscription)
    assert not any(asked_under_lock)
    shop.refund(Payment.objects.order_by("paid_at").first().pk)  # type: ignore[union-attr]
    StripeEvent.objects.all().delete()
    without_locks(asked_under_lock, shop.fake.events())


def test_a_slow_stripe_does_not_lose_the_database(plan_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database ends what idles in a transaction for ten seconds; where Stripe is asked in one, it waits longer."""
    shop, plain, seen = plan_shop, stripe_api._errors_in_our_words, set[str]()

    @contextmanager
    def watched() -> Iterator[None]:
        if connection.in_atomic_block:
            with connection.cursor() as cursor:
                cursor.execute("SHOW idle_in_transaction_session_timeout")
                seen.add(cursor.fetchone()[0])
        with plain():
            yield

    monkeypatch.setattr(stripe_api, "_errors_in_our_words", watched)
    payment = shop.buy(10)
    shop.subscribe("vip1")
    hand_in(shop.fake.events())
    change_plan(shop.account.id, tier_slug="vip2", interval="month")
    charges.apply_payment(payment)
    assert seen == {"90s"}
