"""The public pages in a real browser: both themes, desk and phone, keyboard, clipboard, filters, sign-up and sign-in."""

import re

import pytest
from playwright.sync_api import Page, expect
from pytest_django.fixtures import Settings

from accounts.models import User
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, axe_violations, overflow_of
from tests.browser.people import sign_out, sign_up
from tests.dashboard.pages import fill_catalog
from tests.factories import PASSWORD, make_cast

pytestmark = pytest.mark.django_db(transaction=True)

LOOKED_AT = ("/", "/models", "/pricing", "/docs/chat-completions", "/docs/errors", "/login", "/signup", "/no-such-page")


@pytest.fixture(autouse=True)
def _catalog() -> None:
    fill_catalog()


def clipboard(page: Page) -> str:
    """Return what was copied."""
    return str(page.evaluate("navigator.clipboard.readText()"))


@pytest.mark.parametrize("address", LOOKED_AT)
def test_a_public_page_is_accessible_and_never_too_wide(open_page: OpenPage, address: str) -> None:
    page = open_page(address)
    for size in WIDTHS.values():
        page.set_viewport_size(size)
        assert overflow_of(page) <= 0
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert axe_violations(page) == [], f"{theme}, {size}"


def test_the_theme_changes_and_stays(open_page: OpenPage) -> None:
    page = open_page("/", theme="light")
    page.get_by_role("button", name="Toggle dark mode").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.goto("/pricing")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background


def test_the_skip_link_is_the_first_stop_and_leads_to_the_content(open_page: OpenPage) -> None:
    page = open_page("/models")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_language_is_chosen_once_and_copied_as_shown(open_page: OpenPage, settings: Settings) -> None:
    page = open_page("/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("tab", name="Python").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Node")).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("status").filter(has_text="Snippet copied")).to_be_visible()
    copied = clipboard(page)
    assert copied.startswith('import OpenAI from "openai";')
    assert f'baseURL: "{settings.LUMYX_SITE_URL}/api/v1"' in copied
    page.goto("/docs/quickstart")
    for tab in page.get_by_role("tab", name="Node").all():
        expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.locator("pre[id$=-python]").first).to_be_hidden()


def test_the_catalog_is_searched_while_typing_and_the_address_keeps_it(open_page: OpenPage) -> None:
    page = open_page("/models", permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.press("/")
    page.keyboard.type("tools")
    expect(page.get_by_role("status").filter(has_text=re.compile(r"^4 of \d+ models$"))).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?q=tools"))
    page.locator("label.chip", has_text="Free").click()
    expect(page.get_by_role("heading", name="No model matches")).to_be_visible()
    expect(page).to_have_url(re.compile("free=1"))
    page.reload()
    expect(page.get_by_label("Search models")).to_have_value("tools")
    page.get_by_role("link", name="Clear filters").click()
    page.get_by_role("button", name="Copy the id of Lumyx Plus v1").click()
    expect(page.get_by_role("status").filter(has_text="Model id copied")).to_be_visible()
    assert clipboard(page) == "lumyx-plus_v1"


def test_going_back_after_a_search_shows_the_whole_catalog(open_page: OpenPage) -> None:
    page = open_page("/models")
    page.locator("label.chip", has_text="Vision").click()
    expect(page).to_have_url(re.compile("tag=vision"))
    page.go_back()
    expect(page.get_by_role("status").filter(has_text=re.compile(r"^\d+ models$"))).to_be_visible()


def test_the_catalog_works_without_script(open_page: OpenPage) -> None:
    page = open_page("/models", java_script_enabled=False)
    page.get_by_label("Search models").fill("vision-model")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("article")).to_contain_text("vision-model-id")


def test_code_blocks_and_tables_of_the_docs_fit_a_phone(open_page: OpenPage) -> None:
    page = open_page("/docs/errors", size="phone")
    table = page.get_by_role("region", name=re.compile("^Table")).last
    assert table.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_a_person_signs_up_signs_out_and_signs_in_again(open_page: OpenPage) -> None:
    page = open_page("/")
    page.get_by_role("link", name="Start free").click()
    page.get_by_label("Email").fill("dana@example.com")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("This password is too short")).to_be_visible()
    expect(page.get_by_label("Email")).to_have_value("dana@example.com")
    sign_up(page, "dana@example.com")
    expect(page).to_have_url(re.compile("/dashboard"))
    assert User.objects.filter(email="dana@example.com").exists()
    sign_out(page)
    page.get_by_role("link", name="Sign in").first.click()
    page.get_by_label("Email").fill("dana@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(re.compile("/dashboard$"))


def test_the_palette_leads_to_pages_by_keyboard(open_page: OpenPage) -> None:
    cast = make_cast()
    page = open_page("/login?next=/dashboard")
    page.get_by_label("Email").fill(cast.alice.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(re.compile("/dashboard$"))
    page.wait_for_load_state()  # the script that hears keys is a module: it runs when the page is parsed
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Command palette")).to_be_visible()
    assert axe_violations(page) == []
    page.keyboard.type("pric")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/pricing$"))
    page.goto("/dashboard")
    page.keyboard.press("g")
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile("/dashboard/usage$"))
