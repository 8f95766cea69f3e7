"""From nothing to an answer in the admin alone: an upstream, its test, a model with a price and a route, then a call."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import WIDTHS
from tests.fakes.upstream import FakeUpstream
from tests.flows.installation import Gateway, Installation, installed

OPERATOR, PASSWORD = "operator@example.com", "a password for operators"
CREDENTIAL = "sk-upstream-secret"


@pytest.fixture
def installation() -> Iterator[Installation]:
    """A database of its own and its processes."""
    with installed(number=6) as made:
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
def admin(browser: Browser, gateway: Gateway, installation: Installation) -> Iterator[Page]:
    """The admin, signed in as an operator; no page breached the policy."""
    installation.manage("operator", "create", OPERATOR, "--password", PASSWORD)
    context = browser.new_context(base_url=gateway.origin, viewport=WIDTHS["desk"])
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    page.goto("/admin/")
    page.get_by_label("Email").fill(OPERATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")
    expect(page).to_have_url(f"{gateway.origin}/admin/")
    yield page
    context.close()
    assert complaints == []


def add_upstream(page: Page, base_url: str) -> None:
    """Fill in the form, and press the button that tests what it saves."""
    page.goto("/admin/gateway/upstream/add/")
    page.get_by_label("Name", exact=False).first.fill("somebody")
    page.get_by_label("Provider", exact=False).first.fill("openai-compatible")
    page.locator("[name=protocol]").select_option("openai_chat")
    page.locator("[name=base_url]").fill(base_url)
    page.locator("[name=credential]").fill(CREDENTIAL)
    page.locator("[name=allow_private_network]").check()
    page.get_by_role("button", name="Save and test").click()


def add_model(page: Page) -> None:
    """A model with its price and its route, on one page."""
    page.goto("/admin/gateway/catalogmodel/add/")
    page.locator("[name=public_id]").fill("house/model")
    page.locator("[name=display_name]").fill("House model")
    page.locator("[name=context_window]").fill("8000")
    page.locator("[name=max_output_tokens]").fill("1000")
    page.locator("[name=price_input]").fill("1")
    page.locator("[name=price_output]").fill("2")
    page.locator("[name=routes-0-upstream]").select_option(label="somebody")
    page.locator("[name=routes-0-upstream_model]").fill("their-model")
    page.get_by_role("button", name="Save", exact=True).click()


def ask(gateway: Gateway, key: str) -> dict[str, object]:
    """Call the model as anybody would."""
    body = json.dumps({"model": "house/model", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100})
    request = urllib.request.Request(
        f"{gateway.base_url}/chat/completions",
        data=body.encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answered: dict[str, object] = json.load(answer)
    return answered


def test_an_operator_opens_a_way_to_an_answer_in_the_admin_alone(
    admin: Page, gateway: Gateway, installation: Installation, upstream: FakeUpstream
) -> None:
    tenant = installation.new_tenant()
    add_upstream(admin, upstream.base_url)
    expect(admin.get_by_text("The test of somebody succeeded")).to_be_visible()
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert CREDENTIAL not in admin.content()
    expect(admin.get_by_text("One is stored, encrypted.")).to_be_visible()

    add_model(admin)
    expect(admin.get_by_text("was added successfully")).to_be_visible()
    admin.wait_for_timeout(1_000)  # a change acts in running processes within a second

    answer = ask(gateway, tenant.key)
    assert answer["model"] == "house/model"
    assert upstream.requests[-1].json["model"] == "their-model"
    # 9 tokens at $1 and 3 at $2 the million, as the upstream counted them.
    balance = installation.manage("ledger", "balance", "--workspace", tenant.slug)
    assert (balance["posted"], balance["held"]) == (str(5_000_000_000 - 9 * 1_000 - 3 * 2_000), "0")

    admin.goto("/admin/billing/ledgerentry/")
    expect(admin.get_by_role("link", name="Add ledger entry")).to_have_count(0)
    expect(admin.locator("#result_list tbody tr")).to_have_count(2)


def test_a_test_that_fails_says_why_and_keeps_what_was_typed(admin: Page) -> None:
    add_upstream(admin, "http://127.0.0.1:9")
    expect(admin.get_by_text("The test of somebody failed")).to_be_visible()
    expect(admin.locator("[name=base_url]")).to_have_value("http://127.0.0.1:9")
