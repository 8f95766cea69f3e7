"""The pages of money in a real browser: what they do by themselves, and the way to a stand-in for Stripe and back."""

import datetime as dt
import re
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from billing.models import AutoTopUp, CreditOrder, Payment, Subscription
from billing.payments import sync
from billing.services import ledger
from billing.services.tiers import set_tier
from lumyx.celery import app
from lumyx.lib import clock
from lumyx.lib.money import NANO_PER_USD as USD
from rig.stripe.server import FakeStripe
from tests.billing.payments.conftest import hand_in
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, axe_violations, overflow_of
from tests.browser.test_dashboard import open_dashboard
from tests.factories import Cast, fund, make_cast

pytestmark = pytest.mark.django_db(transaction=True)

CREDITS, PLAN = "/dashboard/credits", "/dashboard/plan"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def stripe(settings: LazySettings, live_server: LiveServer, cast: Cast) -> Iterator[FakeStripe]:
    """The stand-in, where the tiers are for sale."""
    app.set_default()
    with FakeStripe() as served:
        settings.STRIPE_SECRET_KEY = served.key
        settings.STRIPE_API_BASE = served.url
        settings.LUMYX_SITE_URL = live_server.url
        sync.sync()
        yield served


@pytest.fixture
def rich(stripe: FakeStripe, cast: Cast) -> Cast:
    """Alice's workspace with credit of every kind, payments of every state, top-ups and a plan that is paid for."""
    workspace, now = cast.workspace, clock.now()
    fund(workspace, "40")
    for kind, days in (("vip", 12), ("promo", None)):
        expires_at = None if days is None else now + dt.timedelta(days=days)
        ledger.grant(workspace_id=workspace.pk, kind=kind, amount=3 * USD, source=kind, expires_at=expires_at)
    states: list[dict[str, object]] = [{}, {"refunded": USD}, {"refunded": 10 * USD}, {"dispute": "lost"}]
    for number, state in enumerate(states):
        order = CreditOrder.objects.create(workspace=workspace, kind="checkout", amount=10 * USD, state="paid")
        Payment.objects.create(
            stripe_id=f"pi_{number}",
            workspace=workspace,
            order=order,
            amount=10 * USD,
            receipt_url="https://stripe.example.com/receipt",
            paid_at=now,
            **state,
        )
    CreditOrder.objects.create(workspace=workspace, kind="top_up", amount=25 * USD, state="failed", error="x")
    AutoTopUp.objects.create(
        workspace=workspace,
        threshold=USD,
        amount=25 * USD,
        monthly_ceiling=50 * USD,
        stopped_by="declined",
    )
    set_tier(workspace.pk, tier_slug="vip2")
    Subscription.objects.update(stripe_id="sub_1", period_ends_at=now + dt.timedelta(days=12))
    return cast


def look(page: Page) -> None:
    """Look at a page in every size and theme."""
    for size in WIDTHS.values():
        page.set_viewport_size(size)
        assert overflow_of(page) <= 0, size
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert axe_violations(page) == [], f"{theme}, {size}"


def test_the_money_pages_are_accessible_and_never_too_wide(open_page: OpenPage, rich: Cast) -> None:
    page = open_dashboard(open_page, CREDITS)
    for address in (CREDITS, f"{CREDITS}?cancelled=1", PLAN, f"{PLAN}?interval=year", "/pricing"):
        page.goto(address)
        look(page)
    Subscription.objects.update(status="past_due", past_due_since=clock.now())
    page.goto(PLAN)
    look(page)


def test_the_empty_money_pages_are_accessible(open_page: OpenPage, cast: Cast) -> None:
    page = open_dashboard(open_page, PLAN)
    look(page)


def test_an_amount_is_chosen_by_keyboard_and_a_wrong_one_is_said_at_its_field(
    open_page: OpenPage, stripe: FakeStripe
) -> None:
    page = open_dashboard(open_page, CREDITS)
    own = page.get_by_label("Your amount")
    expect(own).to_be_hidden()
    page.get_by_label("$25", exact=True).focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Other")).to_be_checked()
    expect(own).to_be_visible()
    own.fill("3")
    page.get_by_role("button", name="Continue to payment").click()
    expect(page.get_by_role("alert")).to_have_text("Type an amount from $5 to $1,000.")
    expect(own).to_have_value("3")
    expect(own).to_be_focused()
    look(page)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_credit_is_bought_and_arrives(open_page: OpenPage, cast: Cast, stripe: FakeStripe, script: bool) -> None:
    page = open_dashboard(open_page, CREDITS, java_script_enabled=script)
    page.get_by_label("$50", exact=True).check(force=True)
    page.get_by_role("button", name="Continue to payment").click()
    page.wait_for_url(f"{stripe.url}/**")
    order = CreditOrder.objects.get(workspace=cast.workspace)
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url("**/dashboard/credits?paid=1**")
    expect(page.get_by_text("Payment received by Stripe.")).to_be_visible()
    expect(page.locator("#balance .lead")).to_contain_text("$0.00")
    hand_in(stripe.events())
    if not script:
        page.get_by_role("link", name="Look again").click()
    expect(page.get_by_text("$50.00 arrived.")).to_be_visible()
    expect(page.locator("#balance .lead")).to_contain_text("$50.00")
    expect(page.locator("#side-balance")).to_contain_text("$50.00")
    expect(page.locator("#payments").get_by_role("link", name="Receipt")).to_have_count(1)
    expect(page.locator(".ledger-t")).to_contain_text("Credit added")
    order.refresh_from_db()
    assert order.state == "paid"


def test_the_ledger_is_narrowed_down_and_back_returns(open_page: OpenPage, rich: Cast) -> None:
    page = open_dashboard(open_page, CREDITS)
    page.get_by_role("link", name="Expired", exact=True).click()
    expect(page.get_by_role("heading", name="No entries of this kind")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?kind=gone"))
    page.go_back()
    expect(page.locator(".ledger-t tbody tr")).to_have_count(3)


def test_top_ups_are_changed_in_a_dialog(open_page: OpenPage, rich: Cast, stripe: FakeStripe) -> None:
    page = open_dashboard(open_page, CREDITS)
    opener = page.get_by_role("link", name="Change", exact=True)
    opener.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("No card is saved yet.")).to_be_visible()
    look(page)
    dialog.get_by_label("At most a month").fill("20")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Type at least $25.00")
    dialog.get_by_label("At most a month").fill("200")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Automatic top-ups are off.")).to_be_visible()
    expect(dialog).to_have_count(0)
    expect(page.locator("#top-up")).to_contain_text("$200.00")
    stripe.fail_next(*["500"] * 9)


def test_a_plan_is_bought_changed_and_cancelled(open_page: OpenPage, cast: Cast, stripe: FakeStripe) -> None:
    page = open_dashboard(open_page, PLAN)
    page.get_by_role("button", name="Subscribe to VIP 1").click()
    page.wait_for_url(f"{stripe.url}/**")
    page.get_by_role("button", name="Subscribe").or_(page.get_by_role("button", name="Pay")).click()
    page.wait_for_url("**/dashboard/plan?subscribed=1")
    expect(page.get_by_text("The plan begins in a few seconds.")).to_be_visible()
    hand_in(stripe.events())
    expect(page.get_by_text("VIP 1 is on.")).to_be_visible()
    page.get_by_role("link", name="Upgrade to VIP 3").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name=re.compile(r"^Pay \$\d+\.\d\d and change$"))).to_be_visible()
    look(page)
    dialog.get_by_role("button", name="Pay").click()
    expect(page.get_by_text("You are on VIP 3 now.")).to_be_visible()
    page.get_by_role("link", name="Cancel the plan").click()
    expect(dialog.get_by_text("stays, never expires")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("link", name="Cancel the plan").click()
    dialog.get_by_role("button", name="Cancel the plan").click()
    expect(page.get_by_text("Until then nothing changes.").first).to_be_visible()
    page.get_by_role("button", name="Resume the plan").click()
    expect(page.get_by_text("The plan goes on as it is.")).to_be_visible()


def test_a_declined_card_is_said_in_the_dialog(open_page: OpenPage, cast: Cast, stripe: FakeStripe) -> None:
    page = open_dashboard(open_page, PLAN)
    page.get_by_role("button", name="Subscribe to VIP 1").click()
    page.wait_for_url(f"{stripe.url}/**")
    page.get_by_role("button", name="Subscribe").or_(page.get_by_role("button", name="Pay")).click()
    page.wait_for_url("**/dashboard/plan?subscribed=1")
    hand_in(stripe.events())
    customer = next(event for event in stripe.events() if event["type"] == "customer.created")
    stripe.set_card(customer["data"]["object"]["id"], "decline")
    page.goto(PLAN)
    page.get_by_role("link", name="Upgrade to VIP 2").click()
    page.get_by_role("button", name="Pay").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing has changed.")
    look(page)
    dialog.get_by_role("button", name="Change the card").click()
    page.wait_for_url(f"{stripe.url}/**")
