"""The admin in the site's dress: its front page in every size and theme, and the theme that somebody chose anywhere on the site."""

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Announcement
from accounts.services.users import create_user
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, Theme, axe_violations, overflow_of
from tests.browser.people import sign_in
from tests.dashboard.pages import fill_catalog
from tests.factories import PASSWORD, make_cast

pytestmark = pytest.mark.django_db(transaction=True)


def enter(open_page: OpenPage, *, theme: Theme = "light", size: str = "desk") -> Page:
    """Open the admin as an operator."""
    create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True)
    page = open_page("/admin/", theme=theme, size=size)
    sign_in(page, "op@example.com")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


def brightness_of(page: Page) -> float:
    """Return how bright the page's ground is painted, from 0 to 1."""
    pixel = """() => {
        const canvas = new OffscreenCanvas(1, 1).getContext("2d");
        canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data[1] / 255;
    }"""
    return float(page.evaluate(pixel))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", list(WIDTHS))
def test_the_front_page_can_be_read_everywhere(open_page: OpenPage, theme: Theme, size: str) -> None:
    fill_catalog()
    page = enter(open_page, theme=theme, size=size)
    expect(page.get_by_text("What waits for you")).to_be_visible()
    assert axe_violations(page) == []
    assert overflow_of(page) <= 0
    assert (brightness_of(page) < 0.5) is (theme == "dark")
    page.goto("/admin/gateway/upstream/")
    assert axe_violations(page) == []
    assert overflow_of(page) <= 0


def test_the_theme_is_the_sites_and_kept_by_its_cookie(open_page: OpenPage) -> None:
    page = enter(open_page)
    assert brightness_of(page) > 0.5
    page.get_by_role("button", name="Toggle dark mode").click()
    assert brightness_of(page) < 0.5
    for address in ("/admin/accounts/user/", "/", "/admin/"):
        page.goto(address)
        assert brightness_of(page) < 0.5, address
    page.get_by_role("button", name="Toggle dark mode").click()
    assert brightness_of(page) > 0.5
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert brightness_of(page) > 0.5, "what was chosen wins over the system's"


def test_the_theme_holds_without_script(open_page: OpenPage) -> None:
    create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True)
    page = open_page("/login?next=/admin/", java_script_enabled=False)
    page.context.add_cookies([{"name": "theme", "value": "dark", "url": page.url}])
    sign_in(page, "op@example.com")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.locator("body")).to_have_css("color-scheme", "dark")


def test_an_announcement_is_put_away_without_script(open_page: OpenPage) -> None:
    cast = make_cast()
    Announcement.objects.create(text="We are moving on Sunday.", level="warning")
    page = open_page("/login?next=/dashboard/usage", java_script_enabled=False)
    sign_in(page, cast.alice.email)
    expect(page.get_by_text("We are moving on Sunday.")).to_be_visible()
    page.get_by_role("button", name="Dismiss this announcement").click()
    expect(page).to_have_url(page.url)
    expect(page.get_by_text("We are moving on Sunday.")).to_have_count(0)
