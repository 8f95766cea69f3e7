"""Operators refund payments: once per form, never more than is left, with who and why kept here and at Stripe."""

import datetime as dt
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, transaction

from billing.models import Payment, RefundRequest
from billing.payments.errors import PaymentsOffError, StripeRefusedError, StripeUnreachableError
from billing.payments.objects import Refund
from billing.payments.refunds import RefundError, Takes, left_of, refund_payment, takes, waiting_of
from billing.selectors.ledger import balance_of
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from lumyx.lib.money import NANO_PER_USD
from tests.billing.builders import admit_one, run_sql, settle_one
from tests.billing.payments.conftest import Shop, hand_in

pytestmark = pytest.mark.django_db
USD = NANO_PER_USD


@pytest.fixture
def payment(shop: Shop) -> str:
    """A payment of $10 that is in the books."""
    payment = shop.buy(10)
    hand_in(shop.fake.events())
    return payment


def refund(shop: Shop, payment: str, usd: float | None = None, **changes: Any) -> Refund:
    """Refund as the workspace's owner would, were they an operator."""
    given = {"reason": "Bought twice", "actor_id": shop.account.workspace.owner_id, **changes}
    return refund_payment(payment, amount=None if usd is None else int(usd * USD), **given)


def refunds_at(shop: Shop) -> list[Any]:
    """Return the refunds that Stripe has."""
    return list(shop.api().refunds.list().data)


def test_a_refund_gives_all_back_and_takes_the_credit_at_once(shop: Shop, payment: str) -> None:
    made = refund(shop, payment)
    assert (made.amount, made.status) == (1000, "succeeded")
    assert balance_of(shop.account.id).posted == 0
    assert Payment.objects.get().refunded == 10 * USD
    row = RefundRequest.objects.get()
    assert (row.payment_id, row.amount, row.reason, row.refund_id, row.error) == (
        *(payment, 10 * USD, "Bought twice"),
        *(made.id, ""),
    )
    assert row.actor == shop.account.workspace.owner
    (at_stripe,) = refunds_at(shop)
    assert at_stripe.metadata["reason"] == "Bought twice"
    assert at_stripe.metadata["refund_request"] == str(row.pk)
    assert at_stripe.metadata["operator"] == str(row.actor_id)
    hand_in(shop.fake.events())  # the event comes as well, and changes nothing
    assert balance_of(shop.account.id).posted == 0


def test_parts_go_back_until_nothing_is_left(shop: Shop, payment: str) -> None:
    refund(shop, payment, 4.25)
    assert balance_of(shop.account.id).posted == int(5.75 * USD)
    with pytest.raises(RefundError, match=r"at most \$5\.75, which is left"):
        refund(shop, payment, 5.76)
    assert refund(shop, payment).amount == 575
    assert left_of(Payment.objects.get()) == 0
    with pytest.raises(RefundError, match="refunded already"):
        refund(shop, payment)
    assert [row.amount for row in refunds_at(shop)] == [575, 425]


def test_the_same_form_refunds_once(shop: Shop, payment: str) -> None:
    form = uuid7()
    first = refund(shop, payment, 3, request_id=form)
    assert refund(shop, payment, 3, request_id=form) == first
    assert refund(shop, payment, request_id=form) == first
    with pytest.raises(RefundError, match="sent before with another amount"):
        refund(shop, payment, 4, request_id=form)
    assert len(refunds_at(shop)) == 1
    assert balance_of(shop.account.id).posted == 7 * USD


def test_a_form_is_of_one_payment(shop: Shop, payment: str) -> None:
    other, form = shop.buy(10), uuid7()
    hand_in(shop.fake.events())
    refund(shop, payment, 3, request_id=form)
    with pytest.raises(RefundError, match="sent before"):
        refund(shop, other, 3, request_id=form)


def test_without_an_answer_the_same_refund_is_sent_again_before_any_other(shop: Shop, payment: str) -> None:
    form = uuid7()
    shop.fake.fail_next(*["500"] * 3)
    with pytest.raises(StripeUnreachableError):
        refund(shop, payment, 3, request_id=form)
    waiting = waiting_of(Payment.objects.get())
    assert waiting is not None
    assert (waiting.pk, waiting.amount) == (form, 3 * USD)
    with pytest.raises(RefundError, match=r"A refund of \$3\.00 of this payment got no answer"):
        refund(shop, payment, 2)
    assert refund(shop, payment, 3, request_id=form).amount == 300
    assert waiting_of(Payment.objects.get()) is None
    assert refund(shop, payment, 2).amount == 200
    assert balance_of(shop.account.id).posted == 5 * USD


def test_an_answer_that_was_lost_on_the_way_is_not_another_refund(shop: Shop, payment: str) -> None:
    form = uuid7()
    made = refund(shop, payment, 3, request_id=form)
    run_sql("SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE billing_refundrequest DISABLE TRIGGER USER")
    RefundRequest.objects.update(refund_id="")  # as after a crash between Stripe's answer and our note of it
    run_sql("ALTER TABLE billing_refundrequest ENABLE TRIGGER USER")
    assert refund(shop, payment, 3, request_id=form).id == made.id
    assert RefundRequest.objects.get().refund_id == made.id
    assert len(refunds_at(shop)) == 1


def test_after_a_day_an_unanswered_form_is_dead_and_stands_in_nobodys_way(
    shop: Shop, payment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = uuid7()
    shop.fake.fail_next(*["500"] * 3)
    with pytest.raises(StripeUnreachableError):
        refund(shop, payment, 3, request_id=form)
    later = clock.now() + dt.timedelta(hours=25)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(RefundError, match="older than a day"):
        refund(shop, payment, 3, request_id=form)
    assert refund(shop, payment, 2).amount == 200


def test_what_stripe_refuses_is_kept_and_told(shop: Shop, payment: str) -> None:
    shop.fake.refund(payment)  # at Stripe; we have not heard of it
    form = uuid7()
    with pytest.raises(StripeRefusedError, match="already been refunded"):
        refund(shop, payment, request_id=form)
    assert "already been refunded" in RefundRequest.objects.get().error
    with pytest.raises(RefundError, match="refused this refund before"):
        refund(shop, payment, request_id=form)


def test_a_refund_whose_credit_cannot_be_taken_now_is_still_a_refund(
    shop: Shop, payment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_payment_id: str) -> None:
        raise StripeUnreachableError("Stripe cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr("billing.payments.charges.apply_payment", away)
        assert refund(shop, payment, 6).amount == 600
    assert balance_of(shop.account.id).posted == 10 * USD
    assert left_of(Payment.objects.get()) == 4 * USD
    hand_in(shop.fake.events())
    assert balance_of(shop.account.id).posted == 4 * USD
    assert left_of(Payment.objects.get()) == 4 * USD


def test_a_refund_that_failed_can_be_made_again(shop: Shop, payment: str) -> None:
    made = refund(shop, payment)
    shop.fake.fail_refund(made.id)
    hand_in(shop.fake.events())
    assert left_of(Payment.objects.get()) == 10 * USD
    assert refund(shop, payment).id != made.id
    assert balance_of(shop.account.id).posted == 0


@pytest.mark.parametrize(
    ("usd", "changes", "message"),
    [
        (0, {}, "above zero"),
        (-1, {}, "above zero"),
        (10.01, {}, "at most"),
        (1.001, {}, "whole cents"),
        (1, {"reason": " "}, "needs a reason"),
        (1, {"reason": "x" * 501}, "needs a reason of at most 500"),
    ],
)
def test_what_cannot_be_given_back_is_not_asked_for(
    shop: Shop, payment: str, usd: float, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RefundError, match=message):
        refund(shop, payment, usd, **changes)
    assert refunds_at(shop) == []
    assert not RefundRequest.objects.exists()


def test_an_unknown_payment_is_refused(shop: Shop) -> None:
    with pytest.raises(RefundError, match="There is no payment pi_none"):
        refund(shop, "pi_none")


@pytest.mark.parametrize(("won", "message"), [(None, "is open"), (False, "taken this payment back")])
def test_a_disputed_payment_is_not_refunded(shop: Shop, payment: str, won: bool | None, message: str) -> None:
    dispute = shop.fake.dispute(payment)
    if won is not None:
        shop.fake.close_dispute(dispute["id"], won=won)
    hand_in(shop.fake.events())
    with pytest.raises(RefundError, match=message):
        refund(shop, payment)
    assert not RefundRequest.objects.exists()


def test_a_won_dispute_leaves_a_payment_to_refund(shop: Shop, payment: str) -> None:
    dispute = shop.fake.dispute(payment)
    hand_in(shop.fake.events())
    shop.fake.close_dispute(dispute["id"], won=True)
    hand_in(shop.fake.events())
    assert refund(shop, payment).amount == 1000
    assert balance_of(shop.account.id).posted == 0


def test_where_payments_are_off_nothing_is_written(shop: Shop, payment: str, settings: LazySettings) -> None:
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(PaymentsOffError):
        refund(shop, payment)
    assert not RefundRequest.objects.exists()


def test_what_a_refund_takes_is_known_before(shop: Shop, payment: str) -> None:
    request = shop.account.request(7 * USD)
    admit_one(request)
    settle_one(request, 7 * USD)
    row = Payment.objects.get()
    assert takes(row, 10 * USD) == Takes(credit=10 * USD, unspent=3 * USD)
    assert takes(row, 2 * USD) == Takes(credit=2 * USD, unspent=2 * USD)
    refund(shop, payment)
    assert balance_of(shop.account.id).by_kind == {"overdraft": -7 * USD}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_refundrequest SET amount = 1",
        "UPDATE billing_refundrequest SET refund_id = 're_other'",
        "UPDATE billing_refundrequest SET refund_id = '', error = 'x'",
        "DELETE FROM billing_refundrequest WHERE true",
    ],
)
def test_requests_stay_as_they_are(shop: Shop, payment: str, statement: str) -> None:
    refund(shop, payment, 1)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run_sql(statement)
