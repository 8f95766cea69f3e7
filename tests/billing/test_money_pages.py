"""Operators adjust, grant and freeze in the admin: once a form, with a review, a line in the history, and only with permission."""

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from billing.models import Adjustment, CreditGrant, Wallet
from billing.selectors.ledger import balance_of, entries_of
from billing.services import ledger
from lumyx.lib.ids import uuid7
from lumyx.lib.money import NANO_PER_USD as USD
from tests.accounts.admin_pages import act, page_of, staff
from tests.billing.builders import Account, admit_one, make_account

pytestmark = pytest.mark.django_db
PAGES = {
    "adjust": "billing.add_adjustment",
    "grant": "billing.add_creditgrant",
    "freeze": "billing.change_wallet",
    "unfreeze": "billing.change_wallet",
}


@pytest.fixture
def account() -> Account:
    """A workspace with ten dollars."""
    account = make_account()
    account.fund(10 * USD)
    return account


def operator(*pages: str) -> Client:
    """Return the browser of somebody who may do these things and look at wallets."""
    return staff("billing.view_wallet", *{PAGES[page] for page in pages})


def send(client: Client, account: Account, name: str, /, *, confirmed: bool = True, **values: Any) -> Any:
    """Send a form, as if it had been reviewed or for its review."""
    data = {"form_id": str(uuid7()), **values, **({"_confirmed": "yes"} if confirmed else {})}
    return client.post(page_of(Wallet, name, account.id), data, follow=True)


def words_of(response: Any) -> str:
    """Return a page's text without its marks."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def log_of(account: Account) -> list[str]:
    """Return the lines of a wallet's history, oldest first."""
    rows = LogEntry.objects.filter(content_type__model="wallet", object_id=str(account.id)).order_by("pk")
    return list(rows.values_list("change_message", flat=True))


def test_a_balance_is_adjusted_after_a_review_and_once_a_form(account: Account) -> None:
    client = operator("adjust")
    page = client.get(page_of(Wallet, "adjust", account.id))
    assert "Available now $10.00" in words_of(page)
    values: dict[str, Any] = {"form_id": str(uuid7()), "amount": "-2.5", "reason": "Charged twice", "note": ""}
    review = send(client, account, "adjust", confirmed=False, **values)
    assert "Change -$2.50 Available after $7.50 Reason Charged twice" in words_of(review)
    assert balance_of(account.id).available == 10 * USD
    hidden: dict[str, Any] = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', review.content.decode()))
    hidden.pop("csrfmiddlewaretoken", None)
    assert hidden["form_id"] == values["form_id"]
    for sentence in ("The balance was adjusted by -$2.50; $7.50 is available.", "This form was sent before"):
        assert sentence in words_of(send(client, account, "adjust", **hidden))
    assert balance_of(account.id).available == 7_500_000_000
    row = Adjustment.objects.get()
    assert (row.amount, row.reason, row.actor_id) == (
        -2_500_000_000,
        "Charged twice",
        int(client.session["_auth_user_id"]),
    )
    assert log_of(account) == ["Adjusted by -$2.50: Charged twice"]
    assert "Adjusted by -$2.50: Charged twice" in words_of(client.get(page_of(Wallet, "history", account.id)))


def test_what_is_not_free_is_taken_only_where_a_debt_is_allowed(account: Account) -> None:
    client = operator("adjust")
    admit_one(account.request(4 * USD))
    refused = send(client, account, "adjust", confirmed=False, amount="-7", reason="x")
    assert "Only $6.00 can be taken" in words_of(refused)
    assert 'value="-7"' in refused.content.decode()
    assert "Only $6.00" in words_of(send(client, account, "adjust", amount="-7", reason="x"))
    review = send(client, account, "adjust", confirmed=False, amount="-7", reason="x", may_owe="on")
    assert "$1.00 of it is not free: the wallet will owe it." in words_of(review)
    assert "adjusted by -$7.00; -$1.00 is available." in words_of(
        send(client, account, "adjust", amount="-7", reason="x", may_owe="on")
    )


def test_credit_that_is_given_repays_a_debt_first_and_says_so(account: Account) -> None:
    client = operator("adjust", "grant")
    send(client, account, "adjust", amount="-12", reason="x", may_owe="on")
    review = send(client, account, "grant", confirmed=False, amount="5", kind="promo")
    assert "$2.00 of it repays the wallet's debt first." in words_of(review)
    assert "$2.00 of it repaid a debt." in words_of(send(client, account, "adjust", amount="5", reason="y"))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("adjust", {"amount": "0", "reason": "x"}, "not zero"),
        ("adjust", {"amount": "5", "reason": ""}, "This field is required."),
        ("adjust", {"amount": "", "reason": "x"}, "This field is required."),
        ("adjust", {"amount": "0.0000000001", "reason": "x"}, "no more than 9 decimal places"),
        ("adjust", {"amount": "9999999999", "reason": "x"}, "not an amount that can be stored"),
        ("adjust", {"amount": "9223372036", "reason": "x"}, "which the books cannot hold"),
        ("adjust", {"amount": "5", "reason": "x", "form_id": "none"}, "Enter a valid UUID."),
        ("grant", {"amount": "-5", "kind": "promo"}, "A grant is above zero"),
        ("grant", {"amount": "5", "kind": "vip"}, "not one of the available choices"),
        ("grant", {"amount": "5", "kind": "paid", "expires_on": "2099-01-31"}, "Paid credit never expires."),
        ("grant", {"amount": "5", "kind": "promo", "expires_on": "2020-01-31"}, "has begun already"),
        ("grant", {"amount": "5", "kind": "promo", "expires_on": "soon"}, "Enter a valid date."),
        ("freeze", {"reason": " "}, "This field is required."),
    ],
)
def test_a_wrong_form_comes_back_with_its_reason(
    account: Account, kind: str, values: dict[str, Any], message: str
) -> None:
    before = (balance_of(account.id), len(entries_of(account.id, limit=9)))
    answer = send(operator(kind), account, kind, **values)
    assert message in words_of(answer)
    assert (balance_of(account.id), len(entries_of(account.id, limit=9))) == before
    assert log_of(account) == []


def test_credit_is_granted_once_a_form(account: Account) -> None:
    client, form = operator("grant"), str(uuid7())
    values: dict[str, Any] = {
        "form_id": form,
        "amount": "3",
        "kind": "promo",
        "expires_on": "2099-01-31",
        "note": "Welcome",
    }
    review = send(client, account, "grant", confirmed=False, **values)
    assert "Grant $3.00 of promo credit Expires 31 January 2099, 00:00 UTC Available after $13.00" in words_of(review)
    for sentence in ("$3.00 of promo credit was granted; $13.00 is available.", "This form was sent before"):
        assert sentence in words_of(send(client, account, "grant", **values))
    row = CreditGrant.objects.get(source=f"admin:{form}")
    assert (row.kind, row.amount, row.note, str(row.expires_at)) == (
        "promo",
        3 * USD,
        "Welcome",
        "2099-01-31 00:00:00+00:00",
    )
    assert log_of(account) == ["Granted $3.00 of promo credit until 31 January 2099: Welcome"]


def test_a_wallet_is_frozen_and_goes_on_with_a_reason(account: Account) -> None:
    client = operator("freeze")
    assert "The wallet is not frozen." in words_of(client.get(page_of(Wallet, "unfreeze", account.id), follow=True))
    assert "The wallet is frozen." in words_of(send(client, account, "freeze", reason="Fraud?"))
    assert balance_of(account.id).frozen
    assert "The wallet is frozen already." in words_of(send(client, account, "freeze", reason="Fraud?"))
    assert "The wallet is unfrozen." in words_of(send(client, account, "unfreeze", reason="No"))
    assert not balance_of(account.id).frozen
    assert log_of(account) == ["Frozen: Fraud?", "Unfrozen: No"]


def test_wallets_are_frozen_from_the_list(account: Account) -> None:
    client, wallet = operator("freeze"), Wallet.objects.get(pk=account.id)
    for _ in range(2):
        act(client, Wallet, "freeze", wallet)
        assert balance_of(account.id).frozen
    act(client, Wallet, "unfreeze", wallet)
    assert not balance_of(account.id).frozen
    assert log_of(account) == ["Frozen from the list.", "Unfrozen from the list."]


def test_a_form_goes_back_to_be_changed(account: Account) -> None:
    values: dict[str, Any] = {"amount": "5", "reason": "Typed", "note": "", "_back": "yes"}
    answer = send(operator("adjust"), account, "adjust", confirmed=False, **values)
    assert "Typed</textarea>" in answer.content.decode()
    assert "Change +$5.00" not in words_of(answer)


def test_buttons_are_there_for_those_who_may(account: Account) -> None:
    row = page_of(Wallet, "change", account.id)
    assert not re.findall(
        rf'href="{row[:-7]}(?:adjust|grant|freeze|unfreeze)/"', staff("billing.view_wallet").get(row).text
    )
    page = operator("adjust", "grant", "freeze").get(row).text
    assert re.findall(r'/(adjust|grant|freeze|unfreeze)/"', page) == ["adjust", "grant", "freeze"]
    ledger.set_frozen(workspace_id=account.id, frozen=True)
    assert re.findall(r'/(freeze|unfreeze)/"', operator("freeze").get(row).text) == ["unfreeze"]


@pytest.mark.parametrize("kind", PAGES)
def test_another_kind_of_staff_is_refused(account: Account, kind: str) -> None:
    others = {permission for permission in PAGES.values() if permission != PAGES[kind]}
    blind = staff(PAGES[kind])  # may not look at wallets; who may change rows may look at them, says Django
    for client in (staff("billing.view_wallet", *others), *([blind] if "change" not in PAGES[kind] else [])):
        assert client.get(page_of(Wallet, kind, account.id)).status_code == 403
        assert send(client, account, kind, amount="5", reason="x", kind="paid").status_code == 403
    assert balance_of(account.id).posted == 10 * USD
    assert not balance_of(account.id).frozen


def test_whoever_may_only_look_has_no_action_on_the_list(account: Account) -> None:
    client = staff("billing.view_wallet")
    data = {"action": "freeze", "_selected_action": [str(account.id)]}
    client.post(page_of(Wallet, "changelist"), data)
    assert not balance_of(account.id).frozen


def test_a_wallet_that_is_not_there_is_said(account: Account) -> None:
    answer = operator("adjust").get(page_of(Wallet, "adjust", 2**40), follow=True)
    assert f"There is no wallet {2**40}." in words_of(answer)
    assert operator("adjust").get(page_of(Wallet, "adjust", "x")).status_code == 302


def test_no_page_needs_anything_inline(account: Account) -> None:
    for page in ("adjust", "grant", "freeze"):
        for answer in (
            operator(page).get(page_of(Wallet, page, account.id)),
            send(operator(page), account, page, confirmed=False, amount="5", reason="x", kind="paid"),
        ):
            assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=\"|\sstyle=\"", answer.content.decode())
