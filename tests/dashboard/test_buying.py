"""Buying credit on the page: amounts, who may, the way to Stripe and back, and automatic top-ups."""

import datetime as dt
import re

import pytest
from django.conf import LazySettings
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from accounts.roles import Role
from billing.models import AutoTopUp, CreditOrder
from billing.selectors.ledger import balance_of
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from rig.stripe.server import FakeStripe
from tests.billing.payments.conftest import hand_in
from tests.factories import Cast, make_cast, make_member

pytestmark = pytest.mark.django_db

CREDITS, BUY, TOP_UP = "/dashboard/credits", "/dashboard/credits/buy", "/dashboard/credits/top-up"
ARRIVAL = "/dashboard/credits/arrival"
HTMX = {"HX-Request": "true"}
WISH = {"threshold": "5", "amount": "25", "monthly_ceiling": "100"}


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def session_of(order: CreditOrder) -> str:
    """Return the checkout of an order."""
    assert order.session_id is not None
    return order.session_id


def buy(client: Client, chosen: str = "25", **more: str) -> CreditOrder:
    """Order credit on the page, and return the order."""
    assert client.post(BUY, {"chosen": chosen, **more}).status_code == 303
    return CreditOrder.objects.latest("created_at")


def make_top_up(cast: Cast, **fields: object) -> AutoTopUp:
    """Make a workspace's wish."""
    amounts = {"threshold": 5 * USD, "amount": 25 * USD, "monthly_ceiling": 60 * USD}
    return AutoTopUp.objects.create(workspace=cast.workspace, **{**amounts, **fields})


@pytest.mark.parametrize(
    ("chosen", "amount", "nano"),
    [
        ("5", "", 5 * USD),
        ("100", "", 100 * USD),
        ("10", "nonsense that was left in the other field", 10 * USD),
        ("other", "5", 5 * USD),
        ("other", "12.50", 25 * USD // 2),
        ("other", "$1,000", 1000 * USD),
        ("other", " 999.99 ", 99_999 * USD // 100),
    ],
)
def test_an_amount_becomes_an_order_and_leads_to_stripe(
    alice: Client, cast: Cast, stripe: FakeStripe, chosen: str, amount: str, nano: int
) -> None:
    response = alice.post(BUY, {"chosen": chosen, "amount": amount})
    assert response.status_code == 303
    assert response["Location"].startswith(stripe.url)
    order = CreditOrder.objects.get()
    assert (order.workspace, order.amount, order.state, order.created_by) == (cast.workspace, nano, "open", cast.alice)
    assert balance_of(cast.workspace.pk).posted == 0, "the page grants nothing"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "Choose an amount."),
        ({"chosen": "7"}, "Choose one of these amounts."),
        ({"chosen": "other"}, "Type an amount from $5 to $1,000."),
        ({"chosen": "other", "amount": "4.99"}, "Type an amount from $5 to $1,000."),
        ({"chosen": "other", "amount": "1000.01"}, "Type an amount from $5 to $1,000."),
        ({"chosen": "other", "amount": "10.001"}, "Type an amount in US dollars"),
        ({"chosen": "other", "amount": "-5"}, "Type an amount in US dollars"),
        ({"chosen": "other", "amount": "1e2"}, "Type an amount in US dollars"),
        ({"chosen": "other", "amount": "١٠"}, "Type an amount in US dollars"),
    ],
)
def test_a_wrong_amount_is_said_next_to_its_field(
    alice: Client, stripe: FakeStripe, data: dict[str, str], text: str
) -> None:
    response = alice.post(BUY, data)
    assertContains(response, text, status_code=422)
    assert 'class="err"' in response.content.decode()
    if data.get("amount"):
        assertContains(response, f'value="{data["amount"]}"', status_code=422)
    assert not CreditOrder.objects.exists()


def test_the_card_is_kept_only_where_that_is_ticked(alice: Client, stripe: FakeStripe) -> None:
    for more in ({}, {"saves_card": "on"}):
        stripe.pay(session_of(buy(alice, **more)))
        cards = [event for event in stripe.events() if event["type"] == "payment_method.attached"]
        assert len(cards) == len(more)


def test_a_second_press_is_harmless(alice: Client, cast: Cast, stripe: FakeStripe) -> None:
    first, second = buy(alice), buy(alice)
    stripe.pay(session_of(second))
    hand_in(stripe.events())
    first.refresh_from_db()
    assert first.state == "open"
    assert balance_of(cast.workspace.pk).posted == 25 * USD


def test_stripe_away_is_said_in_place_and_the_page_works(alice: Client, stripe: FakeStripe) -> None:
    stripe.fail_next(*["500"] * 3)
    response = alice.post(BUY, {"chosen": "50"})
    assertContains(response, "Stripe cannot be reached now, and nothing was charged.", status_code=503)
    assertContains(response, 'value="50" checked', status_code=503)
    assertContains(response, "No entries yet", status_code=503)


def test_without_keys_the_page_says_so_and_operators_how(alice: Client, cast: Cast) -> None:
    response = alice.get(CREDITS)
    assertContains(response, "Payments are off on this installation.")
    assertContains(response, cast.workspace.slug)
    assertNotContains(response, BUY)
    assertNotContains(response, "credits grant")
    cast.alice.is_staff = True
    cast.alice.save()
    assertContains(alice.get(CREDITS), f"manage.py credits grant --workspace {cast.workspace.slug}")
    assertContains(alice.post(BUY, {"chosen": "5"}), "Payments are off", status_code=422)


@pytest.mark.parametrize(
    ("role", "may"), [(Role.BILLING, True), (Role.ADMIN, False), (Role.DEVELOPER, False), (Role.VIEWER, False)]
)
def test_only_who_manages_billing_buys(client: Client, cast: Cast, stripe: FakeStripe, role: Role, may: bool) -> None:
    client.force_login(make_member(cast.workspace, role))
    assert client.post(BUY, {"chosen": "5"}).status_code == (303 if may else 403)
    assert client.get(TOP_UP).status_code == (200 if may else 403)
    assert client.post(TOP_UP, WISH).status_code == (302 if may else 403)
    assert CreditOrder.objects.exists() == may
    if role is Role.ADMIN:
        response = client.get(CREDITS)
        assertContains(response, "People with the role owner or billing do")
        assertNotContains(response, BUY)
        assertNotContains(response, f'href="{TOP_UP}"')


def test_back_from_the_checkout_the_page_waits_until_the_credit_is_there(
    alice: Client, cast: Cast, stripe: FakeStripe
) -> None:
    session = session_of(buy(alice))
    stripe.pay(session)
    response = alice.get(CREDITS, {"paid": "1", "session_id": session})
    assertContains(response, "Payment received by Stripe.")
    assert balance_of(cast.workspace.pk).posted == 0, "coming back grants nothing"
    asked = re.search(r'hx-get="/dashboard/credits/arrival\?([^"]+)"', response.content.decode())
    assert asked is not None
    address = f"{ARRIVAL}?{asked[1].replace('&amp;', '&')}"
    assert alice.get(address, headers=HTMX).status_code == 204
    hand_in(stripe.events())
    html = alice.get(address, headers=HTMX).content.decode()
    assert "$25.00</data> arrived." in html
    assert "every 2s" not in html, "it asks no more"
    for part in ("balance", "payments", "ledger", "side-balance"):
        assert re.search(f'id="{part}"[^>]* hx-swap-oob="true"', html), part
    assertContains(alice.get(CREDITS, {"paid": "1", "session_id": session}), "$25.00</data> arrived.")


def test_waiting_ends_after_a_minute(alice: Client, stripe: FakeStripe) -> None:
    session = session_of(buy(alice))
    since = int(clock.now().timestamp()) - 61
    response = alice.get(ARRIVAL, {"session_id": session, "since": str(since)}, headers=HTMX)
    assertContains(response, "still on its way")
    assertNotContains(response, "every 2s")


def test_a_checkout_that_came_to_nothing_is_told(alice: Client, stripe: FakeStripe) -> None:
    order = buy(alice)
    CreditOrder.objects.update(state="expired")
    assertContains(alice.get(ARRIVAL, {"session_id": session_of(order)}, headers=HTMX), "ended without a payment")
    assertContains(alice.get(CREDITS, {"cancelled": "1"}), "Nothing was charged.")


@pytest.mark.parametrize("session", ["", "cs_unknown", "theirs"])
def test_a_checkout_that_is_not_ours_is_not_told_of(
    client: Client, alice: Client, cast: Cast, stripe: FakeStripe, session: str
) -> None:
    theirs = session_of(buy(alice))
    stranger = Client()
    stranger.force_login(cast.charlie)
    response = stranger.get(CREDITS, {"paid": "1", "session_id": theirs if session == "theirs" else session})
    assert response.status_code == 200
    assertNotContains(response, "Payment received")


def test_top_ups_are_turned_on_with_a_saved_card(alice: Client, cast: Cast, stripe: FakeStripe) -> None:
    assertContains(alice.get(TOP_UP), "No card is saved yet.")
    assertContains(alice.post(TOP_UP, {**WISH, "is_on": "on"}), "No card is saved", status_code=422)
    assert not AutoTopUp.objects.exists()
    stripe.pay(session_of(buy(alice, saves_card="on")))
    assertNotContains(alice.get(TOP_UP), "No card is saved")
    assert alice.post(TOP_UP, {**WISH, "is_on": "on"}).status_code == 302
    row = AutoTopUp.objects.get()
    assert (row.workspace, row.is_on, row.changed_by) == (cast.workspace, True, cast.alice)
    assert (row.threshold, row.amount, row.monthly_ceiling) == (5 * USD, 25 * USD, 100 * USD)
    assertContains(alice.get(CREDITS), "Automatic top-ups are on.")


def test_the_dialog_is_swapped_and_the_card_with_it(alice: Client, stripe: FakeStripe) -> None:
    assertContains(alice.get(TOP_UP, headers=HTMX), '<dialog class="dlg" id="top-up-dialog"')
    response = alice.post(TOP_UP, WISH, headers=HTMX)
    assertContains(response, 'id="top-up" aria-labelledby="h-topup" hx-swap-oob="true"')
    assert "top-ups are off" in response["HX-Trigger"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"threshold": ""}, "Type the balance below which"),
        ({"amount": "4"}, "Type an amount from $5 to $1,000."),
        ({"monthly_ceiling": "20"}, "Type at least $25.00"),
        ({"threshold": "a lot"}, "Type an amount in US dollars"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_next_to_their_field(
    alice: Client, stripe: FakeStripe, data: dict[str, str], text: str
) -> None:
    response = alice.post(TOP_UP, {**WISH, **data})
    assertContains(response, text, status_code=422)
    assert not AutoTopUp.objects.exists()


def test_stripe_away_does_not_take_the_form_away(alice: Client, cast: Cast, stripe: FakeStripe) -> None:
    make_top_up(cast, is_on=True)
    stripe.pay(session_of(buy(alice)))
    stripe.fail_next(*["500"] * 3)
    response = alice.get(TOP_UP)
    assertContains(response, "Stripe cannot be reached now")
    assertContains(response, 'name="threshold"')
    assert alice.post(TOP_UP, WISH).status_code == 302, "they can be turned off without Stripe"
    assert not AutoTopUp.objects.get().is_on


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("authentication_required", "Your bank wants to see you"),
        ("no_payment_method", "No card is saved any more"),
        ("declined", "declined three times"),
    ],
)
def test_why_top_ups_stopped_is_said_with_what_to_do(
    alice: Client, cast: Cast, stripe: FakeStripe, reason: str, text: str
) -> None:
    make_top_up(cast, stopped_by=reason)
    response = alice.get(CREDITS)
    assertContains(response, text)
    assertContains(response, "Stopped")


def test_this_months_top_ups_are_shown_against_the_ceiling(alice: Client, cast: Cast, stripe: FakeStripe) -> None:
    make_top_up(cast, is_on=True)
    now = clock.now()
    for state, at in (("paid", now), ("failed", now), ("paid", now.replace(day=1) - dt.timedelta(days=1))):
        order = CreditOrder.objects.create(workspace=cast.workspace, kind="top_up", amount=25 * USD, state=state)
        CreditOrder.objects.filter(pk=order.pk).update(created_at=at)
    response = alice.get(CREDITS)
    assertContains(response, "$25.00</data> of")
    assertContains(response, "41% of this month’s ceiling is used")
    assertNotContains(response, "leaves no room")
    AutoTopUp.objects.update(monthly_ceiling=49 * USD)
    assertContains(alice.get(CREDITS), "leaves no room")


def test_payments_off_hides_top_ups(alice: Client, settings: LazySettings) -> None:
    assertNotContains(alice.get(CREDITS), "Automatic top-ups")
