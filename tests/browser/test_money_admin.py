"""The operators' pages that move money, in a real browser: under the policy, on a phone, and for screen readers."""

import re

import pytest
from playwright.sync_api import Page, expect

from accounts.services.users import create_user
from billing.models import Payment, Reconciliation, RefusedDelivery, StripeEvent, Wallet
from billing.selectors.ledger import balance_of
from billing.services import ledger
from tests.accounts.admin_pages import page_of
from tests.accounts.admin_payments import add_payments
from tests.accounts.conftest import from_stripe
from tests.browser.conftest import THEMES, OpenPage, Theme, axe_violations, overflow_of
from tests.factories import PASSWORD, fund, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def sign_in(open_page: OpenPage, *, theme: Theme = "light", size: str = "desk") -> Page:
    """Open the admin as an operator."""
    create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True)
    page = open_page("/admin/", theme=theme, size=size)
    page.get_by_label("Email").fill("op@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


def test_an_operator_adjusts_a_balance_after_looking_at_what_it_does(open_page: OpenPage) -> None:
    workspace = make_workspace("Shop")
    fund(workspace, "10")
    page = sign_in(open_page)
    page.goto(page_of(Wallet, "change", workspace.pk))
    page.get_by_role("link", name="Adjust the balance").click()
    page.get_by_label("Amount, USD").fill("-12.5")
    page.get_by_label("Reason").fill("Charged twice")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_text("Only $10.00 can be taken")).to_be_visible()
    page.get_by_label("Allow a debt").check()
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_text("$2.50 of it is not free")).to_be_visible()
    page.get_by_role("button", name="Change something").click()
    expect(page.get_by_label("Allow a debt")).to_be_checked()
    page.get_by_label("Amount, USD").fill("-2.5")
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Adjust the balance").click()
    expect(page.get_by_text("The balance was adjusted by -$2.50; $7.50 is available.")).to_be_visible()
    assert balance_of(workspace.pk).available == 7_500_000_000
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("Adjusted by -$2.50: Charged twice")).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_the_pages_fit_a_phone_and_are_read_aloud(
    open_page: OpenPage, theme: Theme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.refund_page.payments_are_on", lambda: True)
    workspace = make_workspace("Shop")
    fund(workspace, "10")
    add_payments(workspace, "1")
    from_stripe("1")
    ledger.set_frozen(workspace_id=workspace.pk, frozen=False)
    page = sign_in(open_page, theme=theme, size="phone")
    run = Reconciliation.objects.get()
    for address in (
        page_of(Wallet, "change", workspace.pk),
        *(page_of(Wallet, name, workspace.pk) for name in ("adjust", "grant", "freeze")),
        page_of(Payment, "refund", "pi_1"),
        page_of(Payment, "change", "pi_1"),
        page_of(Reconciliation, "change", run.pk),
        *(page_of(model, "changelist") for model in (Payment, StripeEvent, RefusedDelivery)),
    ):
        page.goto(address)
        expect(page).to_have_url(re.compile(f"{address}$"))
        assert overflow_of(page) == 0, address
        if address.endswith(("/adjust/", "/grant/", "/freeze/", "/refund/")):
            assert axe_violations(page) == [], address
