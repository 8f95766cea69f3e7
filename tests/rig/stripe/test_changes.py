"""Changes of plans: prorations by the second, credit, previews, payments that fail, and schedules."""

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.rig.stripe.conftest import DAY, START, Plans

HALF, FEB_28 = START + 14 * DAY, START + 28 * DAY
NOW = {"proration_behavior": "always_invoice"}


def _lines(invoice: Any) -> list[tuple[int, int, int, bool]]:
    return [
        (line.amount, line.period.start, line.period.end, line.parent.subscription_item_details.proration)
        for line in invoice.lines.data
    ]


def test_an_upgrade_is_billed_at_once_by_seconds(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    changed = plans.switch(subscription, "pro", **NOW)
    invoice = plans.invoices()[-1]
    assert _lines(invoice) == [(-1000, HALF, FEB_28, True), (2500, HALF, FEB_28, True)]
    assert (invoice.total, invoice.status, invoice.billing_reason) == (1500, "paid", "subscription_update")
    assert (changed.latest_invoice, changed.items.data[0].price.id) == (invoice.id, plans.prices["pro"])
    assert changed.items.data[0].current_period_end == FEB_28
    credited = invoice.lines.data[0].parent.subscription_item_details.proration_details.credited_items
    assert (credited.invoice, len(credited.invoice_line_items)) == (subscription.latest_invoice, 1)
    update = plans.fake.events()[-1]
    assert update["type"] == "customer.subscription.updated"
    assert update["data"]["previous_attributes"]["items"]["data"][0]["price"]["id"] == plans.prices["plus"]
    plans.fake.set_clock(FEB_28 + 3600)
    assert _lines(plans.invoices()[-1])[0][0] == 5000


def test_a_proration_date_is_when_it_is_counted_from(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    plans.switch(subscription, "pro", **NOW, proration_date=START + 7 * DAY)
    assert [line[0] for line in _lines(plans.invoices()[-1])] == [-1500, 3750]
    with pytest.raises(stripe.InvalidRequestError, match="current period"):
        plans.switch(subscription, "plus", **NOW, proration_date=START - 1)


def test_more_credit_than_charge_stays_with_the_customer(plans: Plans) -> None:
    subscription = plans.subscribe("pro")
    plans.fake.set_clock(HALF)
    plans.switch(subscription, "plus", **NOW)
    invoice = plans.invoices()[-1]
    assert (invoice.total, invoice.amount_due, invoice.status) == (-1500, 0, "paid")
    assert (invoice.starting_balance, invoice.ending_balance) == (0, -1500)
    assert plans.balance() == -1500
    assert plans.api.invoice_payments.list({"invoice": invoice.id}).data == []
    plans.fake.set_clock(FEB_28 + 3600)
    renewal = plans.invoices()[-1]
    assert (renewal.total, renewal.amount_due, renewal.amount_paid) == (2000, 500, 500)
    assert (renewal.starting_balance, renewal.ending_balance) == (-1500, 0)
    assert plans.balance() == 0


def test_credit_that_covers_a_renewal_pays_it_alone(plans: Plans) -> None:
    subscription = plans.subscribe("pro-year")
    plans.switch(subscription, "plus-year", **NOW)
    assert plans.balance() == -30000
    plans.fake.set_clock(int(datetime(2027, 2, 1, tzinfo=UTC).timestamp()))
    renewal = plans.invoices()[-1]
    assert (renewal.status, renewal.amount_due, renewal.attempt_count) == ("paid", 0, 0)
    assert plans.balance() == -10000
    assert plans.types().count("charge.succeeded") == 1


def test_less_than_a_charge_can_be_waits_on_the_balance(plans: Plans) -> None:
    plans.subscribe()
    plans.fake.state.objects[plans.customer]["balance"] = -1970
    plans.fake.set_clock(FEB_28 + 3600)
    first = plans.invoices()[-1]
    assert (first.status, first.amount_due, first.ending_balance) == ("paid", 0, 30)
    plans.fake.set_clock(START + 60 * DAY)
    second = plans.invoices()[-1]
    assert (second.starting_balance, second.amount_paid, second.ending_balance) == (30, 2030, 0)


def test_prorations_can_wait_for_the_renewal_or_not_be_made(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    plans.switch(subscription, "pro", proration_behavior="create_prorations")
    assert len(plans.invoices()) == 1
    plans.fake.set_clock(FEB_28 + 3600)
    assert [line[0] for line in _lines(plans.invoices()[-1])] == [-1000, 2500, 5000]
    plans.switch(plans.get(subscription.id), "plus", proration_behavior="none")
    plans.fake.set_clock(START + 60 * DAY)
    assert [line[0] for line in _lines(plans.invoices()[-1])] == [2000]


def test_another_interval_begins_a_new_period(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    changed = plans.switch(subscription, "plus-year", **NOW)
    year_on = int(datetime(2027, 2, 14, 12, tzinfo=UTC).timestamp())
    assert _lines(plans.invoices()[-1]) == [(-1000, HALF, FEB_28, True), (20000, HALF, year_on, False)]
    item = changed.items.data[0]
    assert (item.current_period_start, item.current_period_end) == (HALF, year_on)
    assert changed.billing_cycle_anchor == HALF
    plans.fake.set_clock(START + 60 * DAY)
    assert len(plans.invoices()) == 2


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [("decline", "card_declined"), ("authenticate", "subscription_payment_intent_requires_action")],
)
def test_an_upgrade_that_is_not_paid_changes_nothing_when_asked_so(plans: Plans, behaviour: str, code: str) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    plans.fake.set_card(plans.customer, behaviour)
    with pytest.raises(stripe.CardError) as caught:
        plans.switch(subscription, "pro", **NOW, payment_behavior="error_if_incomplete", metadata={"a": "b"})
    assert (caught.value.code, caught.value.http_status) == (code, 402)
    assert plans.get(subscription.id).to_dict() == subscription.to_dict()
    assert [row.status for row in plans.invoices()] == ["paid", "void"]
    assert "customer.subscription.updated" not in plans.types()
    assert plans.balance() == 0


def test_credit_comes_back_from_a_voided_upgrade(plans: Plans) -> None:
    subscription = plans.subscribe("pro")
    plans.fake.set_clock(HALF)
    changed = plans.switch(subscription, "plus", **NOW)
    plans.fake.set_card(plans.customer, "decline")
    with pytest.raises(stripe.CardError):
        plans.switch(changed, "pro-year", **NOW, payment_behavior="error_if_incomplete")
    assert plans.balance() == -1500


def test_prorations_that_a_failed_upgrade_took_along_wait_again(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    changed = plans.switch(subscription, "pro", proration_behavior="create_prorations")
    plans.fake.set_card(plans.customer, "decline")
    with pytest.raises(stripe.CardError):
        plans.switch(changed, "pro-year", **NOW, payment_behavior="error_if_incomplete")
    plans.fake.set_card(plans.customer, "succeed")
    plans.fake.set_clock(FEB_28 + 3600)
    assert [line[0] for line in _lines(plans.invoices()[-1])] == [-1000, 2500, 5000]


def test_an_upgrade_can_wait_for_its_payment(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    plans.fake.set_card(plans.customer, "decline")
    waiting = plans.switch(subscription, "pro", **NOW, payment_behavior="pending_if_incomplete")
    assert (waiting.status, waiting.items.data[0].price.id) == ("active", plans.prices["plus"])
    assert waiting.pending_update.subscription_items[0].price.id == plans.prices["pro"]
    plans.fake.set_card(plans.customer, "succeed")
    plans.api.invoices.pay(waiting.latest_invoice)
    made = plans.get(subscription.id)
    assert (made.pending_update, made.items.data[0].price.id) == (None, plans.prices["pro"])
    plans.fake.set_card(plans.customer, "decline")
    dropped = plans.switch(made, "plus-year", **NOW, payment_behavior="pending_if_incomplete")
    plans.fake.set_clock(HALF + DAY)
    assert plans.api.invoices.retrieve(dropped.latest_invoice).status == "void"
    after = plans.get(subscription.id)
    assert (after.pending_update, after.items.data[0].price.id, after.status) == (None, plans.prices["pro"], "active")


def test_an_upgrade_is_made_unpaid_by_default(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_card(plans.customer, "decline")
    changed = plans.switch(subscription, "pro", **NOW)
    assert (changed.status, changed.items.data[0].price.id) == ("past_due", plans.prices["pro"])
    assert plans.invoices()[-1].next_payment_attempt == START + DAY


def _preview(plans: Plans, subscription: Any, **details: Any) -> Any:
    params = {"customer": plans.customer, "subscription": subscription.id, "subscription_details": details}
    return plans.api.invoices.create_preview(params)


def test_a_preview_is_what_will_be_billed_and_stores_nothing(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    items = [{"id": subscription.items.data[0].id, "price": plans.prices["pro"]}]
    before = len(plans.fake.events())
    at_once = _preview(plans, subscription, items=items, proration_behavior="always_invoice", proration_date=HALF)
    later = _preview(plans, subscription, items=items, proration_behavior="create_prorations")
    following = _preview(plans, subscription)
    assert (at_once.amount_due, later.amount_due, following.amount_due) == (1500, 6500, 2000)
    assert following.lines.data[0].period.start == FEB_28
    assert (len(plans.invoices()), len(plans.fake.events())) == (1, before)
    assert plans.get(subscription.id).to_dict() == subscription.to_dict()
    plans.switch(subscription, "pro", **NOW)
    assert plans.invoices()[-1].amount_paid == at_once.amount_due
    plans.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        _preview(plans, subscription)
    assert caught.value.code == "invoice_upcoming_none"


def test_what_is_left_is_credited_when_a_cancellation_asks_for_it(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_clock(HALF)
    plans.api.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    assert plans.balance() == -1000


def test_wrong_items_are_refused(plans: Plans) -> None:
    subscription = plans.subscribe()
    for params, text in (
        ({"items": [{"price": plans.prices["pro"]}]}, "one item per subscription"),
        ({"proration_behavior": "sometimes", "items": [{"id": subscription.items.data[0].id}]}, "proration_behavior"),
        ({"payment_behavior": "default_incomplete"}, "payment_behavior"),
        ({"itmes": "x"}, "unknown parameter"),
        ({"default_payment_method": "pm_none"}, "No such payment_method"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=text):
            plans.api.subscriptions.update(subscription.id, params)
    assert plans.get(subscription.id).to_dict() == subscription.to_dict()


def _plan_downgrade(plans: Plans, subscription: Any, plan: str) -> Any:
    schedule = plans.api.subscription_schedules.create({"from_subscription": subscription.id})
    current, item = schedule.phases[0], subscription.items.data[0]
    now = {"items": [{"price": item.price.id, "quantity": 1}], "start_date": current.start_date}
    following = {"items": [{"price": plans.prices[plan], "quantity": 1}], "proration_behavior": "none"}
    params = {"end_behavior": "release", "phases": [now | {"end_date": current.end_date}, following]}
    return plans.api.subscription_schedules.update(schedule.id, params)


def test_a_downgrade_waits_for_the_periods_end_and_the_schedule_goes(plans: Plans) -> None:
    subscription = plans.subscribe("pro")
    schedule = _plan_downgrade(plans, subscription, "plus")
    assert plans.get(subscription.id).schedule == schedule.id
    assert [(phase.start_date, phase.end_date) for phase in schedule.phases] == [
        (START, FEB_28),
        (FEB_28, FEB_28 + 28 * DAY),
    ]
    plans.fake.set_clock(FEB_28 - 1)
    assert plans.get(subscription.id).items.data[0].price.id == plans.prices["pro"]
    plans.fake.set_clock(FEB_28 + 3600)
    renewal = plans.invoices()[-1]
    assert (_lines(renewal)[0][0], len(renewal.lines.data)) == (2000, 1)
    assert plans.api.subscription_schedules.retrieve(schedule.id).current_phase.start_date == FEB_28
    plans.fake.set_clock(FEB_28 + 28 * DAY)
    done = plans.api.subscription_schedules.retrieve(schedule.id)
    assert (done.status, done.released_subscription, done.subscription) == ("released", subscription.id, None)
    after = plans.get(subscription.id)
    assert (after.schedule, after.status, after.items.data[0].price.id) == (None, "active", plans.prices["plus"])


def test_a_year_can_be_followed_by_months(plans: Plans) -> None:
    subscription = plans.subscribe("plus-year")
    _plan_downgrade(plans, subscription, "plus")
    plans.fake.set_clock(int(datetime(2027, 3, 2, tzinfo=UTC).timestamp()))
    assert [row.total for row in plans.invoices()] == [20000, 2000, 2000]


def test_a_released_schedule_changes_nothing(plans: Plans) -> None:
    subscription = plans.subscribe("pro")
    schedule = _plan_downgrade(plans, subscription, "plus")
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        plans.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        plans.api.subscription_schedules.create({"from_subscription": subscription.id})
    assert plans.api.subscription_schedules.release(schedule.id).status == "released"
    assert plans.types()[-2:] == ["subscription_schedule.released", "customer.subscription.updated"]
    plans.fake.set_clock(FEB_28 + 3600)
    assert plans.invoices()[-1].total == 5000
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        plans.api.subscription_schedules.release(schedule.id)


def test_a_canceled_subscription_takes_its_schedule_along(plans: Plans) -> None:
    subscription = plans.subscribe("pro")
    schedule = _plan_downgrade(plans, subscription, "plus")
    plans.api.subscriptions.cancel(subscription.id)
    assert plans.api.subscription_schedules.retrieve(schedule.id).status == "canceled"
    plans.fake.set_clock(FEB_28 + DAY)
    assert len(plans.invoices()) == 1


def test_phases_that_do_not_fit_are_refused(plans: Plans) -> None:
    subscription = plans.subscribe("pro")
    schedule = plans.api.subscription_schedules.create({"from_subscription": subscription.id})
    good = {"items": [{"price": plans.prices["pro"]}], "start_date": START, "end_date": FEB_28}
    later = {"items": [{"price": plans.prices["plus"]}], "start_date": FEB_28 + 1}
    for phases, text in (
        ([good | {"start_date": START + 1}], "start date"),
        ([good, later], "adjacent"),
        ([good | {"items": later["items"]}], "current phase"),
        ([good | {"end_date": START}], "end after it starts"),
        ([good | {"iterations": 1}], "unknown parameter"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=text):
            plans.api.subscription_schedules.update(schedule.id, {"phases": phases})
