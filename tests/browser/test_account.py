"""Accounts in a real browser: from sign-up to the first request, second factors, a passkey, a provider, and the end of it all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import mail
from playwright.sync_api import Browser, Page, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import User, Workspace
from rig.letterbox import letterbox
from rig.oidc.server import OpenIDServer
from tests.accounts.signing import acts_of, code_in_last_mail, code_of_app
from tests.browser.conftest import THEMES, WIDTHS, OpenPage, axe_violations, overflow_of
from tests.browser.people import path_in_last_mail, prove, sign_in, sign_out
from tests.factories import PASSWORD, fund, make_cast, make_user, make_workspace
from tests.flows.installation import installed

pytestmark = pytest.mark.django_db(transaction=True)


def look(page: Page) -> None:
    """Look at a page in every size and theme."""
    for size in WIDTHS.values():
        page.set_viewport_size(size)
        assert overflow_of(page) <= 0, f"{page.url} {size}"
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert axe_violations(page) == [], f"{page.url} {theme}, {size}"
    page.set_viewport_size(WIDTHS["desk"])


def with_virtual_authenticator(page: Page) -> None:
    """Give the browser a device that keeps passkeys and recognises its owner."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_the_page_that_leads_to_the_inbox_looks_right(open_page: OpenPage) -> None:
    page = open_page("/signup")
    page.get_by_label("Email").fill("dana@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Check your inbox")).to_be_visible()
    look(page)
    page.goto(path_in_last_mail("dana@example.com"))
    look(page)


def test_the_first_minute_leads_from_sign_up_to_a_first_request(browser: Browser, tmp_path: Path) -> None:
    with letterbox() as mailbox, installed(number=12) as installation:
        installation.use(EMAIL_URL=mailbox.url)
        gateway = installation.start_gateway()
        context = browser.new_context(base_url=gateway.origin, viewport=WIDTHS["desk"])
        page, complaints = context.new_page(), list[str]()
        page.set_default_timeout(30_000)
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            page.goto("/signup")
            page.get_by_label("Email").fill("dana@example.com")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Create account").click()
            expect(page.get_by_role("heading", name="Check your inbox")).to_be_visible()
            link = re.search(r"https?://\S+", mailbox.texts_to("dana@example.com")[0])
            assert link
            assert link[0].startswith(gateway.origin)
            page.goto(link[0])
            page.get_by_role("button", name="Confirm address").click()
            page.get_by_role("link", name="Create key").click()
            page.get_by_role("textbox", name="Name").fill("First app")
            page.get_by_role("button", name="Create key").click()
            secret = page.get_by_label("The new API key").inner_text()
            page.get_by_role("link", name="I saved it").click()
            snippet = page.get_by_role("tabpanel", name="Python").inner_text().replace("lx-...", secret)
            script = tmp_path / "first.py"
            script.write_text(snippet)
            page.goto("/dashboard")
            expect(page.get_by_text("Waiting for the first request")).to_be_visible()
            ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
            assert (ran.returncode, ran.stderr) == (0, "")
            assert ran.stdout.strip()
            # The page that waited for it shows it by itself.
            expect(page.get_by_role("heading", name="Last requests")).to_be_visible()
            expect(page.get_by_role("row", name="First app")).to_be_visible()
        finally:
            context.close()
            gateway.stop()
    assert complaints == []


def test_a_code_by_mail_signs_in_without_script(open_page: OpenPage) -> None:
    make_workspace(owner=make_user("dana@example.com"))
    page = open_page("/login?next=/dashboard/account", java_script_enabled=False)
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    page.get_by_role("link", name="E-mail me a code").click()
    page.get_by_label("Email").fill("dana@example.com")
    page.get_by_role("button", name="Send the code").click()
    page.get_by_label("Code").fill(code_in_last_mail())
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()


def test_the_pages_of_signing_in_look_right(open_page: OpenPage, settings: Settings) -> None:
    with OpenIDServer() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = provider.settings()
        page = open_page("/login")
        expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_visible()
        for address in ("/login", "/signup", "/accounts/login/code/", "/accounts/oidc/oidc/login/"):
            page.goto(address)
            look(page)


def test_an_app_is_set_up_and_asked_for(open_page: OpenPage, browser: Browser) -> None:
    user = make_user("dana@example.com")
    make_workspace(owner=user)
    page = open_page("/login?next=/dashboard/account")
    sign_in(page, user.email)
    look(page)
    page.get_by_role("link", name="Set up the authenticator app").click()
    look(page)
    prove(page)
    expect(page.get_by_role("img", name="The secret below as a QR code")).to_be_visible()
    look(page)
    secret = page.locator("code").inner_text()
    page.get_by_label("Authenticator code").fill(code_of_app(secret, steps=-1))
    page.get_by_role("button", name="Switch it on").click()
    expect(page.get_by_role("heading", name="Save your recovery codes")).to_be_visible()
    look(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    saved = Path(download.value.path()).read_text()
    assert download.value.suggested_filename == "lumyxai-recovery-codes.txt"
    assert re.findall(r"^\d{8}$", saved, re.MULTILINE) == page.locator(".codes li").all_inner_texts()
    page.get_by_role("link", name="I saved them").click()
    sign_out(page)
    page.goto("/login")
    sign_in(page, user.email)
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    look(page)
    page.get_by_label("Code").fill(code_of_app(secret))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(re.compile("/dashboard$"))


@pytest.fixture
def named_site(live_server: LiveServer) -> str:
    """Return the site's address by name: passkeys belong to names, not to numbers."""
    return live_server.url.replace("127.0.0.1", "localhost")


def test_a_passkey_is_added_named_used_and_removed(open_page: OpenPage, named_site: str) -> None:
    user = make_user("dana@example.com")
    make_workspace(owner=user)
    page = open_page(f"{named_site}/login?next=/accounts/2fa/webauthn/add/")
    with_virtual_authenticator(page)
    sign_in(page, user.email)
    prove(page)
    look(page)
    page.get_by_label("Name").fill("Dana's laptop")
    page.get_by_role("button", name="Create the passkey").click()
    expect(page.get_by_role("heading", name="Save your recovery codes")).to_be_visible()
    page.get_by_role("link", name="I saved them").click()
    expect(page.get_by_role("link", name="Rename Dana's laptop")).to_be_visible()
    look(page)
    sign_out(page)

    page.goto(f"{named_site}/login?next=/dashboard/account")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    expect(page.locator(".acc-log")).to_contain_text("passkey")

    page.get_by_role("link", name="Rename Dana's laptop").click()
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    page.get_by_role("link", name="Use a passkey").click()
    look(page)
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_label("Name").fill("Old laptop")
    page.get_by_role("button", name="Save the name").click()
    expect(page.get_by_role("link", name="Rename Old laptop")).to_be_visible()
    look(page)
    page.get_by_role("link", name="Remove Old laptop").click()
    look(page)
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    expect(page.get_by_role("link", name="Remove Old laptop")).to_have_count(0)
    acts = acts_of(user)
    for act in ("passkey_added", "passkey_removed", "recovery_codes_made"):
        assert acts.count(f"account.{act}") == 1


def test_a_provider_signs_in_and_a_refusal_there_is_told(open_page: OpenPage, settings: Settings) -> None:
    with OpenIDServer() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = provider.settings()
        page = open_page("/login")
        page.get_by_role("button", name="Sign in with Example ID").click()
        page.wait_for_url(f"{provider.url}/**")
        page.locator("#no").click()
        expect(page.get_by_role("heading", name="Sign-in cancelled")).to_be_visible()
        look(page)
        page.get_by_role("link", name="Back to sign-in").click()
        page.get_by_role("button", name="Sign in with Example ID").click()
        page.wait_for_url(f"{provider.url}/**")
        page.locator("#go").click()
        expect(page).to_have_url(re.compile("/dashboard$"))
        page.goto("/accounts/3rdparty/")
        look(page)
    assert User.objects.get().email == "dana@example.com"


def test_an_account_is_deleted(open_page: OpenPage) -> None:
    cast = make_cast()
    fund(cast.workspace, "12.50")
    make_workspace("W" * 120, owner=cast.alice)
    page = open_page("/login?next=/dashboard/account")
    sign_in(page, cast.alice.email)
    page.get_by_role("link", name="Delete the account…").click()
    prove(page)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Choose what becomes of this workspace.")).to_be_visible()
    look(page)
    page.get_by_role("group", name="Alice's lab").get_by_role("combobox").select_option(label="Delete it")
    page.get_by_label("Type alice@example.com to confirm").fill("alice@example.com")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Delete the account for good?")).to_be_visible()
    expect(page.get_by_text("$12.50 of unused credit is lost")).to_be_visible()
    look(page)
    page.get_by_role("button", name="Delete the account for good").click()
    expect(page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    look(page)
    assert [m.subject for m in mail.outbox] == ["Your account is about to be deleted", "Your account was deleted"]
    assert all(workspace.deleted_at for workspace in Workspace.objects.filter(owner=cast.alice))
