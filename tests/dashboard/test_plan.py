"""The plan page: what the workspace is on, subscribing, changing, cancelling, and what each costs before it is done."""

import datetime as dt
import re

import pytest
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from accounts.roles import Role
from billing.models import Subscription, Tier
from billing.payments import stripe_api
from billing.selectors.tiers import entitlements_of
from billing.services.tiers import change_tier, set_tier
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from rig.stripe.server import FakeStripe
from tests.billing.payments.conftest import hand_in
from tests.factories import Cast, make_cast, make_member

pytestmark = pytest.mark.django_db

PLAN, SUBSCRIBE, CHANGE = "/dashboard/plan", "/dashboard/plan/subscribe", "/dashboard/plan/change"
CANCEL, RESUME, PORTAL, START = (f"{PLAN}/{name}" for name in ("cancel", "resume", "portal", "start"))
HTMX = {"HX-Request": "true"}


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def alice(client: Client, cast: Cast) -> Client:
    client.force_login(cast.alice)
    return client


def on(cast: Cast, stripe: FakeStripe, alice: Client, tier: str = "vip2", interval: str = "month") -> Subscription:
    """Subscribe on the page ten days ago, with everything delivered until now."""
    stripe.advance_to(clock.now() - dt.timedelta(days=10))
    response = alice.post(SUBSCRIBE, {"tier": tier, "interval": interval})
    assert response.status_code == 303
    stripe.subscribe_at(response["Location"].rsplit("/", 1)[-1])
    hand_in(stripe.events())
    stripe.advance_to(clock.now())
    return Subscription.objects.get(workspace=cast.workspace, ends_at__isnull=True)


def tier_of(cast: Cast) -> str:
    """Return the tier that Alice's workspace has the rights of."""
    return entitlements_of(cast.workspace.pk, owner_id=cast.alice.pk).tier_slug


def cards_in(html: str) -> dict[str, str]:
    """Return the tiers' cards by name, as text."""
    cards = re.findall(r'<article class="card tier[^>]*>(.*?)</article>', html, re.DOTALL)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", card).split()) for card in cards]
    return {match[0]: text for text in texts if (match := re.match(r"Free|VIP \d", text))}


def page_of(client: Client, address: str = PLAN) -> str:
    """Return a page that is there."""
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_free_is_the_plan_of_who_has_none(alice: Client, plans_for_sale: FakeStripe) -> None:
    html = page_of(alice)
    cards = cards_in(html)
    assert list(cards) == ["Free", "VIP 1", "VIP 2", "VIP 3", "VIP 4"]
    assert cards["Free"].endswith("Current")
    assert all(cards[f"VIP {number}"].endswith(f"Subscribe to VIP {number}") for number in range(1, 5))
    assert "Manage card and invoices" not in html
    assert "Shared by the owner’s Free workspaces" in html


def test_prices_by_the_year_say_what_they_save(alice: Client, plans_for_sale: FakeStripe) -> None:
    cards = cards_in(page_of(alice, f"{PLAN}?interval=year"))
    assert cards["VIP 2"].startswith("VIP 2 2 months free $150 a year")
    assert cards["Free"].startswith("Free $0 for good")
    change_tier("vip2", yearly_price=171 * USD)
    change_tier("vip1", yearly_price=0)
    cards = cards_in(page_of(alice, f"{PLAN}?interval=year"))
    assert cards["VIP 2"].startswith("VIP 2 save 5% $171 a year")
    assert "VIP 1" not in cards, "it is not sold by the year"


def test_without_yearly_prices_there_is_no_switch(alice: Client, plans_for_sale: FakeStripe) -> None:
    assert "?interval=year" in page_of(alice)
    Tier.objects.update(yearly_price=0)
    assert "?interval=year" not in page_of(alice)
    assert "VIP 1" in cards_in(page_of(alice, f"{PLAN}?interval=year"))


def test_tiers_that_are_not_public_are_not_offered(alice: Client, plans_for_sale: FakeStripe) -> None:
    change_tier("vip4", is_public=False)
    assert "VIP 4" not in cards_in(page_of(alice))
    assert alice.get(CHANGE, {"tier": "vip4", "interval": "month"}).status_code == 404


def test_subscribing_leads_to_stripe_and_the_plan_begins_when_stripe_says_so(
    alice: Client, cast: Cast, plans_for_sale: FakeStripe
) -> None:
    response = alice.post(SUBSCRIBE, {"tier": "vip2", "interval": "year"})
    assert response.status_code == 303
    assert response["Location"].startswith(plans_for_sale.url)
    plans_for_sale.subscribe_at(response["Location"].rsplit("/", 1)[-1])
    html = page_of(alice, f"{PLAN}?subscribed=1")
    assert "The plan begins in a few seconds." in html
    assert f'hx-get="{START}?since=' in html
    assert tier_of(cast) == "free", "coming back begins nothing"
    assert alice.get(START, headers=HTMX).status_code == 204
    hand_in(plans_for_sale.events())
    assert alice.get(START, headers=HTMX)["HX-Redirect"] == f"{PLAN}?subscribed=1"
    html = page_of(alice, f"{PLAN}?subscribed=1")
    assert "VIP 2 is on." in html
    assert "$150 <small>a year</small>" in html
    assert "$13.00" in html, "VIP credits left"


def test_waiting_for_the_plan_ends_after_a_minute(alice: Client, plans_for_sale: FakeStripe) -> None:
    response = alice.get(START, {"since": int(clock.now().timestamp()) - 61}, headers=HTMX)
    assertContains(response, "The plan has not begun yet.")
    assertContains(alice.get(PLAN, {"cancelled": "1"}), "Nothing was charged.")


@pytest.mark.parametrize("data", [{}, {"tier": "vip1"}, {"tier": "vip1", "interval": "week"}, {"tier": "no such"}])
def test_what_is_no_plan_is_refused(alice: Client, plans_for_sale: FakeStripe, data: dict[str, str]) -> None:
    assertContains(alice.post(SUBSCRIBE, data), "Choose one of these plans.", status_code=422)
    assertContains(alice.post(CHANGE, data), "Choose one of these plans.", status_code=422)
    assert alice.get(CHANGE, data).status_code == 404


def test_a_plan_offers_what_can_be_done_about_it(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    row = on(cast, plans_for_sale, alice)
    html = page_of(alice)
    cards = cards_in(html)
    deeds = ["Cancel the plan", "Downgrade to VIP 1", "Current", "Upgrade to VIP 3", "Upgrade to VIP 4"]
    assert [text.endswith(deed) for text, deed in zip(cards.values(), deeds, strict=True)] == [True] * 5
    assert "Manage card and invoices" in html
    assert row.period_ends_at is not None
    assert f"$13 more on {row.period_ends_at:%-d %b %Y}" in html
    assert f"Renews on {row.period_ends_at:%-d %b %Y}" in html
    yearly = cards_in(page_of(alice, f"{PLAN}?interval=year"))
    assert yearly["VIP 2"].endswith("Pay by the year VIP 2")
    assert yearly["VIP 1"].endswith("Downgrade to VIP 1")


def test_who_subscribed_before_a_price_changed_is_told_no_wrong_number(
    alice: Client, cast: Cast, plans_for_sale: FakeStripe
) -> None:
    on(cast, plans_for_sale, alice)
    change_tier("vip2", monthly_price=20 * USD, monthly_credits=18 * USD)
    html = page_of(alice)
    now = html.partition('<dl class="now-l">')[2].partition("</dl>")[0]
    assert "As agreed" in now
    assert "$20" not in now
    assert "$13 more on" in now
    credits = page_of(alice, "/dashboard/credits")
    assert "as on your invoices" in credits
    assert "$18.00" not in credits


def test_an_upgrade_says_what_is_due_before_it_is_paid(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    on(cast, plans_for_sale, alice)
    choice = {"tier": "vip3", "interval": "month"}
    html = alice.get(CHANGE, choice).content.decode()
    due = re.search(r"Pay <data value=\"([\d.]+)\"", html)
    credit = re.search(r"VIP credits now</dt><dd[^>]*>\+<data value=\"([\d.]+)\"", html)
    assert due is not None
    assert credit is not None
    assert 9 < float(due[1]) < 11, "two thirds of the difference"
    assert 9 < float(credit[1]) < 11
    assert tier_of(cast) == "vip2", "asking changes nothing"
    response = alice.post(CHANGE, choice)
    assert response.status_code == 302
    assert tier_of(cast) == "vip3"
    assertContains(alice.get(PLAN), "You are on VIP 3 now.")
    assertContains(alice.post(CHANGE, choice), "This is the plan that the workspace has.", status_code=422)


def test_a_downgrade_waits_and_can_be_undone(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    row = on(cast, plans_for_sale, alice)
    choice = {"tier": "vip1", "interval": "month"}
    assert row.period_ends_at is not None
    ends = f"{row.period_ends_at:%-d %B %Y}"
    assertContains(alice.get(CHANGE, choice), f"<dd>{ends}</dd>")
    alice.post(CHANGE, choice)
    html = page_of(alice)
    assert f"VIP 1 begins on {ends}." in html
    assert f"Changes to VIP 1 on {ends}." in html
    assert "$4 more on" in html, "the next credits are those of the tier that begins"
    assert cards_in(html)["VIP 1"].endswith("Planned")
    assert tier_of(cast) == "vip2"
    alice.post(RESUME)
    html = page_of(alice)
    assert "The plan goes on as it is." in html
    assert "Changes to" not in html


def test_cancelling_says_what_stays_and_can_be_taken_back(
    alice: Client, cast: Cast, plans_for_sale: FakeStripe
) -> None:
    row = on(cast, plans_for_sale, alice)
    assert row.period_ends_at is not None
    ends = f"{row.period_ends_at:%-d %B %Y}"
    response = alice.get(CANCEL)
    assertContains(response, f"stay until</dt><dd>{ends}</dd>")
    assertContains(response, "stays, never expires")
    assert alice.post(CANCEL).status_code == 302
    html = page_of(alice)
    assert f"VIP 2 ends on {ends}." in html
    assert "No more come before the end" in html
    assert cards_in(html)["Free"].endswith("Planned")
    alice.post(RESUME)
    assert "ends on" not in page_of(alice)


def test_steps_are_dialogs_for_htmx(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    on(cast, plans_for_sale, alice)
    choice = {"tier": "vip3", "interval": "month"}
    assertContains(alice.get(CHANGE, choice, headers=HTMX), '<dialog class="dlg" id="step-dialog"')
    assertContains(alice.get(CANCEL, headers=HTMX), '<dialog class="dlg" id="step-dialog"')
    assert alice.post(CHANGE, choice, headers=HTMX)["HX-Redirect"] == PLAN


def test_a_declined_card_changes_nothing_and_leads_to_another_card(
    alice: Client, cast: Cast, plans_for_sale: FakeStripe
) -> None:
    row = on(cast, plans_for_sale, alice)
    customer = stripe_api.client().v1.subscriptions.retrieve(str(row.stripe_id)).customer
    plans_for_sale.set_card(str(customer), "decline")
    for headers in ({}, HTMX):
        response = alice.post(CHANGE, {"tier": "vip3", "interval": "month"}, headers=headers)
        assertContains(response, "declined", status_code=422)
        assertContains(response, "Nothing has changed.", status_code=422)
        assertContains(response, f'action="{PORTAL}"', status_code=422)
    assert tier_of(cast) == "vip2"


def test_an_overdue_payment_is_said_with_the_day_the_limits_end(
    alice: Client, cast: Cast, plans_for_sale: FakeStripe
) -> None:
    on(cast, plans_for_sale, alice)
    since = clock.now() - dt.timedelta(days=2)
    Subscription.objects.update(status="past_due", past_due_since=since)
    html = page_of(alice)
    assert "The payment for VIP 2 failed." in html
    assert f"Its limits stay until {since + dt.timedelta(days=7):%-d %B %Y, %H:%M} UTC" in html
    assert "No more come until it is paid" in html
    assert "Upgrade" not in html.partition("<main")[2].replace("Upgrades begin", "")
    Subscription.objects.update(past_due_since=clock.now() - dt.timedelta(days=8))
    assert "Its limits have ended" in page_of(alice)
    Subscription.objects.update(status="paused", past_due_since=None)
    assert "VIP 2 is paused." in page_of(alice)


def test_a_gift_of_the_operator_is_said_to_be_one(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    set_tier(cast.workspace.pk, tier_slug="vip2")
    html = page_of(alice)
    assert "VIP 2 is a gift of this installation’s operator." in html
    assert "Manage card" not in html
    cards = cards_in(html)
    assert cards["VIP 2"].endswith("Current")
    assert cards["VIP 3"].endswith("Subscribe to VIP 3")
    assert alice.get(CANCEL).status_code == 404


def test_the_portal_opens_at_stripe_and_leads_back(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    on(cast, plans_for_sale, alice)
    response = alice.post(PORTAL)
    assert response.status_code == 303
    assert response["Location"].startswith(plans_for_sale.url)


@pytest.mark.parametrize("address", [SUBSCRIBE, CHANGE, CANCEL, RESUME, PORTAL])
def test_stripe_away_is_said_in_place(alice: Client, cast: Cast, plans_for_sale: FakeStripe, address: str) -> None:
    if address != SUBSCRIBE:
        on(cast, plans_for_sale, alice)
    plans_for_sale.fail_next(*["500"] * 3)
    response = alice.post(address, {"tier": "vip3", "interval": "month"})
    assertContains(response, "Stripe cannot be reached now, and nothing was charged.", status_code=503)
    assertContains(response, "Requests a minute", status_code=503)


def test_stripe_away_is_said_in_the_dialog(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    on(cast, plans_for_sale, alice)
    plans_for_sale.fail_next(*["500"] * 3)
    response = alice.get(CHANGE, {"tier": "vip3", "interval": "month"}, headers=HTMX)
    assertContains(response, "Stripe cannot be reached now", status_code=422)
    assertContains(response, "step-dialog", status_code=422)


def test_payments_off_says_whom_to_ask(alice: Client, cast: Cast) -> None:
    html = page_of(alice)
    assert "Payments are off on this installation." in html
    assert "Subscribe" not in html
    assert cast.workspace.slug in html
    for address in (SUBSCRIBE, CHANGE, CANCEL, RESUME, PORTAL):
        assert alice.post(address, {"tier": "vip1", "interval": "month"}).status_code == 422, address


@pytest.mark.parametrize(
    ("role", "sees", "may"),
    [
        (Role.BILLING, True, True),
        (Role.ADMIN, True, False),
        (Role.DEVELOPER, False, False),
        (Role.VIEWER, False, False),
    ],
)
def test_who_sees_the_plan_and_who_changes_it(
    client: Client, cast: Cast, plans_for_sale: FakeStripe, role: Role, sees: bool, may: bool
) -> None:
    client.force_login(make_member(cast.workspace, role))
    response = client.get(PLAN)
    assert response.status_code == (200 if sees else 403)
    assert ("Subscribe to VIP 1" in " ".join(cards_in(response.content.decode()).values())) == may
    if sees and not may:
        assertContains(response, "People with the role owner or billing do")
    choice = {"tier": "vip1", "interval": "month"}
    assert client.post(SUBSCRIBE, choice).status_code == (303 if may else 403)
    for address in (CHANGE, CANCEL, RESUME, PORTAL):
        assert (client.post(address, choice).status_code == 403) != may, address


def test_a_strangers_plan_is_not_touched(alice: Client, cast: Cast, plans_for_sale: FakeStripe) -> None:
    on(cast, plans_for_sale, alice)
    stranger = Client()
    stranger.force_login(cast.charlie)
    assertNotContains(stranger.get(PLAN), "Manage card")
    assert stranger.get(CANCEL).status_code == 404
    assert stranger.post(CANCEL).status_code == 422
    assert Subscription.objects.get().cancels_at is None
