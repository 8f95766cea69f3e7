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
from typing import NamedTuple

import stripe
from django.db import transaction

from accounts.models import Workspace
from billing.models import StripeEvent
from billing.payments import apply, inbox, reconcile
from billing.selectors.ledger import balance_of, broken_invariants, entries_of
from billing.selectors.tiers import subscriptions_of
from billing.services import ledger, vip
from lumyx.lib import clock
from proofs.payment_player import Played, Player
from rig.stripe.delivery import arrange
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record, StripeError

#: A story begins so long ago: fourteen months and a little.
SPAN_DAYS = 430
STEPS = (
    "buy", "buy", "refund", "refund", "fail_refund", "dispute", "win", "lose", "subscribe", "subscribe", "change",
    "change", "cancel", "resume", "decline", "accept", "pay_invoice", "void_invoice",
)  # fmt: skip


class Step(NamedTuple):
    """After so many days somebody does something; ``which`` chooses among what there is."""

    days: int
    what: str
    which: int


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
    player = Player(fake, workspace, played)
    for step in story:
        at = min(at + dt.timedelta(days=step.days), now)
        fake.advance_to(at)
        with contextlib.suppress(stripe.StripeError, StripeError, IndexError):
            getattr(player, step.what)(step.which)
            played.done[step.what] += 1
    fake.advance_to(now)
    return played


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
