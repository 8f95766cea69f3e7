"""Events and clocks that misbehave, payments that come twice, and one that spoils it for the others."""

import datetime as dt

import pytest

from billing.models import CreditPlan, Invoice, Payment, StripeEvent
from billing.payments import charges, inbox, invoices, webhook
from billing.payments.reconcile import compare_with_stripe
from billing.selectors.ledger import balance_of
from billing.services import ledger, vip
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.builders import make_account
from tests.billing.payments.conftest import Shop, hand_in
from tests.billing.payments.test_plans import started, tier_of, vip_credit

pytestmark = pytest.mark.django_db


def test_an_event_of_what_stripe_does_not_have_fails_at_once(shop: Shop) -> None:
    payment = shop.buy(10)
    events = [each for each in shop.fake.events() if each["type"] == "payment_intent.succeeded"]
    del shop.fake.state.objects[payment]
    hand_in(events)
    event = StripeEvent.objects.get()
    assert (event.state, event.attempts) == ("failed", 0)
    assert "No such" in event.error


def test_a_key_that_was_changed_at_stripe_loses_no_event(shop: Shop) -> None:
    shop.buy(10)
    key, shop.fake.key = shop.fake.key, "sk_test_another"
    hand_in(shop.fake.events())
    assert set(StripeEvent.objects.values_list("state", flat=True)) & {"new"}
    shop.fake.key = key
    StripeEvent.objects.update(next_attempt_at=clock.now())
    inbox.apply_waiting()
    assert balance_of(shop.account.id).posted == 10 * USD
    assert not StripeEvent.objects.filter(state__in=["new", "failed"]).exists()


def test_a_worker_that_failed_does_not_undo_what_another_has_done(shop: Shop) -> None:
    shop.buy(10)
    hand_in(shop.fake.events())
    done = StripeEvent.objects.filter(state="done").first()
    assert done is not None
    inbox._finish(done.pk, "failed", "late")  # type: ignore[arg-type]
    inbox._postpone(done.pk, "late")
    done.refresh_from_db()
    assert (done.state, done.error, done.attempts) == ("done", "", 0)


def test_characters_that_the_database_cannot_hold_do_not_turn_an_event_away(shop: Shop) -> None:
    row, is_new = webhook.keep(
        {
            "id": "evt_1",
            "type": "customer.updated",
            "created": 1,
            "data": {"object": {"id": "cus_1", "name": "a\0b\ud800", "\0": [float("nan"), 1.5, None]}},
        }
    )
    row.refresh_from_db()
    assert is_new
    assert row.payload["data"]["object"] == {"id": "cus_1", "name": "ab?", "": [None, 1.5, None]}


def test_a_clock_behind_stripes_gives_the_credit_at_once(plan_shop: Shop) -> None:
    plan_shop.fake.advance_to(clock.now() + dt.timedelta(minutes=1))
    plan_shop.subscribe("vip1")
    hand_in(plan_shop.fake.events())
    assert vip_credit(plan_shop) == 4 * USD


def test_a_second_payment_of_an_invoice_can_be_refunded_and_is_known(plan_shop: Shop) -> None:
    """A person pays on the invoice's page while the card is charged: Stripe keeps both, and the second goes back."""
    shop = plan_shop
    started(shop, "vip1")
    first = Payment.objects.get()
    state = shop.fake.state
    twin = {"id": "pi_twin", "latest_charge": "ch_twin"}
    state.objects["pi_twin"] = state.objects[first.pk] | twin
    state.objects["ch_twin"] = state.objects[first.charge_id] | {"id": "ch_twin", "payment_intent": "pi_twin"}
    (paid,) = [row for row in state.all("invoice_payment") if row["invoice"] == first.invoice_id]
    payment = {**paid["payment"], "payment_intent": "pi_twin"}
    state.objects["inpay_twin"] = paid | {"id": "inpay_twin", "payment": payment}
    charges.apply_payment("pi_twin")
    assert Payment.objects.get(pk="pi_twin").invoice_id == first.invoice_id
    assert vip_credit(shop) == 4 * USD
    assert not any(finding.put_right or finding.wrong for finding in compare_with_stripe())


def test_one_that_cannot_be_brought_in_does_not_end_the_comparison(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = shop.buy(10), shop.buy(20)
    plain = charges.apply_payment

    def apply(payment_id: str) -> None:
        if payment_id == bad:
            raise ValueError("The balance would be more than the books can hold.")
        plain(payment_id)

    monkeypatch.setattr(charges, "apply_payment", apply)
    (finding, *_) = compare_with_stripe()
    assert finding.put_right == [f"payment {good}"]
    assert [text.partition(":")[0] for text in finding.wrong] == [f"payment {bad}"]


def test_a_disputes_end_that_was_missed_is_found_after_weeks(shop: Shop) -> None:
    payment = shop.buy(10)
    dispute = shop.fake.dispute(payment)["id"]
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).frozen
    shop.fake.advance(20 * 86400)
    shop.fake.close_dispute(dispute, won=True)
    compare_with_stripe(clock.now() + dt.timedelta(days=19))
    balance = balance_of(shop.account.id)
    assert (balance.frozen, balance.posted) == (False, 10 * USD)


def test_one_workspace_that_the_books_refuse_keeps_no_other_from_its_month(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    accounts = [make_account(), make_account()]
    for account in accounts:
        CreditPlan.objects.create(
            source=f"in_{account.id}:il",
            workspace_id=account.id,
            subscription_id="sub",
            tier_slug="vip1",
            interval="month",
            monthly_credits=USD,
            anchor_at=now,
            starts_at=now,
            ends_at=now + dt.timedelta(days=30),
        )
    plain = ledger.grant

    def grant(**given: object) -> object:
        if given["workspace_id"] == accounts[0].id:
            raise ValueError("The balance would be more than the books can hold.")
        return plain(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "grant", grant)
    assert vip.refresh() == 1
    assert balance_of(accounts[1].id).posted == USD
    monkeypatch.undo()
    assert vip.refresh() == 1, "what was refused is tried again"


def test_an_invoice_that_was_written_off_and_then_paid_gives_its_credit_once(plan_shop: Shop) -> None:
    shop = plan_shop
    row = started(shop, "vip1", days_ago=31.5)
    shop.fake.set_card(shop.api().subscriptions.retrieve(row.stripe_id).customer, "decline")
    shop.fake.advance_to(clock.now())
    hand_in(shop.fake.events())
    invoice = Invoice.objects.get(status="open")
    shop.fake.mark_uncollectible(invoice.pk)
    hand_in(shop.fake.events())
    assert vip_credit(shop) == 0
    shop.fake.pay_invoice(invoice.pk)
    hand_in(shop.fake.events())
    invoices.apply_invoice(invoice.pk)
    assert vip_credit(shop) == 4 * USD
    assert tier_of(shop.account.workspace) == "vip1"
