"""`manage.py stripe`: what it prints, what it makes up for, how it exits."""

import io
import json
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.models import CreditOrder, Payment, StripeEvent, Subscription
from billing.selectors.ledger import balance_of
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.payments.conftest import Shop, hand_in

pytestmark = pytest.mark.django_db


def run(*arguments: str, fails: bool = False) -> dict[str, Any]:
    """Run the command with --json and return its object."""
    out = io.StringIO()
    if fails:
        with pytest.raises(CommandError):
            call_command("stripe", *arguments, "--json", stdout=out, stderr=io.StringIO())
    else:
        call_command("stripe", *arguments, "--json", stdout=out, stderr=io.StringIO())
    answer: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return answer


def test_sync_lists_what_there_is_and_what_was_made(shop: Shop) -> None:
    made = run("sync")["objects"]
    assert {row["created"] for row in made} == {True}
    assert [row["what"] for row in made][-1] == "customer portal"
    assert {row["created"] for row in run("sync")["objects"]} == {False}


@pytest.mark.parametrize("arguments", [("sync",), ("replay", "evt_1"), ("reconcile",)])
def test_without_keys_it_says_so(settings: LazySettings, arguments: tuple[str, ...]) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert "Payments are off" in run(*arguments, fails=True)["error"]["message"]


def test_replay_fetches_an_event_that_never_came(shop: Shop) -> None:
    shop.buy(10)
    event = next(event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded")
    assert run("replay", event["id"])["state"] == "done"
    assert balance_of(shop.account.id).posted == 10 * USD
    assert run("replay", event["id"])["state"] == "done"
    assert balance_of(shop.account.id).posted == 10 * USD
    assert StripeEvent.objects.count() == 1


def test_replay_of_an_unknown_event_fails(shop: Shop) -> None:
    assert "evt_none" in run("replay", "evt_none", fails=True)["error"]["message"]


def test_replay_says_why_an_event_is_not_applied(shop: Shop) -> None:
    shop.buy(10)
    CreditOrder.objects.update(amount=11 * USD)
    event = next(event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded")
    assert "1100 cents, and 1000 were paid" in run("replay", event["id"], fails=True)["error"]["message"]


def test_reconcile_brings_in_what_was_lost_and_then_finds_nothing(plan_shop: Shop) -> None:
    shop = plan_shop
    payment = shop.buy(10)
    shop.refund(payment, 4)
    shop.subscribe("vip1")
    assert balance_of(shop.account.id).posted == 0
    checks = {check["check"]: check for check in run("reconcile", "--days", "1")["checks"]}
    assert balance_of(shop.account.id).by_kind == {"paid": 6 * USD, "vip": 4 * USD}
    assert Subscription.objects.get().tier_slug == "vip1"
    assert len(checks["stripe_payments"]["put_right"]) == 2
    assert checks["stripe_balance"]["looked_at"] == 3
    again = run("reconcile")
    assert again["ok"]
    assert not any(check["put_right"] for check in again["checks"])


def test_reconcile_names_what_it_cannot_bring_in(shop: Shop) -> None:
    payment = shop.buy(10)
    CreditOrder.objects.update(amount=11 * USD)
    checks = {check["check"]: check for check in run("reconcile", fails=True)["checks"]}
    (wrong,) = checks["stripe_payments"]["wrong"]
    assert payment in wrong
    assert balance_of(shop.account.id).posted == 0


def test_reconcile_sees_an_amount_that_is_not_stripes(shop: Shop) -> None:
    shop.buy(10)
    hand_in(shop.fake.events())
    Payment.objects.update(amount=9 * USD)
    checks = {check["check"]: check for check in run("reconcile", fails=True)["checks"]}
    assert "1000 cents came in" in checks["stripe_balance"]["wrong"][0]


def test_reconcile_sees_a_subscription_that_stripe_does_not_have(plan_shop: Shop) -> None:
    plan_shop.subscribe("vip1")
    hand_in(plan_shop.fake.events())
    Subscription.objects.update(stripe_id="sub_gone")
    checks = {check["check"]: check for check in run("reconcile", fails=True)["checks"]}
    assert any("sub_gone" in text for text in checks["stripe_subscriptions"]["wrong"])


@pytest.mark.parametrize("days", ["0", "-1", "4000"])
def test_reconcile_refuses_a_time_that_makes_no_sense(shop: Shop, days: str) -> None:
    assert "--days" in run("reconcile", "--days", days, fails=True)["error"]["message"]
