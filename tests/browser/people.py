"""What people do in a browser before anything else: sign up, prove their address, sign in, prove who they are."""

import re
from urllib.parse import urlsplit

from django.core import mail
from playwright.sync_api import Page, expect

from tests.factories import PASSWORD


def sign_up(page: Page, email: str) -> None:
    """Fill in the page of signing up, then open the link that comes by mail, in the same browser."""
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Check your inbox")).to_be_visible()
    page.goto(path_in_last_mail(email))
    page.get_by_role("button", name="Confirm address").click()


def sign_in(page: Page, email: str) -> None:
    """Sign in on the page of signing in."""
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    """Sign out by the menu, and wait until it is done."""
    page.get_by_role("button", name="account menu").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in", exact=True).first).to_be_visible()


def prove(page: Page) -> None:
    """Give the password where the site asks who it is."""
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()


def path_in_last_mail(address: str) -> str:
    """Return the path of the link in the newest message to an address."""
    body = next(str(m.body) for m in reversed(mail.outbox) if m.to == [address])
    found = re.search(r"https?://\S+", body)
    assert found
    return urlsplit(found[0]).path
