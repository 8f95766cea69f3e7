"""People who press twice, change their mind in the middle, and look for credit that nobody pays for."""

import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from billing.models import Invoice, Payment, StripeEvent, Subscription
from billing.payments import inbox, invoices, plans, stripe_api
from billing.payments.errors import CardError, PaymentsError, StripeRefusedError
from billing.payments.objects import CheckoutSession
from billing.payments.plans import PlanError, cancel_plan, change_plan, resume_plan
from billing.selectors.ledger import balance_of, broken_invariants, entries_of
from billing.services import vip
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.payments.conftest import Shop, hand_in
from tests.billing.payments.test_plans import started, vip_credit

pytestmark = pytest.mark.django_db


def customer_of(shop: Shop, row: Subscription) -> str:
    """Return who pays for a subscription."""
    customer: str = shop.api().subscriptions.retrieve(row.stripe_id).customer
    return customer


def test_who_paid_a_moment_ago_does_not_subscribe_twice(plan_shop: Shop) -> None:
    subscription = plan_shop.subscribe("vip1")
    assert not Subscription.objects.exists(), "its event has not come"
    with pytest.raises(PlanError, match="has a plan already"):
        plan_shop.open_checkout("vip1")
    assert Subscription.objects.get().stripe_id == subscription
    assert vip_credit(plan_shop) == 4 * USD


def test_another_product_of_the_operator_does_not_stand_in_the_way(plan_shop: Shop) -> None:
    plan_shop.open_checkout("vip1")
    session = plan_shop.api().checkout.sessions.list({"status": "open"}).data[0]
    assert plan_shop.fake.subscribe_at(session.id)
    for row in plan_shop.fake.state.all("subscription"):
        row["items"]["data"][0]["price"]["id"] = "price_of_another_product"
    assert plan_shop.open_checkout("vip1")


@pytest.mark.django_db(transaction=True)
def test_two_people_who_subscribe_at_once_get_one_checkout(plan_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_shop.order()  # the customer is there
    gate, closed = threading.Barrier(2), plans._close_other_checkouts

    def together(customer: str) -> None:
        closed(customer)
        try:
            gate.wait(timeout=2)
        except threading.BrokenBarrierError:
            return

    monkeypatch.setattr(plans, "_close_other_checkouts", together)

    def press(_number: int) -> str:
        try:
            return plan_shop.open_checkout("vip1")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(press, range(2)))
    sessions = plan_shop.api().checkout.sessions
    open_now = stripe_api.listed(CheckoutSession, sessions.list, params={"status": "open"})
    assert [session.mode for session in open_now].count("subscription") == 1


def test_a_declined_upgrade_leaves_the_cancellation_as_it_was(plan_shop: Shop) -> None:
    row = started(plan_shop, "vip1")
    ends_at = cancel_plan(plan_shop.account.id)
    plan_shop.fake.set_card(customer_of(plan_shop, row), "decline")
    with pytest.raises(CardError):
        change_plan(plan_shop.account.id, tier_slug="vip3", interval="month")
    assert plan_shop.api().subscriptions.retrieve(row.stripe_id).cancel_at_period_end
    hand_in(plan_shop.fake.events())
    row.refresh_from_db()
    assert row.cancels_at == ends_at


def test_a_declined_upgrade_leaves_the_planned_downgrade_as_it_was(plan_shop: Shop) -> None:
    row = started(plan_shop, "vip2")
    change_plan(plan_shop.account.id, tier_slug="vip1", interval="month")
    plan_shop.fake.set_card(customer_of(plan_shop, row), "decline")
    with pytest.raises(CardError):
        change_plan(plan_shop.account.id, tier_slug="vip3", interval="month")
    hand_in(plan_shop.fake.events())
    row.refresh_from_db()
    assert (row.tier_slug, row.next_tier_slug) == ("vip2", "vip1")


def test_a_downgrade_that_breaks_off_leaves_the_cancellation_as_it_was(
    plan_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = started(plan_shop, "vip2")
    cancel_plan(plan_shop.account.id)
    send = stripe_api.send

    def broken(wanted: type, method: object, *ids: str, **rest: object) -> object:
        if str(rest.get("key", "")).startswith("phases:"):
            raise StripeRefusedError("No.")
        return send(wanted, method, *ids, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stripe_api, "send", broken)
    with pytest.raises(StripeRefusedError):
        change_plan(plan_shop.account.id, tier_slug="vip1", interval="month")
    found = plan_shop.api().subscriptions.retrieve(row.stripe_id)
    assert (found.cancel_at_period_end, found.schedule) == (True, None)


def test_an_end_that_an_operator_set_can_be_taken_back(plan_shop: Shop) -> None:
    row = started(plan_shop, "vip1")
    at = int(clock.now().timestamp()) + 5 * 86400
    plan_shop.api().subscriptions.update(row.stripe_id, {"cancel_at": at})
    assert int(cancel_plan(plan_shop.account.id).timestamp()) == at
    resume_plan(plan_shop.account.id)
    row.refresh_from_db()
    assert row.cancels_at is None
    assert plan_shop.api().subscriptions.retrieve(row.stripe_id).cancel_at is None


def test_a_change_that_our_row_does_not_know_of_is_no_way_to_money_back(plan_shop: Shop) -> None:
    """Two requests at once: one to VIP 3, and one to VIP 2 that still saw VIP 1 and would pay the difference back."""
    row = started(plan_shop, "vip1")
    item = plan_shop.api().subscriptions.retrieve(row.stripe_id)["items"].data[0].id
    price = plans._price_of("vip3", "month").pk
    plan_shop.api().subscriptions.update(
        row.stripe_id, {"items": [{"id": item, "price": price}], "proration_behavior": "always_invoice"}
    )
    done = change_plan(plan_shop.account.id, tier_slug="vip2", interval="month")
    assert not done.is_upgrade
    row.refresh_from_db()
    assert (row.tier_slug, row.next_tier_slug) == ("vip3", "vip2")
    assert plan_shop.api().customers.retrieve(customer_of(plan_shop, row)).balance == 0


def test_an_overdue_plan_that_our_row_does_not_know_of_is_not_changed(plan_shop: Shop) -> None:
    row = started(plan_shop, "vip4", days_ago=31.5)
    plan_shop.fake.set_card(customer_of(plan_shop, row), "decline")
    plan_shop.fake.advance_to(clock.now())
    assert plan_shop.api().subscriptions.retrieve(row.stripe_id).status == "past_due"
    plan_shop.fake.set_card(customer_of(plan_shop, row), "succeed")
    with pytest.raises(PaymentsError, match="overdue"):
        change_plan(plan_shop.account.id, tier_slug="vip4", interval="year")


def test_an_upgrade_does_not_credit_a_period_that_is_not_paid_yet(plan_shop: Shop) -> None:
    """For an hour a renewal's invoice is a draft: its period has begun, and its card may fail."""
    row = started(plan_shop, "vip3", days_ago=40)
    assert row.period_ends_at is not None
    plan_shop.fake.advance_to(row.period_ends_at + dt.timedelta(minutes=10))
    with pytest.raises(PlanError, match="not paid yet"):
        change_plan(plan_shop.account.id, tier_slug="vip4", interval="year")
    plan_shop.fake.advance_to(row.period_ends_at + dt.timedelta(hours=2))
    assert change_plan(plan_shop.account.id, tier_slug="vip4", interval="year").is_upgrade


def test_a_plan_whose_predecessors_end_was_not_heard_of_begins(plan_shop: Shop) -> None:
    shop = plan_shop
    first = started(shop, "vip1")
    customer = customer_of(shop, first)
    shop.api().subscriptions.cancel(first.stripe_id)
    session = shop.api().checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer,
            "line_items": [{"price": plans._price_of("vip2", "month").pk, "quantity": 1}],
            "success_url": "http://testserver/",
        }
    )
    second = shop.fake.subscribe_at(session.id)["id"]
    hand_in([event for event in shop.fake.events() if event["type"] == "checkout.session.completed"])
    first.refresh_from_db()
    assert first.ends_at is not None
    assert Subscription.objects.get(ends_at__isnull=True).stripe_id == second
    assert vip_credit(shop) == (4 + 13) * USD


def test_a_refunded_upgrade_takes_the_difference_and_no_more(plan_shop: Shop) -> None:
    started(plan_shop, "vip1")
    change_plan(plan_shop.account.id, tier_slug="vip4", interval="month")
    assert vip_credit(plan_shop) == pytest.approx(60 * USD, abs=USD // 100)
    upgrade = Payment.objects.latest("paid_at", "amount")
    assert upgrade.amount == pytest.approx(55 * USD, abs=USD // 100)
    plan_shop.refund(upgrade.pk)
    hand_in(plan_shop.fake.events())
    assert vip_credit(plan_shop) == pytest.approx(4 * USD, abs=USD // 100)


def test_a_year_that_became_months_gives_no_more_than_was_paid_for(
    plan_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the year pays the months from the customer's balance, with their credit, until it is used up."""
    shop, begun = plan_shop, clock.now() - dt.timedelta(days=125)

    def go_to(day: int) -> None:
        monkeypatch.setattr(clock, "now", lambda: begun + dt.timedelta(days=day))
        shop.fake.advance_to(clock.now())
        for row in Subscription.objects.all():
            invoices.apply_subscription(row.stripe_id or "")
        vip.refresh()

    go_to(0)
    invoices.apply_subscription(shop.subscribe("vip1", "year"))
    row = Subscription.objects.get()
    go_to(1)
    change_plan(shop.account.id, tier_slug="vip2", interval="month")
    shop.fake.set_card(customer_of(shop, row), "decline")
    for day in range(5, 125, 5):
        go_to(day)
    assert Payment.objects.get().amount == 50 * USD
    assert Invoice.objects.filter(status="paid").count() == 4, "the year, the change, and two months from the balance"
    granted = sum(line.amount for line in entries_of(shop.account.id, limit=100) if line.kind == "grant")
    assert granted == pytest.approx((4 + 9 + 13 + 13) * USD, abs=USD // 2)


@pytest.mark.django_db(transaction=True)
def test_many_workers_and_a_person_at_once(plan_shop: Shop) -> None:
    """The events of purchases and plans in four workers, the hourly task, and a change of the plan in the middle."""
    shop = plan_shop
    started(shop, "vip1")
    payments = [shop.buy(5) for _ in range(6)]
    shop.refund(payments[0], 2)
    for event in shop.fake.events():
        payload = json.loads(json.dumps(event))
        StripeEvent.objects.update_or_create(
            id=event["id"],
            defaults={"type": event["type"], "payload": payload, "happened_at": clock.now(), "state": "new"},
        )

    def work(number: int) -> object:
        try:
            if number == 3:
                return change_plan(shop.account.id, tier_slug="vip4", interval="month")
            return vip.refresh() if number % 3 == 2 else inbox.apply_waiting()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(9)))
    StripeEvent.objects.update(next_attempt_at=clock.now())
    inbox.apply_waiting()
    hand_in(shop.fake.events())
    assert set(StripeEvent.objects.values_list("state", flat=True)) <= {"done", "ignored"}
    kinds = balance_of(shop.account.id).by_kind or {}
    assert kinds["paid"] == 28 * USD
    assert kinds["vip"] == pytest.approx(60 * USD, abs=USD // 100)
    assert broken_invariants() == []
