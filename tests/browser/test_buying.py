"""Money in, as people and an operator do it: buy, spend, subscribe, change, cancel, a card that fails, top-ups, half a refund."""

import queue
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest
from playwright.sync_api import Browser, Page, expect

from lumyx.lib import clock
from rig.stripe.delivery import pack, post
from rig.stripe.server import FakeStripe
from rig.stripe.state import Record
from tests.browser.conftest import WIDTHS
from tests.flows.installation import Gateway, Installation, Tenant, installed

SECRET = "whsec_only_for_tests"  # of the test settings
PASSWORD = "a password for buyers"
DECLINES = "4000000000000002"


@dataclass
class World:
    """An installation with a stand-in for Stripe whose events reach it, and a person in it."""

    installation: Installation
    gateway: Gateway
    fake: FakeStripe
    tenant: Tenant
    delivered: "queue.Queue[Record]"

    def settled(self) -> None:
        """Wait until everything that happened at Stripe was delivered."""
        self.delivered.join()

    def customer(self) -> str:
        """Return the workspace's customer."""
        return str(self.installation.query("SELECT stripe_id FROM billing_stripecustomer")[0]["stripe_id"])


@pytest.fixture
def world() -> Iterator[World]:
    """Start everything, deliver Stripe's events as they happen, and see at the end that the books are right."""
    events: queue.Queue[Record] = queue.Queue()
    with FakeStripe() as fake, installed(number=11) as installation:
        installation.use(STRIPE_SECRET_KEY=fake.key, STRIPE_API_BASE=fake.url)
        owner = "buyer@example.com"
        slug = installation.manage("workspace", "create", "--name", "Buyers", "--owner", owner, "--password", PASSWORD)[
            "slug"
        ]
        tenant = Tenant(slug, owner, installation.new_key(slug))
        gateway = installation.start_gateway()
        fake.state.listeners.append(events.put)

        def deliver() -> None:
            while True:
                event = events.get()
                parcel = pack(event, secrets=[SECRET], at=int(clock.now().timestamp()))
                post(f"{gateway.origin}/webhooks/stripe", parcel, timeout_s=60)
                events.task_done()

        threading.Thread(target=deliver, daemon=True).start()
        try:
            assert all(row["created"] for row in installation.manage("stripe", "sync")["objects"])
            yield World(installation, gateway, fake, tenant, events)
            events.join()
            assert installation.manage("ledger", "audit")["broken"] == []
            assert installation.manage("ledger", "verify", "--workspace", slug)["wrong"] == []
            assert installation.manage("stripe", "reconcile")["ok"]
            failed = installation.query(
                "SELECT type, error FROM billing_stripeevent WHERE state NOT IN ('done', 'ignored')"
            )
            assert failed == []
        finally:
            gateway.stop()


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A browser, signed in; no page breached the policy."""
    context = browser.new_context(base_url=world.gateway.origin, viewport=WIDTHS["desk"], reduced_motion="reduce")
    opened, complaints = context.new_page(), list[str]()
    opened.set_default_timeout(30_000)
    opened.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    sign_in(opened, world.tenant.owner, "/login?next=/dashboard/credits")
    yield opened
    context.close()
    assert complaints == []


def sign_in(page: Page, email: str, address: str) -> None:
    """Sign in with a password."""
    page.goto(address)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")


def pay(page: Page, number: str = "") -> None:
    """Pay on Stripe's page."""
    if number:
        page.get_by_label("Card number").fill(number)
    page.get_by_role("button", name=re.compile("^(Pay|Subscribe)")).click()


def buy(page: Page, amount: str, *, saves_card: bool) -> None:
    """Choose an amount on the credits page and go on to Stripe."""
    page.goto("/dashboard/credits")
    page.get_by_label(f"${amount}", exact=True).check()
    if saves_card:
        page.get_by_label(re.compile("^Save this card")).check()
    page.get_by_role("button", name="Continue to payment").click()


def available(page: Page) -> str:
    """Return the balance on the credits page."""
    page.goto("/dashboard/credits")
    return page.locator("#balance dd").first.inner_text()


def test_the_whole_life_of_a_customer(page: Page, world: World, browser: Browser) -> None:
    buys_ten_dollars_and_spends_some(page, world)
    subscribes(page, world)
    upgrades_downgrades_and_cancels(page, world)
    has_a_card_that_fails(page, world)
    tops_up_once(page, world)
    an_operator_refunds_half(page, world, browser)


def buys_ten_dollars_and_spends_some(page: Page, world: World) -> None:
    """Ten dollars arrive on the page that waits for them; a request by the SDK is a line in the ledger."""
    buy(page, "10", saves_card=True)
    expect(page).to_have_url(re.compile(re.escape(world.fake.url)))
    pay(page)
    expect(page.locator("#arrival")).to_contain_text("$10.00 arrived")
    expect(page.locator("#balance")).to_contain_text("$10.00")
    client = openai.OpenAI(base_url=world.gateway.base_url, api_key=world.tenant.key)
    answer = client.chat.completions.create(
        model="sandbox/paid",
        messages=[{"role": "user", "content": "hello " * 2000}],
        extra_body={"usage": {"include": True}},
    )
    cost = answer.usage.model_extra["cost"]  # type: ignore[index,union-attr]
    assert cost > 0
    page.goto("/dashboard/credits")
    rows = page.locator("#ledger tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("Usage")
    expect(rows.nth(1)).to_contain_text("$10.00")
    posted = world.installation.query("SELECT posted FROM billing_wallet")[0]["posted"]
    charged = world.installation.query("SELECT -sum(amount) AS sum FROM billing_ledgerentry WHERE kind = 'usage'")[0][
        "sum"
    ]
    assert posted == 10_000_000_000 - charged
    assert round(cost * 10**9) == charged


def subscribes(page: Page, world: World) -> None:
    """VIP 2 is paid for with a card that is declined at first; then its limit and its credit are there."""
    page.goto("/dashboard/plan")
    page.get_by_role("button", name="Subscribe to VIP 2").click()
    pay(page, DECLINES)
    expect(page.get_by_role("alert")).to_contain_text("declined")
    assert world.installation.query("SELECT * FROM billing_subscription") == []
    pay(page, "4242424242424242")
    expect(page.locator("#start")).to_contain_text("VIP 2 is on")
    expect(page.locator(".now")).to_contain_text("of 300")
    expect(page.locator(".now")).to_contain_text("$13.00")


def upgrades_downgrades_and_cancels(page: Page, world: World) -> None:
    """Dearer is now and paid; cheaper and the end come with the end of what is paid, and can be taken back."""
    page.goto("/dashboard/plan")
    page.get_by_role("link", name="Upgrade to VIP 3").click()
    expect(page.get_by_text("Change to VIP 3, paid by the month?")).to_be_visible()
    page.get_by_role("button", name=re.compile("and change$")).click()
    expect(page.locator(".now")).to_contain_text("of 600")
    world.settled()
    page.goto("/dashboard/plan")
    expect(page.locator(".now")).to_contain_text(re.compile(r"\$2[78]\."))
    page.get_by_role("link", name="Downgrade to VIP 1").click()
    page.get_by_role("button", name=re.compile("^Change on")).click()
    expect(page.get_by_text("Changes to VIP 1")).to_be_visible()
    page.get_by_role("button", name="Undo the change").click()
    expect(page.get_by_text("Changes to VIP 1")).to_have_count(0)
    page.get_by_role("link", name="Cancel the plan").click()
    page.get_by_role("button", name="Cancel the plan").click()
    expect(page.get_by_text("VIP 3 ends on")).to_be_visible()
    page.get_by_role("button", name="Resume the plan").click()
    expect(page.get_by_text("VIP 3 ends on")).to_have_count(0)
    world.settled()
    assert world.installation.query("SELECT tier_slug, cancels_at, next_tier_slug FROM billing_subscription") == [
        {"tier_slug": "vip3", "cancels_at": None, "next_tier_slug": ""}
    ]


def has_a_card_that_fails(page: Page, world: World) -> None:
    """An upgrade whose card is declined changes nothing; the portal takes another card."""
    world.fake.set_card(world.customer(), "decline")
    page.goto("/dashboard/plan")
    page.get_by_role("link", name="Upgrade to VIP 4").click()
    page.get_by_role("button", name=re.compile("and change$")).click()
    expect(page.get_by_text("Nothing has changed")).to_be_visible()
    page.get_by_role("button", name="Change the card").click()
    expect(page).to_have_url(re.compile(re.escape(world.fake.url)))
    world.settled()
    assert world.installation.query("SELECT tier_slug FROM billing_subscription") == [{"tier_slug": "vip3"}]
    world.fake.set_card(world.customer(), "succeed")


def tops_up_once(page: Page, world: World) -> None:
    """With a threshold above the balance, credit is bought once, with the saved card."""
    page.goto("/dashboard/credits/top-up")
    page.get_by_label("Top up automatically").check()
    for name, value in (("threshold", "1000"), ("amount", "20"), ("monthly_ceiling", "39")):
        page.locator(f"#id_{name}").fill(value)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#top-up")).to_contain_text("On")
    for _ in range(3):
        world.installation.manage("tasks", "run", "billing.tasks.top_up_credits")
    world.settled()
    orders = world.installation.query("SELECT amount, state FROM billing_creditorder WHERE kind = 'top_up'")
    assert orders == [{"amount": 20_000_000_000, "state": "paid"}]
    page.goto("/dashboard/credits")
    expect(page.locator("#payments")).to_contain_text("$20.00")


def an_operator_refunds_half(page: Page, world: World, browser: Browser) -> None:
    """In the admin five of the first ten dollars go back; the customer sees it on their page."""
    world.installation.manage("operator", "create", "operator@example.com", "--password", PASSWORD)
    bought = world.installation.query(
        "SELECT p.stripe_id, p.amount FROM billing_payment p JOIN billing_creditorder o ON o.id = p.order_id"
        " WHERE o.kind = 'checkout'"
    )[0]
    assert bought["amount"] == 10_000_000_000
    before = world.installation.manage("ledger", "balance", "--workspace", world.tenant.slug)
    context = browser.new_context(base_url=world.gateway.origin, viewport=WIDTHS["desk"])
    admin = context.new_page()
    sign_in(admin, "operator@example.com", "/admin/login/")
    admin.wait_for_url("**/admin/")
    admin.goto(f"/admin/billing/payment/{bought['stripe_id']}/change/")
    admin.get_by_role("link", name="Refund", exact=True).click()
    admin.locator("[name=amount]").fill("5")
    admin.locator("[name=reason]").fill("It was the wrong amount")
    admin.get_by_role("button", name="Review").click()
    admin.get_by_role("button", name="Refund").click()
    expect(admin.locator(".messagelist")).to_contain_text("5.00")
    context.close()
    world.settled()
    after = world.installation.manage("ledger", "balance", "--workspace", world.tenant.slug)
    assert int(before["posted"]) - int(after["posted"]) == 5_000_000_000
    page.goto("/dashboard/credits")
    expect(page.locator("#ledger tbody tr").first).to_contain_text("Taken back")
    expect(page.locator("#payments")).to_contain_text(re.compile("refund", re.IGNORECASE))
