"""Customers who vanish, come twice, or turn things off while Stripe is away."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe
from django.db import connection

from billing.models import AutoTopUp, CreditOrder, Notice, OrderKind, StripeCustomer, StripeEvent, Subscription
from billing.payments import stripe_api, top_up
from billing.payments.customers import customer_for
from billing.payments.errors import StripeUnreachableError
from billing.payments.objects import Customer
from billing.payments.reconcile import compare_with_stripe
from billing.payments.top_up import top_up_due
from billing.selectors.ledger import balance_of
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.builders import make_account
from tests.billing.payments.conftest import Shop, hand_in
from tests.billing.payments.test_top_up import buy_and_keep_card, spend, wish

pytestmark = pytest.mark.django_db


def replace_customer(shop: Shop) -> None:
    """Let an operator delete the customer at Stripe, and the workspace begin another purchase."""
    old = StripeCustomer.objects.get().stripe_id
    shop.api().customers.delete(old)
    StripeCustomer.objects.update(is_deleted=True)
    shop.order(5)
    assert StripeCustomer.objects.get().stripe_id != old


def test_a_refund_of_a_customer_that_was_replaced_takes_its_credit(shop: Shop) -> None:
    payment = shop.buy(10)
    hand_in(shop.fake.events())
    replace_customer(shop)
    shop.refund(payment)
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 0


def test_a_payment_of_a_customer_that_was_replaced_is_credited(shop: Shop) -> None:
    shop.buy(10)
    replace_customer(shop)
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 10 * USD
    assert not StripeEvent.objects.filter(state="failed").exists()


@pytest.mark.parametrize("is_by_event", [True, False])
def test_a_plan_of_a_customer_that_was_replaced_ends(plan_shop: Shop, is_by_event: bool) -> None:
    plan_shop.subscribe("vip1")
    hand_in(plan_shop.fake.events())
    replace_customer(plan_shop)
    if is_by_event:
        hand_in(plan_shop.fake.events())
    else:
        assert not any(finding.wrong for finding in compare_with_stripe())
    assert Subscription.objects.get().ends_at is not None


def test_two_people_who_buy_first_pay_as_one_customer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second asks Stripe while the first has no row yet: the row of the first stays, so that its payment is credited."""
    workspace, send = shop.account.workspace, stripe_api.send
    first: list[str] = []

    def in_between(*args: object, **rest: object) -> object:
        if not first:
            first.append("")
            first[0] = customer_for(workspace, email="first@example.test")
        return send(*args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stripe_api, "send", in_between)
    assert customer_for(workspace, email="second@example.test") == first[0]
    assert StripeCustomer.objects.get().stripe_id == first[0]


def test_a_customer_whose_making_got_no_answer_can_be_made_by_another_person(shop: Shop) -> None:
    customer_for(shop.account.workspace, email="first@example.test")
    StripeCustomer.objects.all().delete()
    assert customer_for(shop.account.workspace, email="second@example.test")


def test_a_top_up_that_waits_for_stripe_is_not_bought_when_it_was_turned_off(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop)
    spend(shop.account, 6)
    shop.fake.fail_next(*["500"] * 9)
    assert top_up_due() == 0
    shop.fake.state.failures.clear()
    wish(shop, is_on=False)
    top_up_due()
    assert balance_of(shop.account.id).posted == 4 * USD
    order = CreditOrder.objects.get(kind=OrderKind.TOP_UP)
    assert order.state == "expired"
    assert not Notice.objects.filter(kind="top_up_failed").exists()
    wish(shop)
    assert top_up_due() == 1
    assert balance_of(shop.account.id).posted == 24 * USD


def test_a_top_up_that_was_paid_counts_although_it_was_turned_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    buy_and_keep_card(shop)
    wish(shop)
    spend(shop.account, 6)
    with monkeypatch.context() as patch:
        patch.setattr("billing.payments.charges.apply_payment", _crash)
        top_up_due()
    wish(shop, is_on=False)
    assert top_up_due() == 1
    assert balance_of(shop.account.id).posted == 24 * USD


def test_another_card_after_no_answer_buys_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = buy_and_keep_card(shop)
    wish(shop)
    spend(shop.account, 6)
    with monkeypatch.context() as patch:
        patch.setattr("billing.payments.charges.apply_payment", _crash)
        top_up_due()
    shop.fake.change_card(customer)
    assert top_up_due() == 1
    assert balance_of(shop.account.id).posted == 24 * USD
    assert AutoTopUp.objects.get().declines == 0


def test_one_workspace_that_cannot_be_topped_up_does_not_stop_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = make_account()
    broken.fund(1)
    AutoTopUp.objects.create(workspace_id=broken.id, is_on=True, threshold=USD, amount=5 * USD, monthly_ceiling=5 * USD)
    buy_and_keep_card(shop)
    wish(shop)
    spend(shop.account, 6)
    plain = top_up._top_up
    monkeypatch.setattr(top_up, "workspaces_below", lambda: [broken.id, shop.account.id])
    monkeypatch.setattr(top_up, "_top_up", lambda id: _crash(id) if id == broken.id else plain(id))
    assert top_up_due() == 1
    assert balance_of(shop.account.id).posted == 24 * USD


def _crash(_about: object) -> bool:
    raise ValueError("The books cannot hold it.")


def test_a_key_that_is_being_worked_on_is_no_refusal(shop: Shop) -> None:
    def busy(*_ids: str, **_rest: object) -> None:
        error = stripe.InvalidRequestError("In progress.", None)  # type: ignore[no-untyped-call]
        error.http_status = 409
        raise error

    with pytest.raises(StripeUnreachableError):
        stripe_api.send(Customer, busy, key="k")


@pytest.mark.django_db(transaction=True)
def test_many_workers_buy_one_top_up(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop, ceiling=100)
    spend(shop.account, 6)

    def work(_number: int) -> None:
        try:
            top_up_due()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    top_up_due()
    assert balance_of(shop.account.id).posted == 24 * USD
    assert list(CreditOrder.objects.filter(kind=OrderKind.TOP_UP).values_list("state", flat=True)) == ["paid"]
    assert not Notice.objects.filter(kind="top_up_failed").exists()
