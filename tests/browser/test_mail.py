"""E-mails and the page that stops them in a real browser: both themes, a desk's width and a phone's."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pytest_django.fixtures import Settings

from accounts.models import Workspace
from billing.models import Notice
from billing.services.mutes import unsubscribe_token
from billing.services.notice_kinds import KINDS
from billing.services.notice_mail import message_of
from tests.billing.notice_facts import FACTS
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, axe_violations, overflow_of
from tests.factories import make_user, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)

FILE_MAILER = "django.core.mail.backends.filebased.EmailBackend"
#: What a page is asked and a message in an inbox is not: headings and landmarks around it are the mail program's.
NOT_OF_A_MESSAGE = ("landmark-one-main", "region", "page-has-heading-one")


@pytest.fixture
def workspace() -> Workspace:
    """Return a workspace with the longest name, all of it one word."""
    return make_workspace("W" * 120)


@pytest.fixture
def inbox(settings: Settings, tmp_path: Path) -> None:
    """Switch development mail on."""
    settings.DEBUG = True
    settings.MAILERS = {"default": {"BACKEND": FILE_MAILER, "OPTIONS": {"file_path": str(tmp_path)}}}


def look(page: Page) -> None:
    """Look at a page in every size and theme."""
    for size in ({"width": 600, "height": 860}, WIDTHS["phone"]):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert overflow_of(page) <= 0, size
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            found = [line for line in axe_violations(page) if not line.startswith(NOT_OF_A_MESSAGE)]
            assert found == [], f"{theme}, {size}"


def test_every_notice_looks_right_in_the_development_inbox(
    open_page: OpenPage, workspace: Workspace, inbox: None
) -> None:
    for kind in KINDS:
        notice = Notice(kind=kind, workspace=workspace, key=kind, facts=dict(FACTS[kind]))
        message_of(notice, person=workspace.owner).send()
    page = open_page("/dev/mail")
    links = page.locator("main a[href^='/dev/mail/']")
    addresses = [str(link.get_attribute("href")) for link in links.all()]
    assert len(addresses) == len(KINDS)
    page.goto(addresses[0])
    look(page)
    page.get_by_role("link", name="As a mail program shows it").click()
    for address in addresses:
        page.goto(f"{address}/html")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        look(page)


def test_alerts_are_stopped_and_wanted_again_on_one_page(open_page: OpenPage) -> None:
    page = open_page(f"/unsubscribe/{unsubscribe_token(make_user().pk, kind='low_balance')}")
    look(page)
    page.get_by_role("button", name="Stop low-balance alerts").click()
    expect(page.get_by_role("heading", name="You get no more low-balance alerts")).to_be_visible()
    look(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="Low-balance alerts are on again")).to_be_visible()
    page.goto("/unsubscribe/x")
    look(page)
