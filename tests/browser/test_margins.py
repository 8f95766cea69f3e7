"""The admin's page of margins and a route's costs in a real browser: both themes, both widths, nothing inline, nothing too wide."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.services.users import create_user
from gateway.models import Route
from gateway.models.catalog import Upstream
from gateway.services.catalog import apply_catalog
from gateway.services.usage import record_usage
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, Theme, axe_violations, overflow_of
from tests.factories import PASSWORD
from tests.gateway.records import usage_record
from tests.gateway.test_costs import costed_file

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/admin/gateway/upstreamusage/"
DOLLAR = 10**9


@pytest.fixture(autouse=True)
def _catalog() -> None:
    apply_catalog(costed_file({"input": "0.60", "output": "1.20", "cache_read": "0"}))


@pytest.fixture
def _history() -> None:
    ids = dict(Upstream.objects.values_list("name", "pk"))
    rows = (
        ("plus", ids["openai"], 812 * DOLLAR, 640 * DOLLAR, 0),
        ("plus", ids["sandbox"], 3 * DOLLAR, None, 0),
        ("qwen3-235b-a22b-instruct-with-a-long-name", ids["openai"], 14 * DOLLAR, 21 * DOLLAR, 4_200_000),
        ("gratis", ids["sandbox"], 0, None, 0),
        ("lumyx-reason_v1", ids["openai"], 1_234_567 * 10**6, 34_567_890, 0),
    )
    record_usage(
        [
            usage_record(model=model, upstream_id=upstream, charge=charge, cost=cost, absorbed=absorbed)
            for model, upstream, charge, cost, absorbed in rows
        ]
    )


def enter(open_page: OpenPage, address: str, *, theme: Theme = "light", size: str = "desk") -> Page:
    """Open a page of the admin as an operator."""
    create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True)
    page = open_page(address, theme=theme, size=size)
    page.get_by_label("Email").fill("op@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")
    page.wait_for_url(f"**{address}")
    page.wait_for_load_state("networkidle")
    return page


def shoot(page: Page, name: str) -> None:
    """Keep a picture where LUMYX_PICTURES names a folder, for people to look at."""
    if folder := os.environ.get("LUMYX_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.usefixtures("_history")
def test_the_margins_can_be_read_and_sorted_at_any_width(open_page: OpenPage, size: str, theme: Theme) -> None:
    page = enter(open_page, PAGE, theme=theme, size=size)
    shoot(page, f"margins-{size}-{theme}")
    expect(page.get_by_role("heading", name="Sold below cost")).to_be_visible()
    assert page.locator(".margin-table").first.locator("tbody th").first.inner_text().startswith("qwen3"), (
        "losses first"
    )
    assert overflow_of(page) <= 0
    ours = [line for line in axe_violations(page) if "margin" in line or "color-contrast" in line]
    assert ours == []
    page.locator(".margin-table").first.get_by_role("link", name="Charged").click()
    page.wait_for_url("**sort=charge**")
    assert page.locator(".margin-table").first.locator("tbody th").first.inner_text() == "gratis"
    page.get_by_role("link", name="7 days").click()
    page.wait_for_url("**days=7**")
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "page")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", WIDTHS)
def test_without_requests_the_page_leads_to_where_costs_are_entered(
    open_page: OpenPage, size: str, theme: Theme
) -> None:
    page = enter(open_page, PAGE, theme=theme, size=size)
    shoot(page, f"empty-{size}-{theme}")
    assert overflow_of(page) <= 0
    page.locator(".nothing").get_by_role("link", name="route’s page").click()
    page.wait_for_url("**/admin/gateway/route/")
    page.goto(f"/admin/gateway/route/{Route.objects.get(upstream_model='gpt-x').pk}/change/")
    page.locator("[name=cost_input]").fill("0.40")
    shoot(page, f"route-{size}-{theme}")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_text("The cost of gpt-x is now version 2.")).to_be_visible()
    shoot(page, f"saved-{size}-{theme}")
    assert Route.objects.get(upstream_model="gpt-x").costs.count() == 2
