"""What people and banks can do at the stand-in for Stripe, by Stripe's own API: the steps of proofs.payment_stories."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from accounts.models import Workspace
from billing.models import StripePrice
from billing.payments import checkout, stripe_api
from billing.payments.customers import customer_for
from lumyx.lib.money import NANO_PER_USD
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record

TIERS, INTERVALS = ("vip1", "vip2", "vip3", "vip4"), ("month", "month", "month", "year")
_SITE = "http://testserver/dashboard"


@dataclass
class Played:
    """What a story left at Stripe."""

    payments: list[str] = field(default_factory=list)
    refunds: list[str] = field(default_factory=list)
    disputes: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


class Player:
    """A workspace's people and their banks, at Stripe: each method is a step of a story, and raises where it cannot be done."""

    def __init__(self, fake: FakeStripe, workspace: Workspace, played: Played) -> None:
        self.fake, self.workspace, self.played = fake, workspace, played
        self.api: Any = stripe_api.client().v1
        self.customer = customer_for(workspace, email=workspace.owner.email)

    def buy(self, which: int) -> None:
        session = checkout.start_checkout(
            self.workspace,
            user_id=self.workspace.owner_id,
            email=self.workspace.owner.email,
            amount=(5 + which) * NANO_PER_USD,
            success_url=_SITE,
            cancel_url=_SITE,
            saves_card=bool(which % 2),
        )
        self.fake.pay(session.id)

    def subscribe(self, which: int) -> None:
        if self._subscription() is not None:
            return
        price = _price(which)
        session = self.api.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": self.customer,
                "line_items": [{"price": price, "quantity": 1}],
                "success_url": _SITE,
                "cancel_url": _SITE,
            }
        )
        self.fake.subscribe_at(session.id)

    def change(self, which: int) -> None:
        subscription = self._subscription()
        if subscription is None:
            return
        item = subscription["items"]["data"][0]
        price = _price(which)
        if price == item["price"]["id"]:
            return
        if _rank(price) > _rank(item["price"]["id"]):
            self.api.subscriptions.update(
                subscription["id"],
                {
                    "items": [{"id": item["id"], "price": price}],
                    "proration_behavior": "always_invoice",
                    "payment_behavior": "error_if_incomplete",
                },
            )
            return
        schedule = self.api.subscription_schedules.create({"from_subscription": subscription["id"]}).to_dict()
        first = schedule["phases"][0]
        interval = StripePrice.objects.get(pk=price).interval
        phases = [
            {
                "items": [{"price": item["price"]["id"], "quantity": 1}],
                "start_date": first["start_date"],
                "end_date": first["end_date"],
            },
            {"items": [{"price": price, "quantity": 1}], "duration": {"interval": interval, "interval_count": 1}},
        ]
        self.api.subscription_schedules.update(schedule["id"], {"phases": phases, "end_behavior": "release"})

    def cancel(self, which: int) -> None:
        subscription = self._subscription()
        if subscription is not None and which % 4 == 0:
            self.api.subscriptions.cancel(subscription["id"])
        elif subscription is not None:
            self.api.subscriptions.update(subscription["id"], {"cancel_at_period_end": True})

    def resume(self, _which: int) -> None:
        subscription = self._subscription()
        if subscription is not None:
            self.api.subscriptions.update(subscription["id"], {"cancel_at_period_end": False})

    def decline(self, which: int) -> None:
        self.fake.set_card(self.customer, "authenticate" if which % 3 == 0 else "decline")

    def accept(self, _which: int) -> None:
        self.fake.set_card(self.customer, "succeed")

    def pay_invoice(self, which: int) -> None:
        self.fake.pay_invoice(_one(self._open_invoices(), which))

    def void_invoice(self, which: int) -> None:
        if which % 2:
            self.fake.void_invoice(_one(self._open_invoices(), which))
        else:
            self.fake.mark_uncollectible(_one(self._open_invoices(), which))

    def refund(self, which: int) -> None:
        payment = self._payment(which)
        part = {} if which % 3 == 0 else {"amount": 1 + payment["amount"] * (which + 1) // 150}
        self.played.refunds.append(self.api.refunds.create({"payment_intent": payment["id"], **part}).id)

    def fail_refund(self, which: int) -> None:
        self.fake.fail_refund(_one(self.played.refunds, which))

    def dispute(self, which: int) -> None:
        self.played.disputes.append(self.fake.dispute(self._payment(which)["id"])["id"])

    def win(self, which: int) -> None:
        self.fake.close_dispute(_one(self.played.disputes, which), won=True)

    def lose(self, which: int) -> None:
        self.fake.close_dispute(_one(self.played.disputes, which), won=False)

    def _payment(self, which: int) -> Record:
        listed = self.api.payment_intents.list({"customer": self.customer, "limit": 100}).to_dict()["data"]
        return _one([payment for payment in listed if payment["status"] == "succeeded"], which)

    def _open_invoices(self) -> list[str]:
        listed = self.api.invoices.list({"customer": self.customer, "status": "open", "limit": 100})
        return [invoice.id for invoice in listed.data]

    def _subscription(self) -> Record | None:
        listed = self.api.subscriptions.list({"customer": self.customer, "limit": 1}).to_dict()["data"]
        return listed[0] if listed else None


def _one[T](among: Sequence[T], which: int) -> T:
    return among[which % len(among)] if among else among[0]


def _price(which: int) -> str:
    tier, interval = TIERS[which % len(TIERS)], INTERVALS[which // len(TIERS) % len(INTERVALS)]
    return StripePrice.objects.get(tier_slug=tier, interval=interval, tier_version=1).pk


def _rank(price: str) -> tuple[str, bool]:
    row = StripePrice.objects.get(pk=price)
    return row.tier_slug, row.interval == "year"
