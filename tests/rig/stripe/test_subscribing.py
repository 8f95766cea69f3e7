"""Checkout in subscription mode: what a paid, a declined and an asking card leave behind."""

import pytest
import stripe

from rig.stripe.state import StripeError
from tests.rig.stripe.conftest import DAY, START, Plans

MONTH_END = START + 28 * DAY


def test_a_paid_session_starts_a_subscription_with_a_paid_invoice(plans: Plans) -> None:
    session = plans.open()
    assert (session.mode, session.amount_total, session.payment_intent) == ("subscription", 2000, None)
    seen = len(plans.fake.events())
    subscription = plans.get(plans.fake.subscribe_at(session.id)["id"])
    done = plans.api.checkout.sessions.retrieve(session.id)
    assert (done.status, done.subscription, done.invoice) == (
        "complete", subscription.id, subscription.latest_invoice,
    )  # fmt: skip
    item = subscription.items.data[0]
    assert (item.current_period_start, item.current_period_end) == (START, MONTH_END)
    assert (item.price.id, subscription.status) == (plans.prices["plus"], "active")
    assert subscription.metadata.to_dict() == {"workspace": "7"}
    [method] = plans.api.payment_methods.list({"customer": plans.customer}).data
    assert subscription.default_payment_method == method.id
    assert set(plans.types(seen)) >= {
        "payment_method.attached", "customer.subscription.created", "charge.succeeded", "payment_intent.succeeded",
        "invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded", "invoice_payment.paid",
    }  # fmt: skip
    assert plans.types()[-1] == "checkout.session.completed"


def test_an_invoice_has_the_pinned_versions_shape(plans: Plans) -> None:
    subscription = plans.subscribe()
    invoice = plans.api.invoices.retrieve(subscription.latest_invoice, {"expand": ["payments"]})
    plain = invoice.to_dict()
    assert not {"subscription", "payment_intent", "charge"} & plain.keys()
    assert "current_period_end" not in subscription.to_dict()
    parent = plain["parent"]
    assert parent["type"] == "subscription_details"
    assert parent["subscription_details"] == {"subscription": subscription.id, "metadata": {"workspace": "7"}}
    [line] = plain["lines"]["data"]
    details = line["parent"]["subscription_item_details"]
    assert (details["subscription_item"], details["proration"]) == (subscription.items.data[0].id, False)
    assert line["pricing"]["price_details"]["price"] == plans.prices["plus"]
    assert line["period"] == {"start": START, "end": MONTH_END}
    assert (plain["billing_reason"], plain["status"], plain["amount_paid"]) == ("subscription_create", "paid", 2000)
    assert plain["status_transitions"]["paid_at"] == START
    assert [row["id"] for row in plain["payments"]["data"]]
    assert [row.id for row in plans.api.invoices.line_items.list(invoice.id).data] == [line["id"]]


def test_the_payment_of_an_invoice_is_found_both_ways(plans: Plans) -> None:
    invoice = plans.subscribe().latest_invoice
    [payment] = plans.api.invoice_payments.list({"invoice": invoice}).data
    assert (payment.status, payment.amount_paid, payment.is_default) == ("paid", 2000, True)
    intent = payment.payment.payment_intent
    assert plans.api.payment_intents.retrieve(intent).status == "succeeded"
    wanted = {"type": "payment_intent", "payment_intent": intent}
    assert [row.invoice for row in plans.api.invoice_payments.list({"payment": wanted}).data] == [invoice]
    wanted["payment_intent"] = "pi_other"
    assert plans.api.invoice_payments.list({"payment": wanted}).data == []


def test_a_declined_card_leaves_the_session_open(plans: Plans) -> None:
    session = plans.open()
    with pytest.raises(StripeError, match="declined"):
        plans.fake.pay(session.id, "4000000000000002")
    assert plans.api.checkout.sessions.retrieve(session.id).status == "open"
    assert plans.api.subscriptions.list({"status": "all"}).data == []
    assert plans.invoices() == []
    plans.fake.pay(session.id)
    assert [row.status for row in plans.invoices()] == ["paid"]
    assert plans.types().count("payment_intent.created") == 1


def test_a_card_that_asks_waits_for_the_bank(plans: Plans) -> None:
    session = plans.open()
    assert plans.fake.pay(session.id, "4000002760003184")["status"] == "open"
    subscription = plans.fake.subscribe_at(session.id, "4000002760003184", approved=True)
    assert subscription["status"] == "active"


def test_what_does_not_fit_subscriptions_is_refused(plans: Plans) -> None:
    for params, text in (
        ({"payment_intent_data": {"description": "x"}}, "payment_intent_data"),
        ({"subscription_data": {"colour": "red"}}, "unknown parameter"),
        ({"line_items": [{"price": plans.prices["plus"]}] * 2}, "one item"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=text):
            plans.open(**params)
    plans.api.prices.update(plans.prices["plus"], {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        plans.open()


def test_lists_hide_what_is_canceled_until_asked(plans: Plans) -> None:
    first = plans.subscribe()
    second = plans.subscribe("pro")
    plans.api.subscriptions.cancel(first.id)
    wanted = {"customer": plans.customer}

    def ids(**more: str) -> list[str]:
        return [row.id for row in plans.api.subscriptions.list(wanted | more).data]

    assert ids() == [second.id]
    assert ids(status="all") == [second.id, first.id]
    assert ids(status="canceled") == [first.id]
    assert ids(price=plans.prices["plus"]) == []
    assert [row.status for row in plans.api.invoices.list({"subscription": second.id}).data] == ["paid"]
    assert plans.api.invoices.list({"status": "open"}).data == []


def test_automatic_tax_is_on_the_invoice(plans: Plans) -> None:
    plans.fake.state.tax_percent = 20
    session = plans.open(automatic_tax={"enabled": True}, customer_update={"address": "auto"})
    assert session.amount_total == 2400
    plans.fake.pay(session.id)
    [invoice] = plans.invoices()
    assert (invoice.subtotal, invoice.total, invoice.amount_paid) == (2000, 2400, 2400)
    assert [tax.amount for tax in invoice.total_taxes] == [400]
