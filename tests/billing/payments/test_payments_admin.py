"""Operators see what was paid, and refund it in the admin: after a review, once a form, only with permission."""

import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.test import Client

from billing.models import Payment, Reconciliation, RefundRequest, Subscription
from billing.selectors.ledger import balance_of
from billing.services import reconciliations
from billing.services.tiers import set_tier
from lumyx.lib.ids import uuid7
from lumyx.lib.money import NANO_PER_USD as USD
from tests.accounts.admin_pages import act, page_of, staff
from tests.billing.builders import admit_one, settle_one
from tests.billing.payments.conftest import Shop, hand_in
from tests.billing.test_money_pages import words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment(shop: Shop) -> str:
    """A payment of $10, of whose credit $7 is spent."""
    payment = shop.buy(10)
    hand_in(shop.fake.events())
    request = shop.account.request(7 * USD)
    admit_one(request)
    settle_one(request, 7 * USD)
    return payment


@pytest.fixture
def operator(db: None) -> Client:
    """The browser of somebody who may look at payments and refund them."""
    return staff("billing.view_payment", "billing.add_refundrequest")


def send(client: Client, payment: str, *, confirmed: bool = True, **values: Any) -> Any:
    """Send the form, as if it had been reviewed or for its review."""
    data = {"form_id": str(uuid7()), "reason": "Asked for", **values, **({"_confirmed": "yes"} if confirmed else {})}
    return client.post(page_of(Payment, "refund", payment), data, follow=True)


def refunds_at(shop: Shop) -> list[int]:
    """Return the refunds that Stripe has, in cents."""
    return [refund.amount for refund in shop.api().refunds.list().data]


def test_a_refund_begins_with_all_that_is_left_and_says_what_it_takes(
    shop: Shop, payment: str, operator: Client
) -> None:
    assert page_of(Payment, "refund", payment) in operator.get(page_of(Payment, "change", payment)).text
    page = operator.get(page_of(Payment, "refund", payment))
    assert "Left to refund $10.00 Its credit $10.00, of which $3.00 is unspent" in words_of(page)
    assert re.search(r'name="amount" value="10"', page.text)
    review = words_of(send(operator, payment, confirmed=False, amount="4"))
    assert "Goes back to the card $4.00 Left to refund after $6.00 Credit taken back $4.00 Reason Asked for" in review
    assert "$1.00 of that credit is spent or expired" in review
    assert refunds_at(shop) == []


def test_a_refund_is_made_once_a_form_and_kept(shop: Shop, payment: str, operator: Client) -> None:
    form = str(uuid7())
    assert "$4.00 goes back to the card." in words_of(send(operator, payment, amount="4", form_id=form))
    assert "This form was sent before" in words_of(send(operator, payment, amount="4", form_id=form))
    assert refunds_at(shop) == [400]
    assert balance_of(shop.account.id).posted == -USD
    row = RefundRequest.objects.get()
    assert (row.amount, row.reason, row.actor_id) == (4 * USD, "Asked for", int(operator.session["_auth_user_id"]))
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.change_message) == (payment, f"Refunded $4.00 ({row.refund_id}): Asked for")
    page = words_of(operator.get(page_of(Payment, "change", payment)))
    assert "Asked for" not in page  # what operators asked for has its own permission
    seer = staff("billing.view_payment", "billing.view_refundrequest", "billing.view_reversal")
    assert "Asked for" in words_of(seer.get(page_of(Payment, "change", payment)))


def test_the_rest_is_what_the_next_form_begins_with(shop: Shop, payment: str, operator: Client) -> None:
    send(operator, payment, amount="4.25")
    assert 'name="amount" value="5.75"' in operator.get(page_of(Payment, "refund", payment)).text
    send(operator, payment, amount="5.75")
    assert "All of this payment was refunded already." in words_of(
        operator.get(page_of(Payment, "refund", payment), follow=True)
    )
    assert page_of(Payment, "refund", payment) not in operator.get(page_of(Payment, "change", payment)).text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"amount": "1.001"}, "A refund is in whole cents."),
        ({"amount": "0"}, "A refund is above zero."),
        ({"amount": "10.01"}, "at most $10.00, which is left of it"),
        ({"amount": "1", "reason": ""}, "This field is required."),
    ],
)
def test_a_wrong_refund_comes_back_with_its_reason(
    shop: Shop, payment: str, operator: Client, values: dict[str, Any], message: str
) -> None:
    answer = send(operator, payment, **values)
    assert message in words_of(answer)
    assert f'value="{values["amount"]}"' in answer.content.decode()
    assert refunds_at(shop) == []
    assert not LogEntry.objects.exists()


def test_a_refund_without_an_answer_is_offered_again(shop: Shop, payment: str, operator: Client) -> None:
    form = str(uuid7())
    shop.fake.fail_next(*["500"] * 3)
    assert "Stripe has a problem" in words_of(send(operator, payment, amount="4", form_id=form))
    page = operator.get(page_of(Payment, "refund", payment))
    assert "A refund of $4.00 is sent again below." in words_of(page)
    assert form in page.text
    assert 'name="amount" value="4"' in page.text
    assert "$4.00 goes back" in words_of(send(operator, payment, amount="4", form_id=form))
    assert refunds_at(shop) == [400]


def test_what_stripe_refuses_is_told(shop: Shop, payment: str, operator: Client) -> None:
    shop.fake.refund(payment)
    assert "already been refunded" in words_of(send(operator, payment, amount="4"))


def test_a_disputed_payment_and_payments_that_are_off_say_why(
    shop: Shop, payment: str, operator: Client, settings: LazySettings
) -> None:
    shop.fake.dispute(payment)
    hand_in(shop.fake.events())
    assert "A dispute about this payment is open" in words_of(
        operator.get(page_of(Payment, "refund", payment), follow=True)
    )
    assert "A dispute about this payment is open" in words_of(operator.get(page_of(Payment, "change", payment)))
    assert "A dispute about this payment is open" in words_of(send(operator, payment, amount="4"))
    settings.STRIPE_SECRET_KEY = ""
    assert "Payments are off" in words_of(operator.get(page_of(Payment, "refund", payment), follow=True))
    assert "Payments are off" in words_of(send(operator, payment, amount="4"))
    assert not RefundRequest.objects.exists()


def test_another_kind_of_staff_is_refused(shop: Shop, payment: str) -> None:
    for client in (staff("billing.view_payment", "billing.change_payment"), staff("billing.add_refundrequest")):
        assert client.get(page_of(Payment, "refund", payment)).status_code == 403
        assert send(client, payment, amount="4").status_code == 403
    assert refunds_at(shop) == []


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ({"q": "PI"}, True),
        ({"q": "SLUG"}, True),
        ({"q": "CHARGE"}, True),
        ({"q": "pi_other"}, False),
        ({"refunded": "no"}, True),
        ({"refunded": "part"}, False),
        ({"refunded": "all"}, False),
    ],
)
def test_payments_are_found(shop: Shop, payment: str, operator: Client, query: dict[str, str], is_found: bool) -> None:
    known = {"PI": payment, "SLUG": shop.account.workspace.slug, "CHARGE": shop.charge_of(payment)}
    page = operator.get(page_of(Payment, "changelist"), {name: known.get(word, word) for name, word in query.items()})
    assert (page_of(Payment, "change", payment) in page.text) is is_found


def test_a_payment_leads_to_its_order_workspace_and_receipt(shop: Shop, payment: str, operator: Client) -> None:
    row = Payment.objects.select_related("order").get()
    page = operator.get(page_of(Payment, "change", payment)).text
    assert f"/admin/billing/creditorder/{row.order_id}/change/" in page
    assert f"/admin/accounts/workspace/{shop.account.id}/change/" in page
    assert f'href="{row.receipt_url}" target="_blank" rel="noopener noreferrer"' in page


def test_a_comparison_is_a_table_with_what_is_wrong_first(client: Client) -> None:
    run = reconciliations.begin()
    checks = [
        reconciliations.Check("stripe_payments", 12, ["payment pi_1"], []),
        reconciliations.Check("ledger_invariants", 3, [], ["wallet 7 is <odd>", *["x"] * 205]),
    ]
    reconciliations.finish(run, checks)
    reconciliations.begin()
    seer = staff("billing.view_reconciliation")
    page = words_of(seer.get(page_of(Reconciliation, "change", run)))
    assert "ledger invariants 3 0 206 Wrong: wallet 7 is <odd>" in page
    assert "and 6 more that are wrong: the log has all of them. stripe payments 12 1 0 Put right: payment pi_1" in page
    assert "{" not in page
    broken_off = Reconciliation.objects.get(is_clean=None)
    assert "has not come to its end" in words_of(seer.get(page_of(Reconciliation, "change", broken_off.pk)))
    rows = seer.get(page_of(Reconciliation, "changelist")).text
    assert re.search(r'field-looked_at">15<.*field-put_right">1<.*field-wrong">206<', rows)


def test_a_plan_that_is_paid_for_is_not_ended_from_the_list(shop: Shop) -> None:
    set_tier(shop.account.id, tier_slug="vip1")
    row = Subscription.objects.get()
    Subscription.objects.update(stripe_id="sub_1", source="stripe")
    client = staff("billing.view_subscription", "billing.change_subscription")
    act(client, Subscription, "end", row)
    assert "pays for its plan" in words_of(client.get(page_of(Subscription, "changelist")))
    row.refresh_from_db()
    assert row.ends_at is None
    Subscription.objects.update(stripe_id=None)
    act(client, Subscription, "end", row)
    row.refresh_from_db()
    assert row.ends_at is not None
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Ended from the list."]


def test_an_id_that_reads_like_a_quoted_one_has_its_pages(shop: Shop, payment: str, operator: Client) -> None:
    first = Payment.objects.get()
    row = Payment.objects.create(
        stripe_id="pi_3Ab_5F", workspace=first.workspace, invoice_id="in_2Fx", amount=USD, paid_at=first.paid_at
    )
    page = operator.get(page_of(Payment, "change", row.pk))
    assert (page.status_code, "/admin/billing/payment/pi_5F3Ab_5F5F/refund/" in page.text) == (200, True)
    assert operator.get(page_of(Payment, "refund", row.pk)).status_code == 200
