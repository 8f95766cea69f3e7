"""An operator in the browser alone, from `operator create` to a developer's call: second factor, upstream, test, list, prices."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from playwright.sync_api import Browser, Page, expect

from tests.accounts.signing import code_of_app
from tests.browser.conftest import THEMES, WIDTHS, axe_violations, overflow_of
from tests.fakes.upstream import Behaviour, FakeUpstream, garbage
from tests.flows.installation import Gateway, Installation, installed

OPERATOR, PASSWORD = "operator@example.com", "a password for operators"
CREDENTIAL = "sk-upstream-secret"
LIST = [
    {"id": "their-large", "name": "Their Large", "context_length": 128_000},
    {"id": "their-small", "name": "Their Small", "context_length": 32_000},
    {"id": "their-embed", "context_length": 8_000},
]


@pytest.fixture
def installation() -> Iterator[Installation]:
    """A database of its own and its processes, with the second factor asked for as in production."""
    with installed(number=13) as made:
        made.use(ADMIN_REQUIRES_SECOND_FACTOR="1")
        yield made


@pytest.fixture
def gateway(installation: Installation) -> Iterator[Gateway]:
    """One process that serves the site, the admin and the API, as in production."""
    started = installation.start_gateway()
    yield started
    started.stop()


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Somebody's OpenAI-protocol server on the loopback, in a thread: Playwright has this one's event loop."""
    fake, is_up, loop = FakeUpstream(), threading.Event(), asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with fake:
            is_up.set()
            await stopping.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    assert is_up.wait(20)
    yield fake
    loop.call_soon_threadsafe(stopping.set)
    thread.join(20)
    loop.close()


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """A fresh browser; no page breached the policy or broke a script."""
    context = browser.new_context(base_url=gateway.origin, viewport=WIDTHS["desk"], reduced_motion="reduce")
    opened, complaints = context.new_page(), list[str]()
    opened.set_default_timeout(20_000)
    opened.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    opened.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
    yield opened
    context.close()
    assert complaints == []


def look(page: Page) -> None:
    """Look at a page in every size and theme."""
    for size in WIDTHS.values():
        page.set_viewport_size(size)
        assert overflow_of(page) <= 0, f"{page.url} {size}"
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert axe_violations(page) == [], f"{page.url} {theme}, {size}"
    page.set_viewport_size(WIDTHS["desk"])


def the_list() -> Behaviour:
    """Return an answer with the list of models."""
    return garbage(json.dumps({"object": "list", "data": LIST}).encode())


def sign_in_and_enrol(page: Page) -> str:
    """Ask for the admin, sign in, and set up the second factor that it asks for; return the app's secret."""
    page.goto("/admin/gateway/upstream/")
    page.get_by_label("Email").fill(OPERATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    look(page)
    page.goto("/admin/gateway/upstream/add/")
    expect(page.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    page.get_by_role("link", name="Set up an authenticator app").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    secret = page.locator("code").inner_text()
    page.get_by_label("Authenticator code").fill(code_of_app(secret))
    page.get_by_role("button", name="Switch it on").click()
    expect(page.get_by_role("heading", name="Save your recovery codes")).to_be_visible()
    assert page.locator(".codes li").count() >= 8
    page.get_by_role("link", name="I saved them").click()
    expect(page).to_have_url(re.compile("/admin/$"))
    return secret


def add_and_test_upstream(page: Page, base_url: str) -> None:
    """Add an upstream, with the button that tests what it saves."""
    page.goto("/admin/gateway/upstream/add/")
    page.locator("[name=name]").fill("somebody")
    page.locator("[name=provider]").fill("openai-compatible")
    page.locator("[name=protocol]").select_option("openai_chat")
    page.locator("[name=base_url]").fill(base_url)
    page.locator("[name=credential]").fill(CREDENTIAL)
    page.locator("[name=allow_private_network]").check()
    page.get_by_role("button", name="Save and test").click()
    expect(page.get_by_text("The test of somebody succeeded: It lists 3 models. (HTTP 200,")).to_be_visible()
    assert CREDENTIAL not in page.content()


def import_models(page: Page) -> None:
    """Import two models of its list, one paid and one free."""
    page.get_by_role("link", name="Import models").click()
    look(page)
    page.get_by_role("button", name="Ask for its models").click()
    expect(page.get_by_text("3 of them are new here")).to_be_visible()
    look(page)
    page.get_by_label("their-large").check()
    page.get_by_label("their-small").check()
    page.get_by_role("button", name="Go on with the ticked ones").click()
    expect(page.locator("[name=pick-0-context_window]")).to_have_value("128000")
    look(page)
    page.locator("[name=pick-0-public_id]").fill("house/large")
    page.locator("[name=pick-1-public_id]").fill("house/small")
    page.locator("[name=pick-0-price_input]").fill("1")
    page.locator("[name=pick-0-price_output]").fill("2")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Nothing was imported.")).to_be_visible()
    expect(page.get_by_text("Is missing: give the price, or say that it is free")).to_be_visible()
    look(page)
    page.locator("[name=pick-1-is_free]").check()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Imported from somebody: 2 models and 2 routes.")).to_be_visible()


def double_the_price(page: Page) -> None:
    """Change a price: look at what it would mean first."""
    page.get_by_role("link", name="house/large").click()
    page.get_by_role("link", name="Change the price").click()
    look(page)
    page.locator("[name=price_input]").fill("2")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("row", name="Input $1 $2 +100.0 %")).to_be_visible()
    look(page)
    page.get_by_role("button", name="Make it the price").click()
    expect(page.get_by_text("The price of house/large is now version 2.")).to_be_visible()


def balance_of(installation: Installation, slug: str) -> int:
    """Return a workspace's posted balance (nano-USD)."""
    return int(installation.manage("ledger", "balance", "--workspace", slug)["posted"])


def test_an_operator_opens_a_way_to_an_answer_in_the_browser_alone(
    page: Page, gateway: Gateway, installation: Installation, upstream: FakeUpstream
) -> None:
    installation.manage("operator", "create", OPERATOR, "--password", PASSWORD)
    tenant = installation.new_tenant()
    secret = sign_in_and_enrol(page)

    upstream.script(the_list(), the_list())
    add_and_test_upstream(page, upstream.base_url)
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {CREDENTIAL}"
    import_models(page)
    double_the_price(page)
    page.wait_for_timeout(1_000)  # a change acts in running processes within a second

    client = OpenAI(base_url=gateway.base_url, api_key=tenant.key, max_retries=0)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
    answer = client.chat.completions.create(model="house/large", messages=messages, max_tokens=100)
    assert answer.choices[0].message.content == "Hello there."
    assert upstream.requests[-1].json["model"] == "their-large"
    # 9 tokens at $2 and 3 at $2 the million, as the upstream counted them.
    paid = 5_000_000_000 - 9 * 2_000 - 3 * 2_000
    assert balance_of(installation, tenant.slug) == paid
    assert client.chat.completions.create(model="house/small", messages=messages, max_tokens=100)
    assert balance_of(installation, tenant.slug) == paid

    acts = installation.query("SELECT action, target_kind FROM accounts_auditentry WHERE actor_kind = 'operator'")
    assert {"upstream", "catalogmodel"} <= {act["target_kind"] for act in acts}
    signs_in_again_with_a_code(page, secret)


def signs_in_again_with_a_code(page: Page, secret: str) -> None:
    """Sign out; the password alone does not lead back, a new code does."""
    page.context.clear_cookies()
    page.goto("/admin/")
    page.get_by_label("Email").fill(OPERATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    page.goto("/admin/")
    assert "/admin/" not in page.url.split("?")[0]
    page.goto("/accounts/2fa/authenticate/")
    page.get_by_label("Code").fill(code_of_app(secret, steps=1))
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/admin/$"))
