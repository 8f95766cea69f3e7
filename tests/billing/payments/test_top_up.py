"""Automatic top-ups: once at the threshold, within the ceiling, and off where trying again would be of no use."""

import datetime as dt

import pytest
from django.test import Client

from billing.models import AutoTopUp, CreditOrder, Notice, OrderKind
from billing.payments.top_up import TopUpError, has_card, save_top_up, spent_this_month, top_up_due
from billing.selectors.ledger import balance_of
from billing.selectors.top_up import workspaces_below
from billing.services import ledger
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from tests.billing.builders import Account, admit_one, settle_one
from tests.billing.payments.conftest import Shop, deliver, hand_in

pytestmark = pytest.mark.django_db


def buy_and_keep_card(shop: Shop, usd: int = 10) -> str:
    """Buy credit, keep the card, and return the customer."""
    order = shop.order(usd, saves_card=True)
    assert order.session_id is not None
    customer: str = shop.fake.pay(order.session_id)["customer"]
    hand_in(shop.fake.events())
    return customer


def wish(shop: Shop, *, threshold: int = 5, amount: int = 20, ceiling: int = 50, is_on: bool = True) -> AutoTopUp:
    """Let a workspace buy by itself."""
    owner = shop.account.workspace.owner_id
    return save_top_up(
        shop.account.id,
        is_on=is_on,
        threshold=threshold * USD,
        amount=amount * USD,
        monthly_ceiling=ceiling * USD,
        user_id=owner,
    )


def spend(account: Account, usd: int) -> None:
    """Use credit."""
    request = account.request(usd * USD)
    assert admit_one(request).refusal is None
    settle_one(request, usd * USD)


def test_it_fires_once_at_the_threshold(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop)
    assert top_up_due() == 0
    spend(shop.account, 5)
    assert top_up_due() == 0, "5 is not below 5"
    spend(shop.account, 1)
    assert [top_up_due() for _ in range(3)] == [1, 0, 0]
    assert balance_of(shop.account.id).by_kind == {"paid": 24 * USD}
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 24 * USD
    order = CreditOrder.objects.get(kind=OrderKind.TOP_UP)
    assert order.state == "paid"
    assert Notice.objects.filter(kind="receipt", facts__is_top_up=True).count() == 1


def test_a_crash_after_the_order_buys_once(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop)
    spend(shop.account, 6)
    shop.fake.fail_next("drop", "drop", "drop", "drop", "drop", "drop")
    assert top_up_due() == 0
    assert CreditOrder.objects.filter(kind=OrderKind.TOP_UP, state="open").count() == 1
    shop.fake.state.failures.clear()
    assert [top_up_due(), top_up_due()] == [1, 0]
    paid = [event for event in shop.fake.events() if event["type"] == "payment_intent.succeeded"]
    assert len(paid) == 2
    assert balance_of(shop.account.id).posted == 24 * USD


def test_an_order_that_was_paid_long_ago_is_found_and_not_paid_again(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop)
    spend(shop.account, 6)
    order = CreditOrder.objects.create(workspace_id=shop.account.id, kind=OrderKind.TOP_UP, amount=20 * USD)
    top_up_due()
    balance = balance_of(shop.account.id).posted
    CreditOrder.objects.filter(pk=order.pk).update(state="open", created_at=clock.now() - dt.timedelta(days=2))
    assert top_up_due() == 1
    assert balance_of(shop.account.id).posted == balance
    CreditOrder.objects.filter(pk=order.pk).update(state="paid")


def test_an_order_that_stripe_never_heard_of_fails_after_a_day(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop, threshold=100)
    old = CreditOrder.objects.create(
        workspace_id=shop.account.id,
        kind=OrderKind.TOP_UP,
        amount=20 * USD,
        created_at=clock.now() - dt.timedelta(days=2),
    )
    assert top_up_due() == 1
    old.refresh_from_db()
    assert old.state == "failed"
    assert balance_of(shop.account.id).posted == 10 * USD


def test_the_ceiling_of_the_month_holds(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop, amount=20, ceiling=50, threshold=100)
    assert [top_up_due() for _ in range(4)] == [1, 1, 0, 0]
    assert spent_this_month(shop.account.id) == 40 * USD
    assert balance_of(shop.account.id).posted == 50 * USD


def test_a_decline_waits_and_the_third_turns_it_off(shop: Shop) -> None:
    customer = buy_and_keep_card(shop)
    wish(shop, threshold=100)
    shop.fake.set_card(customer, "decline")
    for declines in (1, 2, 3):
        assert top_up_due() == 1
        assert top_up_due() == 0, "the next try waits"
        assert AutoTopUp.objects.get().declines == declines
        CreditOrder.objects.filter(state="failed").update(finished_at=clock.now() - dt.timedelta(hours=7))
    row = AutoTopUp.objects.get()
    assert (row.is_on, row.stopped_by) == (False, "declined")
    told = list(Notice.objects.filter(kind="top_up_failed").order_by("id").values_list("facts__stopped", flat=True))
    assert told == [False, False, True]
    assert balance_of(shop.account.id).posted == 10 * USD


def test_a_bank_that_wants_to_see_the_person_turns_it_off_at_once(shop: Shop) -> None:
    customer = buy_and_keep_card(shop)
    wish(shop, threshold=100)
    shop.fake.set_card(customer, "authenticate")
    assert [top_up_due(), top_up_due()] == [1, 0]
    row = AutoTopUp.objects.get()
    assert (row.is_on, row.stopped_by) == (False, "authentication_required")
    assert CreditOrder.objects.get(kind=OrderKind.TOP_UP).error == "authentication_required"


def test_the_last_cards_removal_turns_it_off(shop: Shop, client: Client) -> None:
    customer = buy_and_keep_card(shop)
    wish(shop)
    (card,) = shop.api().payment_methods.list({"customer": customer, "type": "card"}).data
    shop.api().payment_methods.detach(card.id)
    for event in shop.fake.events():
        assert deliver(client, event) == 200
    row = AutoTopUp.objects.get()
    assert (row.is_on, row.stopped_by) == (False, "no_payment_method")
    assert not has_card(shop.account.id)


def test_a_success_forgets_the_declines(shop: Shop) -> None:
    customer = buy_and_keep_card(shop)
    wish(shop, threshold=100, ceiling=500)
    shop.fake.set_card(customer, "decline")
    assert top_up_due() == 1
    shop.fake.set_card(customer, "succeed")
    CreditOrder.objects.filter(state="failed").update(finished_at=clock.now() - dt.timedelta(hours=7))
    assert top_up_due() == 1
    assert AutoTopUp.objects.get().declines == 0


@pytest.mark.parametrize("is_frozen", [True, False])
def test_frozen_and_suspended_workspaces_buy_nothing(shop: Shop, is_frozen: bool) -> None:
    buy_and_keep_card(shop)
    wish(shop, threshold=100)
    if is_frozen:
        ledger.set_frozen(workspace_id=shop.account.id, frozen=True)
    else:
        shop.account.workspace.suspended_at = clock.now()
        shop.account.workspace.save()
    assert top_up_due() == 0


def test_without_a_card_it_is_not_turned_on(shop: Shop) -> None:
    with pytest.raises(TopUpError, match="No card is saved"):
        wish(shop)
    assert not wish(shop, is_on=False).is_on


@pytest.mark.parametrize(
    ("threshold", "amount", "ceiling", "field"),
    [(-1, 20, 50, "threshold"), (5, 4, 50, "amount"), (5, 1001, 2000, "amount"), (5, 20, 19, "monthly_ceiling")],
)
def test_amounts_that_make_no_sense_are_refused(
    shop: Shop, threshold: int, amount: int, ceiling: int, field: str
) -> None:
    with pytest.raises(TopUpError) as refused:
        wish(shop, threshold=threshold, amount=amount, ceiling=ceiling, is_on=False)
    assert refused.value.field == field
    assert not AutoTopUp.objects.exists()


def test_expired_credit_does_not_count(shop: Shop) -> None:
    buy_and_keep_card(shop)
    wish(shop, threshold=20, ceiling=100)
    shop.account.fund(15 * USD, kind="promo", expires_in=60)
    assert workspaces_below() == []
    AutoTopUp.objects.update(threshold=25 * USD + 1)
    assert workspaces_below() == [shop.account.id]
