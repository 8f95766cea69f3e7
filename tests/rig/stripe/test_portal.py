"""The portal, the pages of invoices and receipts, and what survives a restart."""

import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import stripe

from rig.stripe.server import FakeStripe
from tests.rig.stripe.conftest import DAY, KEY, START, Plans

FEB_28 = START + 28 * DAY


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _browse(url: str, **form: str) -> tuple[int, str]:
    """Return the status and the text of a page, or where it leads; a form is posted."""
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        with urllib.request.build_opener(_Stay).open(url, data) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Location"] or error.read().decode()


def _open_portal(plans: Plans, **more: Any) -> str:
    params = {"customer": plans.customer, "return_url": "http://127.0.0.1:9/back?a=1&b=2", **more}
    url: str = plans.api.billing_portal.sessions.create(params).url
    return url


def test_a_person_sees_the_plan_cancels_and_keeps_it(plans: Plans) -> None:
    subscription = plans.subscribe()
    url = _open_portal(plans)
    _, text = _browse(url)
    for expected in (
        "Test payments. No money moves.", "Plus", "$20.00 per month", "28 Feb 2026", "card ending in 4242",
        'href="http://127.0.0.1:9/back?a=1&amp;b=2"', f"/i/{subscription.latest_invoice}",
    ):  # fmt: skip
        assert expected in text
    assert "<script" not in text
    assert _browse(url, action="cancel", subscription=subscription.id)[0] == 303
    assert plans.get(subscription.id).cancel_at_period_end
    assert "Ends on" in _browse(url)[1]
    _browse(url, action="resume", subscription=subscription.id)
    assert not plans.get(subscription.id).cancel_at_period_end


def test_a_new_card_is_the_default_everywhere(plans: Plans) -> None:
    subscription = plans.subscribe()
    url = _open_portal(plans)
    assert "declined" in _browse(url, action="card", number="4000 0000 0000 0002")[1]
    assert "incorrect" in _browse(url, action="card", number="1")[1]
    assert plans.get(subscription.id).default_payment_method == subscription.default_payment_method
    _browse(url, action="card", number="4000 0000 0000 0341")
    method = plans.get(subscription.id).default_payment_method
    assert plans.api.payment_methods.retrieve(method).card.last4 == "0341"
    customer = plans.api.customers.retrieve(plans.customer)
    assert customer.invoice_settings.default_payment_method == method
    plans.fake.set_clock(FEB_28 + 3600)
    assert plans.get(subscription.id).status == "past_due"


def test_nobody_cancels_for_another_customer(plans: Plans) -> None:
    subscription = plans.subscribe()
    other = plans.api.customers.create({}).id
    _, text = _browse(_open_portal(plans, customer=other), action="cancel", subscription=subscription.id)
    assert "No such subscription" in text
    assert not plans.get(subscription.id).cancel_at_period_end


def test_a_configuration_says_what_is_offered(plans: Plans) -> None:
    subscription = plans.subscribe()
    features: Any = {"payment_method_update": {"enabled": True}, "subscription_cancel": {"enabled": False}}
    configuration = plans.api.billing_portal.configurations.create({"features": features})
    assert (configuration.active, configuration.is_default) == (True, False)
    assert configuration.features.payment_method_update.enabled is True
    url = _open_portal(plans, configuration=configuration.id)
    assert 'value="cancel"' not in _browse(url)[1]
    assert "does not offer" in _browse(url, action="cancel", subscription=subscription.id)[1]
    features["subscription_cancel"] = {"enabled": True, "mode": "immediately"}
    plans.api.billing_portal.configurations.update(configuration.id, {"features": features})
    assert "Cancel now" in _browse(url)[1]
    _browse(url, action="cancel", subscription=subscription.id)
    assert plans.get(subscription.id).status == "canceled"
    plans.api.billing_portal.configurations.update(configuration.id, {"active": False})
    assert plans.api.billing_portal.configurations.list({"active": True}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="not active"):
        _open_portal(plans, configuration=configuration.id)
    _open_portal(plans)
    [default] = plans.api.billing_portal.configurations.list({"is_default": True, "active": True}).data
    assert default.id != configuration.id
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        plans.api.billing_portal.configurations.create({"features": {"juggling": {"enabled": True}}})


def test_a_flow_shows_one_thing_and_leads_back(plans: Plans) -> None:
    plans.subscribe()
    done = {"type": "redirect", "redirect": {"return_url": "http://127.0.0.1:9/saved"}}
    url = _open_portal(plans, flow_data={"type": "payment_method_update", "after_completion": done})
    text = _browse(url)[1]
    assert "Card number" in text
    assert "Renews on" not in text
    status, target = _browse(url, action="card", number="4242424242424242")
    assert (status, target) == (303, "http://127.0.0.1:9/saved")
    with pytest.raises(stripe.InvalidRequestError, match="flows"):
        _open_portal(plans, flow_data={"type": "subscription_update"})


def test_an_open_invoice_is_paid_on_its_page(plans: Plans) -> None:
    subscription = plans.subscribe()
    plans.fake.set_card(plans.customer, "decline")
    plans.fake.set_clock(FEB_28 + 3600)
    invoice = plans.invoices()[-1]
    url = invoice.hosted_invoice_url
    assert "Plus (at $20.00 / month)" in _browse(url)[1]
    assert "was declined" in _browse(url, number="4000000000000002")[1]
    assert "Approve" in _browse(url, number="4000 0025 0000 3155")[1]
    assert "additional user action" in _browse(url, number="4000002500003155", approved="false")[1]
    assert _browse(url, number="4000002500003155", approved="true")[0] == 303
    paid = plans.api.invoices.retrieve(invoice.id)
    assert paid.status == "paid"
    assert plans.get(subscription.id).status == "active"
    assert 'name="number"' not in _browse(url)[1]


def test_an_asking_card_is_approved_on_the_invoices_page(plans: Plans) -> None:
    plans.subscribe()
    plans.fake.set_card(plans.customer, "authenticate")
    plans.fake.set_clock(FEB_28 + 3600)
    url = plans.invoices()[-1].hosted_invoice_url
    assert "Your bank asks you" in _browse(url)[1]
    assert _browse(url, number="4000002760003184", approved="true")[0] == 303
    assert plans.invoices()[-1].status == "paid"


def test_invoices_and_receipts_can_be_kept(plans: Plans) -> None:
    invoice = plans.api.invoices.retrieve(plans.subscribe().latest_invoice)
    with urllib.request.urlopen(invoice.invoice_pdf) as answer:
        pdf = answer.read()
    assert pdf.startswith(b"%PDF-1.4")
    assert invoice.number.encode() in pdf
    [payment] = plans.api.invoice_payments.list({"invoice": invoice.id}).data
    intent = plans.api.payment_intents.retrieve(payment.payment.payment_intent, {"expand": ["latest_charge"]})
    status, text = _browse(intent.latest_charge.receipt_url)
    assert (status, "$20.00" in text, invoice.number in text) == (200, True, True)
    status, text = _browse(f"{plans.fake.url}/i/in_none")
    assert (status, "No such invoice" in text) == (404, True)


def test_the_page_of_a_plan_subscribes(plans: Plans) -> None:
    session = plans.open()
    text = _browse(session.url)[1]
    assert "Plus, every month" in text
    assert _browse(session.url, number="4242 4242 4242 4242") == (303, "http://127.0.0.1:9/done")
    assert plans.api.subscriptions.list({"customer": plans.customer}).data[0].status == "active"


def test_a_pending_refund_is_finished_or_fails(plans: Plans) -> None:
    [payment] = plans.api.invoice_payments.list({"invoice": plans.subscribe().latest_invoice}).data
    intent = payment.payment.payment_intent
    first = plans.fake.refund(intent, 500, pending=True)
    second = plans.fake.refund(intent, 300, pending=True)
    assert plans.api.refunds.retrieve(first["id"]).status == "pending"
    assert plans.fake.finish_refund(first["id"])["status"] == "succeeded"
    assert plans.fake.events()[-1]["data"]["previous_attributes"] == {"status": "pending"}
    plans.fake.fail_refund(second["id"])
    assert (
        plans.api.payment_intents.retrieve(intent, {"expand": ["latest_charge"]}).latest_charge.amount_refunded == 500
    )


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    file = tmp_path / "stripe.json"

    def client(fake: FakeStripe) -> Any:
        return stripe.StripeClient(KEY, base_addresses={"api": fake.url}, max_network_retries=0).v1

    with FakeStripe(key=KEY, file=file) as fake:
        api = client(fake)
        product = api.products.create({"name": "Plus"}).id
        recurring: Any = {"interval": "month"}
        price = {"product": product, "currency": "usd", "unit_amount": 2000, "recurring": recurring}
        options: Any = {"idempotency_key": "k1"}
        customer = api.customers.create({"email": "a@example.org"}, options).id
        line = {"price": api.prices.create(price).id, "quantity": 1}
        params = {"mode": "subscription", "customer": customer, "line_items": [line], "success_url": "http://h/"}
        session = api.checkout.sessions.create(params)
        assert _browse(session.url, number="4242424242424242")[0] == 303
        events = len(fake.events())
    assert file.stat().st_mode & 0o777 == 0o600
    with FakeStripe(key=KEY, file=file) as fake:
        api = client(fake)
        [subscription] = api.subscriptions.list({"customer": customer}).data
        invoice = api.invoices.retrieve(subscription.latest_invoice)
        assert invoice.hosted_invoice_url.startswith(fake.url)
        assert api.customers.create({"email": "a@example.org"}, options).id == customer
        assert len(fake.events()) == events
        fake.advance(32 * DAY)
        renewed = api.invoices.list({"customer": customer}).data
        assert [row.status for row in renewed] == ["paid", "paid"]


def test_ids_of_a_lost_file_do_not_come_back(tmp_path: Path) -> None:
    made = set()
    for name in ("one", "two"):
        with FakeStripe(key=KEY, file=tmp_path / name) as fake:
            made |= {fake.state.make_id("cus"), fake.state.make_id("cus")}
            fake.reset()
            made.add(fake.state.make_id("cus"))
    assert len(made) == 6


def test_a_running_clock_can_be_moved_on(plans: Plans) -> None:
    with FakeStripe(key=KEY) as fake:
        before = fake.state.now()
        assert _browse(f"{fake.url}/_control/advance?days=40")[0] == 200
        assert fake.state.now() - before - 40 * DAY in range(10)
    subscription = plans.subscribe()
    plans.fake.advance(28 * DAY)
    assert plans.get(subscription.id).items.data[0].current_period_start == FEB_28
