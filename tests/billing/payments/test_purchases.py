"""Credit is bought, refunded and disputed: the books follow what Stripe says, whatever came first, twice or late."""

import contextlib
from collections import Counter

import pytest
import stripe
from django.conf import LazySettings
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import CreditOrder, Payment, RefusedDelivery, StripeCustomer, StripeEvent
from billing.payments import inbox
from billing.payments.checkout import AmountError, start_checkout
from billing.payments.errors import PaymentsOffError
from billing.selectors.ledger import balance_of, broken_invariants, entries_of
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD
from rig.stripe.delivery import arrange
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record, StripeError
from tests.billing.builders import Account, make_account
from tests.billing.payments.conftest import SECRET, Shop, deliver, hand_in

pytestmark = pytest.mark.django_db
USD = NANO_PER_USD


def states_of(event_type: str) -> list[tuple[str, str]]:
    """Return (state, error) of the inbox's events of a type."""
    return list(StripeEvent.objects.filter(type=event_type).values_list("state", "error"))


def test_a_purchase_is_credit_once_it_is_paid(shop: Shop, client: Client) -> None:
    order = shop.order(25)
    assert balance_of(shop.account.id).posted == 0
    assert order.session_id is not None
    payment = shop.fake.pay(order.session_id)["payment_intent"]
    assert balance_of(shop.account.id).posted == 0
    for event in shop.fake.events():
        assert deliver(client, event) == 200
    assert balance_of(shop.account.id).by_kind == {"paid": 25 * USD}
    order.refresh_from_db()
    assert (order.state, order.created_by_id) == ("paid", shop.account.workspace.owner_id)
    row = Payment.objects.get(pk=payment)
    assert (row.workspace_id, row.amount, row.order_id) == (shop.account.id, 25 * USD, order.pk)
    assert row.receipt_url.startswith("http")
    (line,) = entries_of(shop.account.id, limit=5)
    assert (line.kind, line.grant_kind, line.ref) == ("grant", "paid", f"payment:{payment}")


@pytest.mark.parametrize("amount", [5 * USD - 1, 1000 * USD + 1, 10 * USD + 1, 0, -5 * USD])
def test_amounts_that_are_not_sold_are_not_ordered(shop: Shop, amount: int) -> None:
    with pytest.raises(AmountError):
        start_checkout(
            shop.account.workspace, user_id=1, email="a@example.com", amount=amount, success_url="x", cancel_url="x"
        )
    assert not CreditOrder.objects.exists()
    assert shop.fake.events() == []


def test_without_keys_nothing_is_ordered(shop: Shop, settings: LazySettings) -> None:
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(PaymentsOffError):
        shop.order()
    assert not CreditOrder.objects.exists()


def test_a_workspace_is_one_customer(shop: Shop) -> None:
    shop.order()
    shop.order()
    assert StripeCustomer.objects.count() == 1
    assert len([event for event in shop.fake.events() if event["type"] == "customer.created"]) == 1


def test_stripe_away_is_tried_again(shop: Shop) -> None:
    shop.buy()
    shop.fake.fail_next(*["500"] * 3)
    event = next(event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded")
    hand_in([event])
    ((state, error),) = states_of("payment_intent.succeeded")
    assert (state, balance_of(shop.account.id).posted) == ("new", 0)
    assert error
    StripeEvent.objects.update(next_attempt_at=clock.now())
    inbox.apply_waiting()
    assert states_of("payment_intent.succeeded") == [("done", "")]
    assert balance_of(shop.account.id).posted == 10 * USD


def test_refunds_take_their_part_back_and_a_failed_one_returns_it(shop: Shop) -> None:
    payment = shop.buy(10)
    first = shop.refund(payment, 4)
    shop.refund(payment, 1)
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 5 * USD
    assert Payment.objects.get(pk=payment).refunded == 5 * USD
    shop.fake.fail_refund(first)
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 9 * USD
    assert Payment.objects.get(pk=payment).refunded == USD


@pytest.mark.parametrize(("won", "left"), [(True, 10), (False, 0)])
def test_a_dispute_takes_the_credit_and_freezes_the_wallet_until_it_is_won(shop: Shop, won: bool, left: int) -> None:
    payment = shop.buy(10)
    hand_in(shop.fake.events())
    dispute = shop.fake.dispute(shop.charge_of(payment))
    hand_in(shop.fake.events())
    balance = balance_of(shop.account.id)
    assert (balance.posted, balance.frozen) == (0, True)
    shop.fake.close_dispute(dispute["id"], won=won)
    hand_in(shop.fake.events())
    balance = balance_of(shop.account.id)
    assert (balance.posted, balance.frozen) == (left * USD, not won)
    assert Payment.objects.get(pk=payment).dispute == ("won" if won else "lost")


def test_an_amount_that_is_not_the_orders_is_not_applied_and_stays_for_an_operator(shop: Shop) -> None:
    shop.buy(10)
    CreditOrder.objects.update(amount=100 * USD)
    hand_in([event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded"])
    ((state, error),) = states_of("payment_intent.succeeded")
    assert state == "failed"
    assert "10000 cents" in error
    assert balance_of(shop.account.id).posted == 0
    CreditOrder.objects.update(amount=10 * USD)
    event = StripeEvent.objects.get(type="payment_intent.succeeded")
    assert inbox.retry(event.pk).state == "done"
    assert balance_of(shop.account.id).posted == 10 * USD


def test_a_payment_that_is_told_of_before_its_checkout_is_complete_waits_a_moment(shop: Shop) -> None:
    shop.buy(10)
    (session,) = shop.fake.state.all("checkout.session")
    session.update(status="open", payment_status="unpaid")
    hand_in([event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded"])
    ((state, error),) = states_of("payment_intent.succeeded")
    assert (state, balance_of(shop.account.id).posted) == ("new", 0)
    assert "not complete yet" in error
    session.update(status="complete", payment_status="paid")
    StripeEvent.objects.update(next_attempt_at=clock.now())
    inbox.apply_waiting()
    assert balance_of(shop.account.id).posted == 10 * USD


def test_an_order_of_another_workspace_is_not_paid(shop: Shop) -> None:
    shop.buy(10)
    CreditOrder.objects.update(workspace=make_account().workspace)
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 0
    assert {state for state, _ in states_of("payment_intent.succeeded")} == {"failed"}


def test_what_is_not_ours_is_ignored(shop: Shop) -> None:
    shop.buy(10)
    StripeCustomer.objects.all().delete()
    hand_in(shop.fake.events())
    assert {state for state, _ in states_of("payment_intent.succeeded")} == {"ignored"}
    assert balance_of(shop.account.id).posted == 0


def test_an_unknown_event_cannot_be_retried() -> None:
    with pytest.raises(inbox.UnknownEventError):
        inbox.retry("evt_none")


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [("forged", "forged"), ("unsigned", "unsigned"), ("stale", "stale"), ("livemode", "wrong_mode")],
)
def test_a_flawed_delivery_changes_nothing_and_is_counted(shop: Shop, client: Client, flaw: str, reason: str) -> None:
    shop.buy(10)
    for event in shop.fake.events():
        assert deliver(client, event, flaw=flaw) == 400
    assert not StripeEvent.objects.exists()
    assert balance_of(shop.account.id).posted == 0
    row = RefusedDelivery.objects.get()
    assert (row.reason, row.count) == (reason, len(shop.fake.events()))
    assert "event" in row.last_claim


def test_another_currency_is_only_what_the_delivery_says(shop: Shop, client: Client) -> None:
    shop.buy(10)
    for event in shop.fake.events():
        deliver(client, event, flaw="currency")
    assert balance_of(shop.account.id).by_kind == {"paid": 10 * USD}


def test_a_payment_in_another_currency_is_not_credit_and_waits_for_an_operator(shop: Shop) -> None:
    shop.buy(10)
    for kind in ("payment_intent", "checkout.session"):
        for record in shop.fake.state.all(kind):
            record["currency"] = "eur"
    hand_in([event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded"])
    ((state, error),) = states_of("payment_intent.succeeded")
    assert state == "failed"
    assert "EUR" in error
    assert balance_of(shop.account.id).posted == 0


def test_tax_comes_on_top_and_credit_is_what_was_ordered(settings: LazySettings) -> None:
    settings.STRIPE_AUTOMATIC_TAX = True
    with FakeStripe(tax_percent=20) as fake:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE = fake.key, fake.url
        shop = Shop(fake, make_account())
        payment = shop.buy(10)
        hand_in(fake.events())
        assert balance_of(shop.account.id).posted == 10 * USD
        assert Payment.objects.get(pk=payment).amount == 12 * USD
        shop.refund(payment, 6)
        hand_in(fake.events())
        assert balance_of(shop.account.id).posted == 5 * USD


def test_without_a_secret_the_endpoint_refuses(shop: Shop, client: Client, settings: LazySettings) -> None:
    shop.buy(10)
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert {deliver(client, event) for event in shop.fake.events()} == {503}
    assert not StripeEvent.objects.exists()


def test_either_secret_will_do_while_one_replaces_the_other(shop: Shop, client: Client, settings: LazySettings) -> None:
    shop.buy(10)
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", SECRET]
    assert {deliver(client, event) for event in shop.fake.events()} == {200}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"object":"event"}'])
def test_what_is_no_event_is_refused(fake: FakeStripe, client: Client, body: bytes) -> None:
    answer = client.post(
        "/webhooks/stripe", body, content_type="application/json", headers={"Stripe-Signature": "t=1,v1=a"}
    )
    assert answer.status_code == 400
    assert client.get("/webhooks/stripe").status_code == 405


def test_thirty_copies_are_one_credit(shop: Shop, client: Client) -> None:
    shop.buy(10)
    for event in shop.fake.events():
        assert {deliver(client, event) for _ in range(30)} == {200}
    assert balance_of(shop.account.id).posted == 10 * USD
    assert StripeEvent.objects.count() == len(shop.fake.events())


steps = st.lists(
    st.tuples(st.sampled_from(["buy", "refund", "fail_refund", "dispute", "win", "lose"]), st.integers(0, 99)),
    min_size=1,
    max_size=8,
)


def play(shop: Shop, story: list[tuple[str, int]]) -> None:
    """Let people and banks do what a story says, as far as it can be done."""
    payments, refunds, disputes = [shop.buy(10)], list[str](), list[str]()
    for what, which in story:
        with contextlib.suppress(stripe.InvalidRequestError, StripeError):
            if what == "buy":
                payments.append(shop.buy(5 + which))
            elif what == "refund":
                refunds.append(shop.refund(payments[which % len(payments)], 1 + which % 4))
            elif what == "fail_refund" and refunds:
                shop.fake.fail_refund(refunds.pop(which % len(refunds)))
            elif what == "dispute":
                disputes.append(shop.fake.dispute(shop.charge_of(payments[which % len(payments)]))["id"])
            elif what in {"win", "lose"} and disputes:
                shop.fake.close_dispute(disputes.pop(which % len(disputes)), won=what == "win")


def books_after(events: list[Record], account: Account) -> tuple[Counter[tuple[str, str]], int, bool]:
    """Return what came and went by kind and reference, the balance, and whether it is frozen, in a transaction that leaves nothing.

    Which grant paid for a debt depends on what came first; how much came and went does not.
    """
    with transaction.atomic():
        hand_in(events)
        assert set(StripeEvent.objects.values_list("state", flat=True)) <= {"done", "ignored"}
        assert broken_invariants() == []
        lines: Counter[tuple[str, str]] = Counter()
        for line in entries_of(account.id, limit=1000):
            if line.kind != "debt_repay":
                lines[line.kind, line.ref] += line.amount
        balance = balance_of(account.id)
        transaction.set_rollback(True)
    return lines, balance.posted, balance.frozen


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=steps, seed=st.integers(0, 2**32), copies=st.integers(1, 3))
def test_in_any_order_and_however_often_the_events_come_the_books_are_the_same(
    fake: FakeStripe, story: list[tuple[str, int]], seed: int, copies: int
) -> None:
    with transaction.atomic():
        fake.reset()
        shop = Shop(fake, make_account())
        play(shop, story)
        events = fake.events()
        in_order = books_after(events, shop.account)
        assert in_order[0]
        assert books_after(arrange(events, copies=copies, seed=seed), shop.account) == in_order
        transaction.set_rollback(True)
