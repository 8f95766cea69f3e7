"""FakeStripe through Stripe's own SDK: payments, reversals, refusals, idempotency, events and their delivery."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from lumyx.lib import clock
from rig.stripe.delivery import arrange, pack, sign
from rig.stripe.server import FakeStripe

KEY, SECRET = "sk_test_fake", "whsec_test"
START = 1_760_000_000


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    """A fake whose clock stands still."""
    with FakeStripe(key=KEY, tax_percent=10) as served:
        served.set_clock(START)
        yield served


@pytest.fixture
def client(fake: FakeStripe) -> stripe.StripeClient:
    """The SDK against the fake, without retries."""
    return stripe.StripeClient(KEY, base_addresses={"api": fake.url}, max_network_retries=0)


def _open(client: stripe.StripeClient, customer: str, **more: Any) -> Any:
    line = {"price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Credit"}}, "quantity": 1}
    params: Any = {
        "mode": "payment", "customer": customer, "line_items": [line], "client_reference_id": "order-1",
        "success_url": "http://127.0.0.1:9/done?id={CHECKOUT_SESSION_ID}", "cancel_url": "http://127.0.0.1:9/back",
        "payment_intent_data": {"setup_future_usage": "off_session", "metadata": {"order": "1"}}, **more,
    }  # fmt: skip
    return client.v1.checkout.sessions.create(params)


def _pay(fake: FakeStripe, client: stripe.StripeClient) -> tuple[str, Any]:
    """Return a customer with a saved card and the payment intent it paid."""
    customer = client.v1.customers.create({"email": "a@example.org"}).id
    session = fake.pay(_open(client, customer).id)
    return customer, client.v1.payment_intents.retrieve(session["payment_intent"], {"expand": ["latest_charge"]})


def _charge_again(client: stripe.StripeClient, customer: str) -> Any:
    method = client.v1.payment_methods.list({"customer": customer}).data[0].id
    return client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "confirm": True,
            "off_session": True,
        }
    )


def _types(fake: FakeStripe) -> list[str]:
    return [event["type"] for event in fake.events()]


def test_a_paid_session_has_its_intent_charge_and_events_in_order(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    """What Checkout took is on the charge, less the fee on the balance."""
    _, intent = _pay(fake, client)
    assert (intent.status, intent.amount_received, intent.metadata["order"]) == ("succeeded", 2500, "1")
    [row] = client.v1.balance_transactions.list().data
    assert (row.source, row.amount, row.fee, row.net) == (intent.latest_charge.id, 2500, 103, 2397)
    assert _types(fake) == [
        "customer.created", "payment_intent.created", "payment_method.attached", "charge.succeeded",
        "payment_intent.succeeded", "checkout.session.completed",
    ]  # fmt: skip
    session = fake.events()[-1]["data"]["object"]
    assert (session["payment_status"], session["client_reference_id"], session["amount_total"]) == (
        "paid",
        "order-1",
        2500,
    )


def test_tax_is_added_when_it_is_on(client: stripe.StripeClient) -> None:
    """Ten percent of 25.00."""
    customer = client.v1.customers.create({}).id
    session = _open(client, customer, automatic_tax={"enabled": True})
    assert (session.amount_subtotal, session.amount_total) == (2500, 2750)


def _post_page(url: str, **form: str) -> tuple[int, str]:
    """Return the status and the address or text of a posted form, redirects not followed."""

    class _Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any) -> None:
            return None

    try:
        with urllib.request.build_opener(_Stay).open(url, urllib.parse.urlencode(form).encode()) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Location"]


def test_the_hosted_page_declines_authenticates_and_pays(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """A declined card may be tried again; a payment is confirmed at the bank's page."""
    session = _open(client, client.v1.customers.create({}).id)
    status, text = _post_page(session.url, number="4000 0000 0000 0002")
    assert status == 200
    assert "Your card was declined." in text
    status, text = _post_page(session.url, number="4000002500003155")
    assert "Approve" in text
    status, text = _post_page(session.url, number="4000002500003155", approved="false")
    assert "requires authentication" in text
    status, target = _post_page(session.url, number="4000002500003155", approved="true")
    assert (status, target) == (303, f"http://127.0.0.1:9/done?id={session.id}")
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert _types(fake).count("payment_intent.payment_failed") == 2


def test_a_session_expires_by_the_clock(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """After a day nobody can pay it."""
    session = _open(client, client.v1.customers.create({}).id)
    fake.set_clock(START + 86400)
    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert _types(fake)[-1] == "checkout.session.expired"


@pytest.mark.parametrize(
    ("behaviour", "code"), [("decline", "card_declined"), ("authenticate", "authentication_required")]
)
def test_a_saved_card_fails_with_its_intent(
    fake: FakeStripe, client: stripe.StripeClient, behaviour: str, code: str
) -> None:
    """Off session both are a card error that names the payment intent."""
    customer, _ = _pay(fake, client)
    assert _charge_again(client, customer).status == "succeeded"
    fake.set_card(customer, behaviour)
    with pytest.raises(stripe.CardError) as caught:
        _charge_again(client, customer)
    assert caught.value.code == code
    assert caught.value.error is not None
    assert caught.value.error.payment_intent is not None
    assert caught.value.error.payment_intent.status == "requires_payment_method"
    assert _types(fake)[-1] == "payment_intent.payment_failed"


def test_refunds_are_partial_whole_and_can_fail(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """No more than what is left goes back."""
    _, intent = _pay(fake, client)
    client.v1.refunds.create({"payment_intent": intent.id, "amount": 1000})
    with pytest.raises(stripe.InvalidRequestError, match="unrefunded amount on charge"):
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 1501})
    last = client.v1.refunds.create({"charge": intent.latest_charge.id})
    assert last.amount == 1500
    assert client.v1.charges.retrieve(intent.latest_charge.id).refunded
    fake.fail_refund(last.id)
    assert client.v1.charges.retrieve(intent.latest_charge.id).amount_refunded == 1000
    assert [row.amount for row in client.v1.balance_transactions.list().data] == [1500, -1500, -1000, 2500]
    assert _types(fake)[-2:] == ["refund.updated", "refund.failed"]


@pytest.mark.parametrize(("won", "rows"), [(True, [2500, -2500, 2500]), (False, [-2500, 2500])])
def test_a_dispute_takes_the_money_until_won(
    fake: FakeStripe, client: stripe.StripeClient, won: bool, rows: list[int]
) -> None:
    """Adjustments are on the balance and the events in their order."""
    _, intent = _pay(fake, client)
    dispute = fake.dispute(intent.latest_charge.id)
    fake.close_dispute(dispute["id"], won=won)
    assert client.v1.disputes.retrieve(dispute["id"]).status == ("won" if won else "lost")
    assert [row.amount for row in client.v1.balance_transactions.list().data] == rows
    expected = ["created", "funds_withdrawn", "closed"] + ["funds_reinstated"] * won
    assert [name.rpartition(".")[2] for name in _types(fake) if "dispute" in name] == expected


def test_customers_are_changed_and_deleted(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Metadata merges; a detached card is no default any more."""
    customer, _ = _pay(fake, client)
    method = client.v1.payment_methods.list({"customer": customer}).data[0].id
    client.v1.customers.update(
        customer, {"metadata": {"a": "1"}, "invoice_settings": {"default_payment_method": method}}
    )
    changed = client.v1.customers.update(customer, {"metadata": {"b": "2"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}
    client.v1.payment_methods.detach(method)
    again = client.v1.customers.retrieve(customer)
    assert again.invoice_settings is not None
    assert again.invoice_settings.default_payment_method is None
    client.v1.customers.delete(customer)
    assert client.v1.customers.retrieve(customer).deleted
    assert _types(fake)[-2:] == ["payment_method.detached", "customer.deleted"]


def test_bad_requests_are_refused(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """An unknown parameter, an unknown id and a wrong key."""
    wrong: Any = {"emial": "a@example.org"}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.customers.create(wrong)
    assert (caught.value.code, caught.value.param) == ("parameter_unknown", "emial")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    stranger = stripe.StripeClient("sk_test_other", base_addresses={"api": fake.url})
    with pytest.raises(stripe.AuthenticationError):
        stranger.v1.customers.create({})
    assert fake.events() == []


def test_an_idempotency_key_answers_once(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The same request gives the same answer, another one an error."""
    options: Any = {"idempotency_key": "k1"}
    first = client.v1.customers.create({"email": "a@example.org"}, options)
    again = client.v1.customers.create({"email": "a@example.org"}, options)
    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"email": "b@example.org"}, options)
    assert [event["request"]["idempotency_key"] for event in fake.events()] == ["k1"]


def test_requests_can_be_made_to_fail(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Each asked failure happens once, without effect."""
    fake.fail_next("500", "429", "drop")
    for error in (stripe.APIError, stripe.RateLimitError, stripe.APIConnectionError):
        with pytest.raises(error):
            client.v1.customers.create({})
    assert fake.events() == []
    client.v1.customers.create({})


def test_events_are_listed_by_page_and_forgotten_after_30_days(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Cursors walk all of them, newest first."""
    _pay(fake, client)
    walked = [event.type for event in client.v1.events.list({"limit": 2}).auto_paging_iter()]
    assert walked == _types(fake)[::-1]
    fake.set_clock(START + 30 * 86400)
    assert client.v1.events.list().data == []


def test_signatures_are_stripes_and_flaws_are_refused(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """What the SDK verifies passes, during a rotation too; forged, stale and unsigned deliveries do not."""
    client.v1.customers.create({})
    at, [event] = int(clock.now().timestamp()), fake.events()
    parcel = pack(event, secrets=["whsec_old", SECRET], at=at)
    assert parcel.header is not None
    assert stripe.Webhook.construct_event(parcel.payload, parcel.header, SECRET).id == event["id"]
    for flaw in ("forged", "stale", "unsigned"):
        bad = pack(event, secrets=[SECRET], at=at, flaw=flaw)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(bad.payload, bad.header or "", SECRET)
    assert sign(b"{}", secrets=[SECRET], at=1) == stripe.WebhookSignature.generate_signature_header(
        "{}", SECRET, timestamp=1
    )


def test_events_arrive_as_arranged() -> None:
    """Dropped, repeated, delayed and shuffled the same way for the same seed."""
    events = [{"id": str(number)} for number in range(20)]
    shuffled = arrange(events, copies=2, seed=7, dropped=lambda event: event["id"] == "3")
    assert shuffled == arrange(events, copies=2, seed=7, dropped=lambda event: event["id"] == "3")
    assert sorted(int(event["id"]) for event in shuffled) == sorted([n for n in range(20) if n != 3] * 2)
    assert shuffled != sorted(shuffled, key=lambda event: int(event["id"]))
    assert arrange(events, delayed=lambda event: event["id"] == "0")[-1] == {"id": "0"}


def test_the_methods_name_a_payment_by_its_intent_and_a_time_by_a_datetime(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    _, intent = _pay(fake, client)
    fake.advance_to(datetime.fromtimestamp(START + 60, UTC))
    refund = fake.refund(intent.id, 100)
    assert (refund["created"], refund["amount"]) == (START + 60, 100)
    assert client.v1.refunds.retrieve(refund["id"]).charge == intent.latest_charge.id
    assert fake.dispute(intent.id)["charge"] == intent.latest_charge.id


def test_a_lookup_key_names_one_price_and_moves_only_when_asked(client: stripe.StripeClient) -> None:
    product = client.v1.products.create({"name": "Plus"}).id
    params: Any = {"product": product, "currency": "usd", "unit_amount": 2000, "lookup_key": "plus"}
    params["recurring"] = {"interval": "month"}
    first = client.v1.prices.create(params)
    assert (first.type, first.unit_amount) == ("recurring", 2000)
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        client.v1.prices.create(params)
    second = client.v1.prices.create(params | {"transfer_lookup_key": True})
    assert [row.id for row in client.v1.prices.list({"lookup_keys": ["plus"]}).data] == [second.id]
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        client.v1.prices.update(first.id, {"unit_amount": 1} | {})  # type: ignore[arg-type]
