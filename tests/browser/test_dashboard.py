"""The signed-in pages in a real browser: from the sign-up to a charge on the page, with and without a script."""

import datetime as dt
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from accounts.roles import Role
from accounts.selectors.apikeys import api_keys_of
from accounts.selectors.workspaces import workspaces_of
from accounts.services.apikeys import create_api_key, revoke_api_key
from accounts.services.workspaces import set_member
from gateway.selectors.usage import recent_requests
from lumyx.lib import clock
from tests.browser import people
from tests.browser.conftest import OpenPage, axe_violations, overflow_of
from tests.dashboard.pages import fill_catalog
from tests.dashboard.usage_rows import make_request
from tests.factories import Cast, fund, make_cast

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ("/dashboard", "/dashboard/api-keys", "/dashboard/usage?range=30d", "/dashboard/credits")
CLIPBOARD = ["clipboard-read", "clipboard-write"]


@pytest.fixture(autouse=True)
def _catalog() -> None:
    fill_catalog()


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def full(cast: Cast) -> Cast:
    """Alice's workspace with keys of every state and a month of requests."""
    fund(cast.workspace, "50")
    key = create_api_key(workspace=cast.workspace, name="Production", created_by=cast.alice).row
    create_api_key(
        workspace=cast.workspace, name="A name as long as a name can be: " + "x" * 47, created_by=cast.bob, is_test=True
    )
    gone = create_api_key(workspace=cast.workspace, name="Old laptop", created_by=cast.bob).row
    revoke_api_key(workspace_id=cast.workspace.pk, prefix=gone.prefix)
    models = ("lumyx-plus_v1", "lumyx-reason_v1", "qwen3-235b-a22b-instruct-with-a-long-name", "free/echo")
    for number in range(24):
        make_request(
            cast.workspace,
            key=key,
            model=models[number % 4],
            charge=0 if number % 4 == 3 else 1_000_000 * (number + 1),
            at=clock.now() - dt.timedelta(days=number),
        )
    return cast


def sign_in(page: Page, email: str = "alice@example.com") -> None:
    """Sign in on the page that asked for it."""
    people.sign_in(page, email)
    page.wait_for_url("**/dashboard**")


def open_dashboard(open_page: OpenPage, address: str = "/dashboard", **options: object) -> Page:
    """Open an address as Alice."""
    page = open_page(address, **options)
    sign_in(page)
    return page


def test_from_sign_up_to_the_first_charge(open_page: OpenPage) -> None:
    page = open_page("/signup", permissions=CLIPBOARD)
    people.sign_up(page, "nina@example.com")
    page.wait_for_url("**/dashboard")
    expect(page.get_by_role("heading", name="Make your first request")).to_be_visible()
    page.get_by_role("link", name="Create key").click()
    page.get_by_role("textbox", name="Name").fill("First app")
    page.get_by_role("button", name="Create key").click()
    secret = page.locator("#new-key").inner_text()
    assert re.fullmatch(r"lx-\w{40,}", secret)
    page.get_by_role("button", name="Copy key").click()
    expect(page.get_by_text("Key copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.get_by_role("link", name="I saved it").click()
    expect(page.get_by_role("button", name="Actions for First app")).to_be_visible()
    assert secret not in page.content()

    # The overview waits; the first request turns it into the list of requests by itself.
    page.goto("/dashboard")
    expect(page.get_by_text("Waiting for the first request")).to_be_visible()
    nina = User.objects.get(email="nina@example.com")
    (workspace,) = workspaces_of(nina)
    fund(workspace, "1")
    make_request(workspace, key=api_keys_of(workspace.pk).get(), charge=4_200_001)
    expect(page.get_by_role("heading", name="Last requests")).to_be_visible()
    expect(page.get_by_role("row", name="First app")).to_contain_text("$0.0042")
    expect(page.get_by_title("$0.004200001").first).to_be_visible()
    for address in ("/dashboard/usage", "/dashboard/credits"):
        page.goto(address)
        expect(page.get_by_title("$0.004200001").or_(page.get_by_title("-$0.004200001")).first).to_be_visible()


def test_a_key_is_created_in_a_dialog_that_leaves_no_secret_behind(open_page: OpenPage, cast: Cast) -> None:
    page = open_dashboard(open_page, "/dashboard/api-keys", permissions=CLIPBOARD)
    opener = page.get_by_role("link", name="Create key")
    opener.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox", name="Name")).to_be_focused()
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.get_by_text("Give the key a name")).to_be_visible()
    expect(dialog.get_by_role("button", name="Create key")).to_be_enabled()
    dialog.get_by_role("textbox", name="Name").fill("Production")
    dialog.get_by_role("textbox", name="Name").press("Enter")
    secret = dialog.locator("#new-key").inner_text()
    dialog.get_by_role("button", name="Copy a cURL command").click()
    expect(page.get_by_text("Command copied")).to_be_visible()
    assert f"Authorization: Bearer {secret}" in page.evaluate("navigator.clipboard.readText()")
    expect(page.locator("#keys-table")).to_contain_text("Production")
    dialog.get_by_role("button", name="I saved it").click()
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    expect(page.locator("#new-key")).to_have_count(0)  # a closed dialog has no role, so its role alone tells nothing
    assert secret not in page.content()
    page.reload()
    assert secret not in page.content()
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])").find(secret) == -1


def test_escape_closes_the_dialog_and_nothing_was_made(open_page: OpenPage, cast: Cast) -> None:
    page = open_dashboard(open_page, "/dashboard/api-keys")
    page.get_by_role("link", name="Create key").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not api_keys_of(cast.workspace.pk).exists()


def test_revoking_asks_for_the_name(open_page: OpenPage, full: Cast) -> None:
    page = open_dashboard(open_page, "/dashboard/api-keys")
    page.get_by_role("button", name="Actions for Production").click()
    page.get_by_role("link", name="Revoke Production").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Type Production to confirm").fill("production")
    dialog.get_by_role("button", name="Revoke key").click()
    expect(dialog.get_by_text("That is not this key’s name")).to_be_visible()
    dialog.get_by_label("Type Production to confirm").fill("Production")
    dialog.get_by_role("button", name="Revoke key").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("“Production” is revoked")).to_be_visible()
    expect(page.get_by_role("row", name="Production")).to_contain_text("Revoked")
    expect(page.get_by_role("button", name="Actions for Production")).to_have_count(0)


def test_keys_work_without_a_script(open_page: OpenPage, cast: Cast) -> None:
    page = open_dashboard(open_page, "/dashboard/api-keys", java_script_enabled=False)
    page.get_by_role("link", name="Create key").click()
    page.get_by_role("textbox", name="Name").fill("Plain")
    page.get_by_role("button", name="Create key").click()
    assert page.locator("#new-key").inner_text().startswith("lx-")
    page.get_by_role("link", name="I saved it").click()
    page.get_by_role("button", name="Actions for Plain").click()
    page.get_by_role("link", name="Revoke Plain").click()
    page.get_by_label("Type Plain to confirm").fill("Plain")
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("is revoked")).to_be_visible()


def test_a_range_is_kept_in_the_address_and_back_returns(open_page: OpenPage, full: Cast) -> None:
    page = open_dashboard(open_page, "/dashboard/usage")
    page.get_by_role("link", name="30 days").click()
    expect(page).to_have_url(re.compile("range=30d"))
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="Requests").click()
    expect(page.get_by_role("heading", name="Requests by model and day")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Requests by model and day")).to_be_visible()
    page.get_by_role("link", name="Custom").click()
    page.get_by_label("From").fill(str(clock.now().date() - dt.timedelta(days=2)))
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".u-day")).to_have_count(3)
    page.go_back()
    page.wait_for_load_state("networkidle")  # htmx may load the page anew, and going on would abort that
    page.go_back()
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")


def test_the_csv_file_is_downloaded_with_the_rows_of_the_table(open_page: OpenPage, full: Cast, tmp_path: Path) -> None:
    page = open_dashboard(open_page, "/dashboard/usage?range=30d")
    rows = page.locator(".u-day").count()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "usage.csv")
    assert download.value.suggested_filename.startswith(f"lumyx-usage-{full.workspace.slug}-")
    assert len((tmp_path / "usage.csv").read_text().splitlines()) == rows + 1


def test_a_bar_tells_its_day_to_mouse_and_keyboard(open_page: OpenPage, full: Cast) -> None:
    page = open_dashboard(open_page, "/dashboard/usage?range=7d")
    tip = page.locator(".tip")
    page.locator(".chart .col").last.hover()
    expect(tip).to_contain_text("lumyx-plus_v1")
    expect(tip).to_contain_text("$0.0010")
    page.mouse.move(0, 0)
    page.locator(".chart .col").nth(5).focus()
    expect(tip).to_contain_text("lumyx-reason_v1")


def test_changing_the_workspace(open_page: OpenPage, cast: Cast) -> None:
    set_member(cast.other_workspace, user=cast.alice, role=Role.VIEWER)
    page = open_dashboard(open_page, "/dashboard/api-keys")
    page.get_by_role("button", name="change workspace").click()
    page.get_by_role("button", name="Charlie's den").click()
    page.wait_for_url("**/dashboard")
    expect(page.locator(".side")).to_contain_text("Charlie's den")


@pytest.mark.parametrize("size", ["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_signed_in_pages_are_accessible_and_never_too_wide(
    open_page: OpenPage, full: Cast, theme: str, size: str
) -> None:
    page = open_dashboard(open_page, theme=theme, size=size)
    request_page = f"/dashboard/usage/{recent_requests(full.workspace.pk, limit=1)[0].id.hex}"
    for address in (*PAGES, "/dashboard/api-keys?new", "/dashboard/usage?range=custom", request_page):
        page.goto(address)
        assert overflow_of(page) <= 0, address
        assert axe_violations(page) == [], address
    page.goto("/dashboard/api-keys")
    page.get_by_role("link", name="Create key").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert axe_violations(page) == []


def test_the_empty_pages_are_accessible(open_page: OpenPage, cast: Cast) -> None:
    page = open_dashboard(open_page, size="phone")
    for address in PAGES:
        page.goto(address)
        assert overflow_of(page) <= 0, address
        assert axe_violations(page) == [], address
