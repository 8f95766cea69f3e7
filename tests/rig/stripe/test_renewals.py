"""Renewals on the clock: periods, drafts, failures, retries, recovery and ends."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import stripe

from rig.stripe.periods import add_periods, next_end
from tests.rig.stripe.conftest import DAY, START, Plans

HOUR = 3600
FEB_28 = START + 28 * DAY


def _at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%y-%m-%d")


def test_fourteen_months_end_where_the_anchor_says(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(_at(2027, 4, 1))
    rows = plans.invoices()
    ends = ["02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31"]
    expected = [f"26-{end}" for end in ends] + ["27-01-31", "27-02-28", "27-03-31"]
    assert [_day(row.created) for row in rows[1:]] == expected
    assert {row.status for row in rows} == {"paid"}
    assert {row.billing_reason for row in rows[1:]} == {"subscription_cycle"}
    for row, following in pairwise(rows):
        assert row.lines.data[0].period.end == following.lines.data[0].period.start
    item = plans.get(subscription.id).items.data[0]
    assert (_day(item.current_period_start), _day(item.current_period_end)) == ("27-03-31", "27-04-30")
    numbers = [row.number for row in rows]
    assert len(set(numbers)) == 15


def test_each_event_has_the_time_at_which_it_happened(plans: Plans) -> None:
    plans.subscribe()
    seen = len(plans.fake.events())
    plans.fake.set_clock(_at(2026, 5, 1))
    events = plans.fake.events()[seen:]
    times = [event["created"] for event in events]
    assert times == sorted(times)
    paid = [event["created"] for event in events if event["type"] == "invoice.paid"]
    assert paid == [_at(2026, 2, 28, 13), _at(2026, 3, 31, 13), _at(2026, 4, 30, 13)]


@pytest.mark.parametrize(
    ("anchor", "interval", "ends"),
    [
        ((2024, 2, 29), "year", ["25-02-28", "26-02-28", "27-02-28", "28-02-29"]),
        ((2026, 1, 30), "month", ["26-02-28", "26-03-30", "26-04-30"]),
        ((2026, 12, 31), "month", ["27-01-31", "27-02-28", "27-03-31"]),
        ((2026, 1, 1), "week", ["26-01-08", "26-01-15"]),
    ],
)
def test_periods_follow_the_anchor(anchor: tuple[int, ...], interval: str, ends: list[str]) -> None:
    start, recurring = _at(*anchor), {"interval": interval, "interval_count": 1}
    found = [add_periods(start, recurring, number) for number in range(1, len(ends) + 1)]
    assert [_day(end) for end in found] == ends
    assert next_end(start, recurring, found[0]) == found[1]
    assert next_end(start, recurring, found[0] - 1) == found[0]


def test_a_renewal_is_a_draft_for_an_hour(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(FEB_28)
    draft = plans.invoices()[-1]
    assert (draft.status, draft.number, draft.hosted_invoice_url) == ("draft", None, None)
    assert (draft.period_start, draft.period_end) == (START, FEB_28)
    assert plans.get(subscription.id).latest_invoice == draft.id
    changed = plans.fake.events()[-2]
    assert changed["type"] == "customer.subscription.updated"
    assert set(changed["data"]["previous_attributes"]) == {"items", "latest_invoice"}
    plans.fake.set_clock(FEB_28 + HOUR)
    paid = plans.api.invoices.retrieve(draft.id)
    assert (paid.status, paid.status_transitions.finalized_at) == ("paid", FEB_28 + HOUR)


def _fail_renewal(plans: Plans, behaviour: str = "decline") -> tuple[Any, Any]:
    subscription = plans.subscribe()
    plans.fake.set_card(plans.customer, behaviour)
    plans.fake.set_clock(FEB_28 + HOUR)
    return plans.get(subscription.id), plans.invoices()[-1]


def test_a_failed_renewal_is_tried_after_1_3_and_5_days_and_then_it_ends(plans: Plans) -> None:
    subscription, invoice = _fail_renewal(plans)
    assert (subscription.status, invoice.status, invoice.attempt_count) == ("past_due", "open", 1)
    waits, at = [], FEB_28 + HOUR
    while invoice.next_payment_attempt:
        waits.append((invoice.next_payment_attempt - at) // DAY)
        at = invoice.next_payment_attempt
        plans.fake.set_clock(at)
        invoice = plans.api.invoices.retrieve(invoice.id)
    assert (waits, invoice.attempt_count) == ([1, 3, 5], 4)
    ended = plans.get(subscription.id)
    assert (ended.status, ended.ended_at, ended.cancellation_details.reason) == ("canceled", at, "payment_failed")
    assert plans.types().count("invoice.payment_failed") == 4
    assert plans.types()[-1] == "customer.subscription.deleted"
    plans.fake.set_clock(at + 90 * DAY)
    assert len(plans.invoices()) == 2


def test_a_subscription_may_be_left_unpaid_and_recover(plans: Plans) -> None:
    plans.fake.set_after_retries("unpaid")
    subscription, invoice = _fail_renewal(plans)
    plans.fake.set_clock(FEB_28 + 10 * DAY)
    assert plans.get(subscription.id).status == "unpaid"
    plans.fake.set_clock(_at(2026, 4, 2))
    latest = plans.invoices()[-1]
    assert (latest.status, latest.auto_advance) == ("draft", False)
    with pytest.raises(stripe.CardError):
        plans.api.invoices.pay(latest.id)
    assert plans.get(subscription.id).status == "unpaid"
    plans.fake.set_card(plans.customer, "succeed")
    plans.api.invoices.pay(invoice.id)
    assert plans.get(subscription.id).status == "unpaid"
    plans.api.invoices.pay(latest.id)
    assert plans.get(subscription.id).status == "active"


def test_a_retry_that_succeeds_makes_it_active_again(plans: Plans) -> None:
    subscription, invoice = _fail_renewal(plans)
    plans.fake.change_card(plans.customer)
    seen = len(plans.fake.events())
    plans.fake.set_clock(FEB_28 + 2 * DAY)
    assert plans.get(subscription.id).status == "active"
    assert plans.api.invoices.retrieve(invoice.id).status == "paid"
    assert plans.types(seen) == [
        "charge.succeeded", "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded",
        "invoice_payment.paid", "customer.subscription.updated",
    ]  # fmt: skip


def test_a_card_that_must_authenticate_waits_for_its_owner(plans: Plans) -> None:
    subscription, invoice = _fail_renewal(plans, "authenticate")
    assert (subscription.status, invoice.status) == ("past_due", "open")
    names = plans.types()
    assert names[-4:-1] == [
        "payment_intent.requires_action", "invoice.payment_action_required", "invoice.payment_failed",
    ]  # fmt: skip
    plans.fake.authenticate(invoice.id)
    assert plans.api.invoices.retrieve(invoice.id).status == "paid"
    assert plans.get(subscription.id).status == "active"


def test_paying_by_hand_says_why_it_failed_and_leaves_the_schedule(plans: Plans) -> None:
    _, invoice = _fail_renewal(plans)
    with pytest.raises(stripe.CardError, match="declined") as caught:
        plans.api.invoices.pay(invoice.id)
    assert caught.value.code == "card_declined"
    again = plans.api.invoices.retrieve(invoice.id)
    assert (again.attempt_count, again.next_payment_attempt) == (1, invoice.next_payment_attempt)
    plans.fake.set_card(plans.customer, "authenticate")
    with pytest.raises(stripe.CardError) as asked:
        plans.api.invoices.pay(invoice.id)
    assert asked.value.code == "invoice_payment_intent_requires_action"
    assert plans.api.invoices.pay(invoice.id, {"paid_out_of_band": True}).status == "paid"
    [payment] = plans.api.invoice_payments.list({"invoice": invoice.id}).data
    assert payment.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        plans.api.invoices.pay(invoice.id)


def test_a_confirmed_intent_pays_its_invoice(plans: Plans) -> None:
    subscription, invoice = _fail_renewal(plans)
    plans.fake.set_card(plans.customer, "succeed")
    [payment] = plans.api.invoice_payments.list({"invoice": invoice.id}).data
    intent = payment.payment.payment_intent
    plans.api.payment_intents.confirm(intent, {"payment_method": subscription.default_payment_method})
    assert plans.api.invoices.retrieve(invoice.id).status == "paid"
    assert plans.get(subscription.id).status == "active"


@pytest.mark.parametrize(("verb", "status"), [("void_invoice", "void"), ("mark_uncollectible", "uncollectible")])
def test_an_invoice_is_voided_or_written_off(plans: Plans, verb: str, status: str) -> None:
    subscription, invoice = _fail_renewal(plans)
    getattr(plans.fake, verb)(invoice.id)
    closed = plans.api.invoices.retrieve(invoice.id)
    assert (closed.status, closed.next_payment_attempt) == (status, None)
    assert plans.get(subscription.id).status == "active"
    with pytest.raises(stripe.InvalidRequestError):
        plans.api.invoices.mark_uncollectible(invoice.id)
    if status == "uncollectible":
        plans.fake.set_card(plans.customer, "succeed")
        assert plans.api.invoices.pay(invoice.id).status == "paid"


def test_a_subscription_ends_with_its_period_when_asked_to(plans: Plans) -> None:
    subscription = plans.subscribe()
    planned = plans.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (planned.status, planned.cancel_at, planned.canceled_at) == ("active", FEB_28, START)
    changed = plans.fake.events()[-1]["data"]["previous_attributes"]
    assert changed["cancel_at_period_end"] is False
    resumed = plans.api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (resumed.cancel_at, resumed.canceled_at, resumed.cancellation_details.reason) == (None, None, None)
    plans.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    plans.fake.set_clock(FEB_28 + DAY)
    ended = plans.get(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", FEB_28)
    assert len(plans.invoices()) == 1
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription"):
        plans.api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})


def test_a_subscription_ends_at_once_or_at_a_time(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.api.subscriptions.update(subscription.id, {"cancel_at": START + 3 * DAY})
    plans.fake.set_clock(START + 3 * DAY)
    assert plans.get(subscription.id).ended_at == START + 3 * DAY
    other = plans.subscribe()
    details = {"cancellation_details": {"comment": "too dear"}}
    ended = plans.api.subscriptions.cancel(other.id, details)
    assert (ended.status, ended.cancellation_details.comment) == ("canceled", "too dear")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        plans.api.subscriptions.cancel(other.id)
    assert caught.value.http_status == 404


def test_what_is_canceled_is_not_collected_any_more(plans: Plans) -> None:
    subscription, invoice = _fail_renewal(plans)
    plans.api.subscriptions.cancel(subscription.id)
    plans.fake.set_card(plans.customer, "succeed")
    plans.fake.set_clock(FEB_28 + 30 * DAY)
    left = plans.api.invoices.retrieve(invoice.id)
    assert (left.status, left.attempt_count, left.next_payment_attempt) == ("open", 1, None)
    assert plans.api.invoices.pay(invoice.id).status == "paid"
    assert plans.get(subscription.id).status == "canceled"


def test_a_deleted_customer_has_no_subscription(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.api.customers.delete(plans.customer)
    assert plans.get(subscription.id).status == "canceled"
    assert plans.types()[-2:] == ["customer.subscription.deleted", "customer.deleted"]


def test_without_a_card_a_renewal_fails(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.api.payment_methods.detach(subscription.default_payment_method)
    plans.fake.set_clock(FEB_28 + HOUR)
    assert plans.get(subscription.id).status == "past_due"
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        plans.api.invoices.pay(plans.invoices()[-1].id)
    assert plans.fake.pay_invoice(plans.invoices()[-1].id)["status"] == "paid"
    assert plans.get(subscription.id).status == "active"
