"""Stories of fourteen months at Stripe: people buy, subscribe, change, cancel and fall behind; banks decline and take back.

A story is played at the stand-in for Stripe, by Stripe's own API, so that nothing of it is heard of here until its events are
delivered. Then the books are made of them in several ways, each in a transaction that leaves nothing, and compared. Needs Django.
"""

import contextlib
import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import stripe
from django.db import transaction

from accounts.models import Workspace
from billing.models import StripeEvent, StripePrice
from billing.payments import apply, checkout, inbox, reconcile, stripe_api
from billing.payments.customers import customer_for
from billing.selectors.ledger import balance_of, broken_invariants, entries_of
from billing.selectors.tiers import subscriptions_of
from billing.services import ledger, vip
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD
from rig.stripe.delivery import arrange
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record, StripeError

#: A story begins so long ago: fourteen months and a little.
SPAN_DAYS = 430
TIERS, INTERVALS = ("vip1", "vip2", "vip3", "vip4"), ("month", "month", "month", "year")
STEPS = (
    "buy", "buy", "refund", "refund", "fail_refund", "dispute", "win", "lose", "subscribe", "subscribe", "change",
    "change", "cancel", "resume", "decline", "accept", "pay_invoice", "void_invoice",
)  # fmt: skip
_SITE = "http://testserver/dashboard"


class Step(NamedTuple):
    """After so many days somebody does something; ``which`` chooses among what there is."""

    days: int
    what: str
    which: int


@dataclass
class Played:
    """What a story left at Stripe."""

    payments: list[str] = field(default_factory=list)
    refunds: list[str] = field(default_factory=list)
    disputes: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


class Books(NamedTuple):
    """What a delivery made: lines by kind and reference, the balance, whether it is frozen, and the plans.

    Two things depend on what was heard of first, and are not compared: which grant repaid a debt, and whether a grant expired
    before it was taken back or after; so what a grant lost to time is one sum.
    """

    lines: dict[tuple[str, str], int]
    posted: int
    frozen: bool
    plans: Sequence[tuple[object, ...]]


def draw_story(chance: random.Random) -> list[Step]:
    """Return a story that begins with a purchase and a subscription on some day of a month."""
    begin = [Step(chance.randrange(31), "buy", chance.randrange(100)), Step(0, "subscribe", chance.randrange(100))]
    count = chance.randrange(2, 14)
    return begin + [
        Step(chance.choice((0, 1, 3, 15, 31, 70)), chance.choice(STEPS), chance.randrange(100)) for _ in range(count)
    ]


def play(fake: FakeStripe, workspace: Workspace, story: Iterable[Step]) -> Played:
    """Let people and banks do what a story says, as far as it can be done, and let time pass until now."""
    now = clock.now()
    at = now - dt.timedelta(days=SPAN_DAYS)
    fake.advance_to(at)
    played = Played()
    player = _Player(fake, workspace, played)
    for step in story:
        at = min(at + dt.timedelta(days=step.days), now)
        fake.advance_to(at)
        with contextlib.suppress(stripe.StripeError, StripeError, IndexError):
            getattr(player, step.what)(step.which)
            played.done[step.what] += 1
    fake.advance_to(now)
    return played


class _Player:
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


def deliver(events: Iterable[Record]) -> None:
    """Put events into the inbox and apply what waits after each. Raises AssertionError if one cannot be applied."""
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
    stuck = StripeEvent.objects.exclude(state__in=["done", "ignored"]).values_list("type", "state", "error")
    assert not stuck, list(stuck)


def compare_at_stripe() -> None:
    """Bring in what Stripe has, with no event at all; a second time there is nothing left to bring in."""
    since = clock.now() - dt.timedelta(days=SPAN_DAYS + 1)
    first = reconcile.compare_with_stripe(since)
    assert not any(found.wrong for found in first), first
    again = reconcile.compare_with_stripe(since)
    assert not any(found.wrong or found.put_right for found in again), again


def books_after(workspace: Workspace, bring_in: Callable[[], None]) -> Books:
    """Return the books that something makes, in a transaction that leaves nothing."""
    with transaction.atomic():
        bring_in()
        vip.refresh()
        ledger.sweep_grants()
        assert broken_invariants() == []
        lines: Counter[tuple[str, str]] = Counter()
        for line in entries_of(workspace.pk, limit=10_000):
            if line.kind in {"expire", "adjust"}:
                lines["expire", line.grant_source] += line.amount
            elif line.kind != "debt_repay":
                lines[line.kind, line.ref] += line.amount
        balance = balance_of(workspace.pk)
        plans = [
            (row.stripe_id, row.tier_slug, row.status, row.interval, row.started_at, row.ends_at, row.cancels_at,
             row.period_ends_at, row.past_due_since, row.next_tier_slug)
            for row in subscriptions_of(workspace.pk)
        ]  # fmt: skip
        transaction.set_rollback(True)
    return Books({key: amount for key, amount in lines.items() if amount}, balance.posted, balance.frozen, plans)


def differences(fake: FakeStripe, workspace: Workspace, chance: random.Random) -> list[str]:
    """Deliver a story's events in order, shuffled with copies, with half of them lost, and not at all; say what differs."""
    # What the endpoint at Stripe is set up for.
    events = [event for event in fake.events() if event["type"] in apply.TYPES]
    in_order = books_after(workspace, lambda: deliver(events))
    seed, copies = chance.randrange(2**32), chance.randrange(1, 4)
    shuffled = arrange(events, copies=copies, seed=seed, delayed=lambda event: event["created"] % 5 == 0)
    kept = arrange(events, seed=seed, dropped=lambda event: chance.random() < 0.5)

    def make_up_for_losses() -> None:
        deliver(kept)
        compare_at_stripe()

    ways: dict[str, Callable[[], None]] = {
        "shuffled": lambda: deliver(shuffled),
        "half lost": make_up_for_losses,
        "all lost": compare_at_stripe,
    }
    found = [] if in_order.lines else ["the story made no lines"]
    for name, way in ways.items():
        books = books_after(workspace, way)
        if books != in_order:
            found.append(f"{name}: {_first_difference(in_order, books)}")
    return found


def _first_difference(wanted: Books, got: Books) -> str:
    for name in Books._fields:
        mine, other = getattr(wanted, name), getattr(got, name)
        if mine != other:
            if isinstance(mine, dict):
                keys = [key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)]
                return f"{name} {sorted(keys)[:4]}: {[(mine.get(key), other.get(key)) for key in sorted(keys)[:4]]}"
            return f"{name}: {mine} and {other}"
    return "nothing"
