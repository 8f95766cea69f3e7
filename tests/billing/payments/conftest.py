"""A stand-in for Stripe that payments reach by the real SDK, and what buying and delivering takes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from billing.models import CreditOrder, StripeEvent
from billing.payments import checkout, inbox, plans, stripe_api, sync
from lumyx.celery import app
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD
from rig.stripe.delivery import pack
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record
from tests.billing.builders import Account, make_account

SECRET = "whsec_of_the_stand_in"


@dataclass(frozen=True)
class Shop:
    """A workspace that buys credit, and the stand-in that it pays at."""

    fake: FakeStripe
    account: Account

    def order(self, usd: int = 10, *, saves_card: bool = False) -> CreditOrder:
        """Start a checkout and return its order."""
        owner = self.account.workspace.owner
        session = checkout.start_checkout(
            self.account.workspace,
            user_id=owner.pk,
            email=owner.email,
            amount=usd * NANO_PER_USD,
            success_url="http://testserver/dashboard/credits",
            cancel_url="http://testserver/dashboard/credits",
            saves_card=saves_card,
        )
        return CreditOrder.objects.get(session_id=session.id)

    def buy(self, usd: int = 10) -> str:
        """Buy credit and return the payment's id; nothing is delivered yet."""
        order = self.order(usd)
        assert order.session_id is not None
        payment: str = self.fake.pay(order.session_id)["payment_intent"]
        return payment

    def open_checkout(self, tier: str, interval: str = "month") -> str:
        """Begin to subscribe to a tier, and return the checkout."""
        owner = self.account.workspace.owner
        return plans.start_plan_checkout(
            self.account.workspace,
            user_id=owner.pk,
            email=owner.email,
            tier_slug=tier,
            interval=interval,
            success_url="http://testserver/dashboard/plan",
            cancel_url="http://testserver/dashboard/plan",
        ).id

    def subscribe(self, tier: str = "vip1", interval: str = "month") -> str:
        """Subscribe to a tier and return the subscription; nothing is delivered yet."""
        subscription: str = self.fake.subscribe_at(self.open_checkout(tier, interval))["id"]
        return subscription

    def charge_of(self, payment: str) -> str:
        """Return a payment's charge."""
        charge: str = self.api().payment_intents.retrieve(payment).latest_charge
        return charge

    def refund(self, payment: str, usd: int | None = None) -> str:
        """Refund a payment, or a part of it."""
        params: dict[str, object] = {"payment_intent": payment}
        if usd is not None:
            params["amount"] = usd * 100
        refund: str = self.api().refunds.create(params).id
        return refund

    @staticmethod
    def api() -> Any:
        """Return the SDK's client, to do what people do at Stripe."""
        return stripe_api.client().v1


@pytest.fixture(autouse=True)
def celery_at_once() -> None:
    """Let what is queued run at once, as the test settings say: web processes know the application, so must these tests."""
    app.set_default()


@pytest.fixture
def fake(settings: LazySettings) -> Iterator[FakeStripe]:
    """The stand-in, with the settings that lead there."""
    with FakeStripe() as served:
        settings.STRIPE_SECRET_KEY = served.key
        settings.STRIPE_API_BASE = served.url
        settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
        yield served


@pytest.fixture
def shop(fake: FakeStripe) -> Shop:
    """A workspace that buys."""
    return Shop(fake, make_account())


@pytest.fixture
def plan_shop(shop: Shop) -> Shop:
    """A workspace that can subscribe: the tiers are for sale."""
    sync.sync()
    return shop


def deliver(client: Client, event: Record, *, flaw: str | None = None, age: int = 0) -> int:
    """Post an event to the webhook as Stripe would, and return the status."""
    parcel = pack(event, secrets=[SECRET], at=int(clock.now().timestamp()) - age, flaw=flaw)
    headers = {} if parcel.header is None else {"Stripe-Signature": parcel.header}
    answer = client.post("/webhooks/stripe", parcel.payload, content_type="application/json", headers=headers)
    return int(answer.status_code)


def hand_in(events: Sequence[Record]) -> None:
    """Put events into the inbox and apply what waits after each."""
    for event in events:
        StripeEvent.objects.get_or_create(
            id=event["id"],
            defaults={
                "type": event["type"],
                "object_id": event["data"]["object"].get("id") or "",
                "payload": json.loads(json.dumps(event)),
                "happened_at": clock.now(),
            },
        )
        inbox.apply_waiting()
