"""A team in a real browser: a second person is invited, joins as a developer, and does not see the money."""

import re
from pathlib import Path

import pytest
from django.core import mail
from playwright.sync_api import Page, expect

from accounts.models import Membership
from accounts.roles import Role
from accounts.services.closing import plan_deletion
from accounts.services.invitations import invite
from accounts.services.policies import accept_policy
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, Theme, axe_violations, overflow_of
from tests.browser.people import sign_up
from tests.browser.test_dashboard import sign_in
from tests.dashboard.pages import fill_catalog
from tests.factories import Cast, fund, make_cast, make_member

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "a-very-long-address-that-somebody-really-has-" + "x" * 40 + "@example.com"


@pytest.fixture(autouse=True)
def _catalog() -> None:
    fill_catalog()


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def team(cast: Cast) -> Cast:
    """Alice's workspace with people of every role, invitations and a log."""
    fund(cast.workspace, "50")
    for role in (Role.ADMIN, Role.BILLING, Role.VIEWER):
        make_member(cast.workspace, role, email=f"{role}@example.com")
    make_member(cast.workspace, Role.VIEWER, email=LONG)
    invite(cast.workspace.pk, email="nina@example.com", role=Role.DEVELOPER, by=cast.alice)
    invite(cast.workspace.pk, email="z" + LONG, role=Role.BILLING, by=cast.alice)
    return cast


def link_in_the_mail() -> str:
    """Return the path of the invitation in the newest message."""
    found = re.search(r"http://\S+?(/invitations/\S+)", str(mail.outbox[-1].body))
    assert found is not None
    return found[1]


def test_an_invited_person_joins_as_a_developer_and_sees_no_money(open_page: OpenPage, cast: Cast) -> None:
    owner = open_page("/dashboard/members")
    sign_in(owner)
    owner.get_by_role("link", name="Invite a person").click()
    owner.get_by_label("E-mail address").fill("nina@example.com")
    owner.get_by_role("radio", name="Developer").check()
    owner.get_by_role("button", name="Send the invitation").click()
    expect(owner.get_by_text("An invitation is on its way to nina@example.com")).to_be_visible()

    guest = open_page(link_in_the_mail())
    expect(guest.get_by_role("heading", name="Join Alice's lab")).to_be_visible()
    guest.get_by_role("link", name="Create an account").click()
    expect(guest.get_by_label("Email")).to_have_value("nina@example.com")
    sign_up(guest, "nina@example.com")
    guest.get_by_role("button", name="Join as developer").click()
    guest.wait_for_url("**/dashboard")
    expect(guest.get_by_text("Welcome to Alice's lab. Your role is developer.")).to_be_visible()
    menu = guest.get_by_role("navigation", name="Main", exact=True)
    expect(menu.get_by_role("link", name="API keys")).to_be_visible()
    for hidden in ("Credits", "Plan", "Audit log"):
        expect(menu.get_by_role("link", name=hidden)).to_have_count(0)
    guest.goto("/dashboard/credits")
    expect(guest.get_by_role("heading", name="Your role does not let you see credits and the ledger")).to_be_visible()
    guest.goto("/dashboard/members")
    expect(guest.get_by_role("link", name="Invite a person")).to_have_count(0)

    owner.goto("/dashboard/members")
    expect(owner.get_by_role("region", name="Table of members")).to_contain_text("nina@example.com")
    assert Membership.objects.filter(
        workspace=cast.workspace, user__email="nina@example.com", role="developer"
    ).exists()


def test_a_role_is_changed_and_the_workspace_deleted_and_kept(open_page: OpenPage, team: Cast) -> None:
    page = open_page("/dashboard/members")
    sign_in(page)
    page.get_by_role("link", name="Manage Bob").click()
    page.get_by_role("radio", name="Viewer").check()
    page.get_by_role("button", name="Change the role").click()
    expect(page.get_by_text("Bob is viewer now.")).to_be_visible()
    page.goto("/dashboard/workspace")
    page.get_by_role("link", name="Delete…").click()
    page.get_by_label("Type “Alice's lab” to confirm").fill("Alice's lab")
    page.get_by_role("button", name="Delete the workspace").click()
    expect(page.get_by_text("This workspace will be deleted on")).to_be_visible()
    page.get_by_role("button", name="Keep the workspace").click()
    expect(page.get_by_text("stays, and its API keys work again")).to_be_visible()


def test_the_policy_is_accepted_from_the_catalog(open_page: OpenPage, cast: Cast) -> None:
    page = open_page("/dashboard/policies/uncensored")
    sign_in(page)
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Accept version 1").click()
    expect(page.get_by_text("accepts the policy, version 1")).to_be_visible()


def test_the_log_is_exported(open_page: OpenPage, team: Cast) -> None:
    page = open_page("/dashboard/audit")
    sign_in(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.startswith("time,action,")
    assert "member.invited" in text


def every_page(page: Page, workspace: Cast) -> list[str]:
    """Return the addresses of the pages to look at."""
    bob = Membership.objects.get(workspace=workspace.workspace, user=workspace.bob).pk
    return [
        "/dashboard/members",
        "/dashboard/members?invite",
        f"/dashboard/members/{bob}",
        "/dashboard/workspace",
        "/dashboard/workspaces/new",
        "/dashboard/workspace/transfer",
        "/dashboard/workspace/delete",
        "/dashboard/audit",
        "/dashboard/policies/uncensored",
    ]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", WIDTHS)
def test_every_page_fits_and_can_be_read_by_everybody(open_page: OpenPage, team: Cast, theme: Theme, size: str) -> None:
    page = open_page("/dashboard/members", theme=theme, size=size)
    sign_in(page)
    found = []
    for address in every_page(page, team):
        page.goto(address)
        found += [f"{address} {line}" for line in axe_violations(page)]
        if overflow_of(page) > 0:
            found.append(f"{address} is {overflow_of(page)} px too wide")
    accept_policy(team.workspace.pk, policy="uncensored", accepted_by=team.alice)
    plan_deletion(team.workspace.pk, by=team.alice)
    for address in ("/dashboard/policies/uncensored", "/dashboard/workspace"):
        page.goto(address)
        found += [f"{address}, later: {line}" for line in axe_violations(page)]
    assert found == []
