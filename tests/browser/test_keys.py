"""The keys page in a real browser: limits, rotation and switching off, by mouse and on a phone."""

import datetime as dt
import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.budgets import Budget, BudgetPeriod
from accounts.models import ApiKey
from accounts.services.apikeys import create_api_key, disable_api_key, revoke_api_key
from accounts.services.member_budgets import set_member_budget
from accounts.services.rotation import rotate_api_key
from billing.services import ledger
from billing.types import Admission, Settlement
from lumyx.lib import clock
from lumyx.lib.ids import uuid7
from tests.browser.conftest import THEMES, OpenPage, Theme, axe_violations, overflow_of
from tests.browser.test_dashboard import open_dashboard
from tests.dashboard.pages import fill_catalog
from tests.factories import Cast, fund, make_cast

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = "/dashboard/api-keys"
DOLLAR = 10**9


@pytest.fixture
def cast() -> Cast:
    """Alice's workspace with a key in every state, under budgets that are used to different degrees."""
    fill_catalog()
    cast = make_cast()
    fund(cast.workspace, "500")
    budget = Budget(40 * DOLLAR, BudgetPeriod.TOTAL)
    set_member_budget(workspace_id=cast.workspace.pk, user_id=cast.bob.pk, budget=budget)
    _make(cast, "Production", amount=100, period=BudgetPeriod.MONTH, spent=37, requests_per_minute=600)
    _make(
        cast, "Evaluation", amount=5, period=BudgetPeriod.DAY, spent=4.6, allowed_models=["sandbox/*", "lumyx-plus_v1"]
    )
    _make(
        cast, "A name as long as a name can be: " + "x" * 47, amount=2, period=BudgetPeriod.WEEK, spent=2, maker="bob"
    )
    rotated = _make(cast, "Rotated", allowed_addresses=["203.0.113.0/24"])
    rotate_api_key(workspace_id=cast.workspace.pk, prefix=rotated.prefix, overlap=dt.timedelta(days=1))
    disable_api_key(workspace_id=cast.workspace.pk, prefix=_make(cast, "Switched off").prefix)
    create_api_key(workspace=cast.workspace, name="CI", created_by=cast.bob, is_test=True)
    revoke_api_key(workspace_id=cast.workspace.pk, prefix=_make(cast, "Old laptop").prefix)
    return cast


def _make(
    cast: Cast,
    name: str,
    *,
    amount: int = 0,
    period: BudgetPeriod = BudgetPeriod.MONTH,
    spent: float = 0,
    maker: str = "alice",
    **options: object,
) -> ApiKey:
    budget = Budget(amount * DOLLAR, period) if amount else None
    row = create_api_key(
        workspace=cast.workspace,
        name=name,
        created_by=getattr(cast, maker),
        budget=budget,
        expires_at=clock.now() + dt.timedelta(days=30),
        **options,  # type: ignore[arg-type]
    ).row
    if spent:
        asked = Admission(uuid7(), cast.workspace.pk, row.pk, "m", int(spent * DOLLAR), 0, 60.0)
        ledger.admit([asked])
        ledger.settle([Settlement(asked.request_id, int(spent * DOLLAR))])
    return row


def snap(page: Page, name: str) -> None:
    """Keep a picture for people to look at, where LUMYX_SHOTS names a folder."""
    if folder := os.environ.get("LUMYX_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_every_part_of_the_page_is_accessible_and_never_too_wide(
    open_page: OpenPage, cast: Cast, theme: Theme, size: str
) -> None:
    page = open_dashboard(open_page, KEYS, theme=theme, size=size)

    def check(name: str) -> None:
        snap(page, f"keys-{name}-{size}-{theme}")
        assert axe_violations(page) == []
        assert overflow_of(page) <= 0

    check("list")
    page.get_by_role("button", name="Actions for Rotated").click()
    expect(page.get_by_role("link", name="Rotate Rotated")).to_be_visible()
    check("menu")
    page.get_by_role("link", name="Edit Rotated").click()
    expect(page.get_by_role("dialog").get_by_label("Budget", exact=False).first).to_be_visible()
    check("edit")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Actions for Production").click()
    page.get_by_role("link", name="Rotate Production").click()
    expect(page.get_by_role("heading", name="Rotate “Production”")).to_be_visible()
    check("rotate")
    page.get_by_role("button", name="Rotate key").click()
    expect(page.get_by_role("button", name="Copy key")).to_be_visible()
    check("secret")
    page.get_by_role("button", name="I saved it").click()
    page.get_by_role("link", name="Create key").click()
    page.get_by_text("More limits").click()
    check("create")


@pytest.mark.parametrize("script", [True, False])
def test_limits_are_changed_and_a_key_is_switched_off_and_on(open_page: OpenPage, cast: Cast, script: bool) -> None:
    page = open_dashboard(open_page, KEYS, size="phone", java_script_enabled=script)
    page.get_by_role("button", name="Actions for Evaluation").click()
    page.get_by_role("link", name="Edit Evaluation").click()
    page.locator("#key-budget").fill("50")
    page.get_by_label("Period of the budget").select_option("month")
    page.get_by_role("button", name="Save").click()
    row = page.get_by_role("row", name="Evaluation")
    expect(row).to_contain_text("of $50.00")
    page.get_by_role("button", name="Actions for Evaluation").click()
    page.get_by_role("button", name="Switch off").click()
    expect(row).to_contain_text("Off")
    page.get_by_role("button", name="Actions for Evaluation").click()
    page.get_by_role("button", name="Switch on").click()
    expect(row).to_contain_text("Active")


def test_a_wrong_limit_stays_in_the_dialog_with_what_was_typed(open_page: OpenPage, cast: Cast) -> None:
    page = open_dashboard(open_page, KEYS)
    page.get_by_role("button", name="Actions for Production").click()
    page.get_by_role("link", name="Edit Production").click()
    page.locator("#key-addresses").fill("not-an-address")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_contain_text("is no address or network")
    expect(page.locator("#key-addresses")).to_have_value("not-an-address")
