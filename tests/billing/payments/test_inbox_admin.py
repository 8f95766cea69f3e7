"""Operators see the inbox and what was turned away, and can apply an event again."""

import pytest
from django.test import Client

from accounts.models import User
from billing.models import CreditOrder, StripeEvent
from billing.selectors.ledger import balance_of
from lumyx.lib.money import NANO_PER_USD
from tests.billing.payments.conftest import Shop, deliver, hand_in

pytestmark = pytest.mark.django_db


def test_an_operator_applies_a_failed_event_again(shop: Shop, client: Client) -> None:
    client.force_login(User.objects.create_superuser("op@example.com", "a-long-password"))
    shop.buy(10)
    CreditOrder.objects.update(amount=11 * NANO_PER_USD)
    hand_in([event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded"])
    page = client.get("/admin/billing/stripeevent/?state__exact=failed").content.decode()
    assert "1100 cents, and 1000 were paid" in page
    CreditOrder.objects.update(amount=10 * NANO_PER_USD)
    event = StripeEvent.objects.get()
    form = {"action": "apply_again", "_selected_action": [event.pk]}
    assert "1 applied." in client.post("/admin/billing/stripeevent/", form, follow=True).content.decode()
    assert balance_of(shop.account.id).posted == 10 * NANO_PER_USD


def test_an_operator_sees_what_was_turned_away(shop: Shop, client: Client) -> None:
    client.force_login(User.objects.create_superuser("op@example.com", "a-long-password"))
    shop.order()
    deliver(client, shop.fake.events()[0], flaw="forged")
    assert "forged" in client.get("/admin/billing/refuseddelivery/").content.decode()
