"""Sign-in codes, authenticator apps and recovery codes, over HTTP: what lets in, what does not, and what is written down."""

import re

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from lumyx.settings.base import cache_at
from tests.accounts.signing import acts_of, code_in_last_mail, code_of_app, is_signed_in, proved, signed_in, with_app
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db(transaction=True)

CODE_PAGE, SECOND_STEP = "/accounts/login/code/confirm/", "/accounts/2fa/authenticate/"
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _fresh_counts() -> None:
    for cache in caches.all(initialized_only=True):
        cache.clear()


@pytest.fixture
def dana() -> User:
    """Return somebody with a password."""
    return make_user("dana@example.com")


def asked_for_code(client: Client, email: str = "dana@example.com") -> None:
    """Ask for a code to be sent."""
    answer = client.post("/accounts/login/code/", {"email": email})
    assert (answer.status_code, answer["Location"]) == (302, CODE_PAGE)


def after_password(user: User) -> Client:
    """Return a browser that has given the right password and is asked for the second step."""
    client = Client()
    answer = client.post("/login", {"login": user.email, "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, SECOND_STEP)
    return client


def test_a_code_by_mail_signs_in_once(client: Client, dana: User) -> None:
    asked_for_code(client)
    code = code_in_last_mail()
    answer = client.post(CODE_PAGE, {"code": code.lower().replace("-", " ")})
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard")
    assert acts_of(dana) == ["account.signed_in"]
    other = Client()
    asked_for_code(other)
    assert "Incorrect code" in other.post(CODE_PAGE, {"code": code}).text


def test_a_code_leads_to_where_one_wanted_to_go(client: Client, dana: User) -> None:
    answer = client.post("/accounts/login/code/", {"email": dana.email, "next": "/dashboard/usage"})
    assert answer["Location"] == f"{CODE_PAGE}?next=%2Fdashboard%2Fusage"
    answer = client.post(CODE_PAGE, {"code": code_in_last_mail(), "next": "/dashboard/usage"})
    assert answer["Location"] == "/dashboard/usage"


def test_a_code_works_in_the_browser_that_asked_for_it_alone(client: Client, dana: User) -> None:
    asked_for_code(client)
    thief = Client()
    assert thief.post(CODE_PAGE, {"code": code_in_last_mail()})["Location"] == "/accounts/login/code/"
    assert not is_signed_in(thief)


def test_three_wrong_codes_end_a_code(client: Client, dana: User) -> None:
    asked_for_code(client)
    code = code_in_last_mail()
    for _ in range(2):
        assert client.post(CODE_PAGE, {"code": "BBBB-BBBB"}).status_code == 200
    assert client.post(CODE_PAGE, {"code": "BBBB-BBBB"}).status_code == 302
    assert client.post(CODE_PAGE, {"code": code})["Location"] == "/accounts/login/code/"
    assert acts_of(dana) == ["account.sign_in_failed"] * 3


def test_an_address_without_an_account_gets_the_same_pages_and_no_code(dana: User) -> None:
    pages = []
    for email in ("dana@example.com", "nobody@example.com"):
        client = Client()
        asked_for_code(client, email)
        page = client.get(CODE_PAGE).text
        wrong = client.post(CODE_PAGE, {"code": "BBBB-BBBB"}).text
        hidden = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
        pages.append([hidden.sub("", text).replace(email, "X") for text in (page, wrong)])
    assert pages[0] == pages[1]
    assert [m.subject for m in mail.outbox] == ["Your sign-in code", "No account has this address"]


def test_an_app_is_set_up_with_a_right_code_and_recovery_codes_are_shown_once(dana: User) -> None:
    client = proved(dana)
    assert "Incorrect code" in client.post("/accounts/2fa/totp/activate/", {"code": "000000"}).text
    with_app(client)
    page = client.get("/accounts/2fa/recovery-codes/").text
    codes = re.findall(r"<li>(\d{8})</li>", page)
    assert len(set(codes)) == 10
    assert f'href="data:text/plain;charset=utf-8,LumyxAI%20recovery%20codes%0A{"%0A".join(codes)}%0A"' in page
    again = client.get("/accounts/2fa/recovery-codes/").text
    assert not any(code in again for code in codes)
    assert client.get("/accounts/2fa/recovery-codes/download/").status_code == 403
    assert {"account.totp_added", "account.recovery_codes_made"} <= set(acts_of(dana))
    assert mail.outbox[-1].subject == "An authenticator app was added"


def test_secrets_of_second_factors_are_not_readable_in_the_database(dana: User) -> None:
    secret = with_app(proved(dana))
    stored = str([row.data for row in Authenticator.objects.all()])
    assert secret not in stored
    assert len(Authenticator.objects.get(type="recovery_codes").wrap().generate_codes()) == 10


def test_with_an_app_the_password_is_half_of_the_way(dana: User) -> None:
    secret = with_app(proved(dana))
    client = after_password(dana)
    assert not is_signed_in(client)
    assert "Incorrect code" in client.post(SECOND_STEP, {"code": "000000"}).text
    answer = client.post(SECOND_STEP, {"code": code_of_app(secret)})
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard")
    assert acts_of(dana)[-2:] == ["account.sign_in_failed", "account.signed_in"]


def test_a_code_by_mail_too_is_half_of_the_way(client: Client, dana: User) -> None:
    with_app(proved(dana))
    asked_for_code(client)
    assert client.post(CODE_PAGE, {"code": code_in_last_mail()})["Location"] == SECOND_STEP
    assert not is_signed_in(client)


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_of_an_app_counts_once_even_while_it_is_still_right(dana: User, steps: int) -> None:
    secret = with_app(proved(dana))
    caches["default"].clear()  # what allauth remembers by itself, for too short a time
    caches["strict"].clear()
    code = code_of_app(secret, steps=steps)
    assert after_password(dana).post(SECOND_STEP, {"code": code}).status_code == 302
    caches["default"].clear()
    assert "Incorrect code" in after_password(dana).post(SECOND_STEP, {"code": code}).text


def test_a_recovery_code_signs_in_once(dana: User) -> None:
    client = proved(dana)
    with_app(client)
    codes = re.findall(r"<li>(\d{8})</li>", client.get("/accounts/2fa/recovery-codes/").text)
    assert after_password(dana).post(SECOND_STEP, {"code": codes[3]}).status_code == 302
    assert "Incorrect code" in after_password(dana).post(SECOND_STEP, {"code": codes[3]}).text
    assert "9 left" in client.get("/dashboard/account").text


def test_new_recovery_codes_end_the_old_ones(dana: User) -> None:
    client = proved(dana)
    with_app(client)
    old = re.findall(r"<li>(\d{8})</li>", client.get("/accounts/2fa/recovery-codes/").text)
    assert client.post("/accounts/2fa/recovery-codes/generate/").status_code == 302
    new = re.findall(r"<li>(\d{8})</li>", client.get("/accounts/2fa/recovery-codes/").text)
    assert not set(old) & set(new)
    assert "Incorrect code" in after_password(dana).post(SECOND_STEP, {"code": old[0]}).text
    assert after_password(dana).post(SECOND_STEP, {"code": new[0]}).status_code == 302


def test_without_the_app_the_password_is_enough_again(dana: User) -> None:
    client = proved(dana)
    with_app(client)
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.exists()
    assert is_signed_in(signed_in(dana))
    assert "account.totp_removed" in acts_of(dana)


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/recovery-codes/generate/",
        "/dashboard/account/delete",
    ],
)
def test_changes_of_security_ask_who_it_is_and_go_on_afterwards(dana: User, path: str) -> None:
    client = signed_in(dana)
    if "recovery" in path:
        with_app(proved(dana))
    sent_to = client.get(path)
    assert sent_to["Location"] == f"/accounts/reauthenticate/?next={path.replace('/', '%2F')}"
    wrong = client.post(sent_to["Location"], {"password": "wrong", "next": path})
    assert "Incorrect password" in wrong.text
    assert client.post(sent_to["Location"], {"password": PASSWORD, "next": path})["Location"] == path
    assert client.get(path).status_code == 200


def test_while_the_cache_is_away_codes_are_refused_and_passwords_go_on(dana: User, settings: Settings) -> None:
    secret = with_app(proved(dana))
    half_way, other, plain = after_password(dana), Client(), make_user("plain@example.com")
    asked_for_code(other)
    code = code_in_last_mail()
    settings.CACHES = cache_at(NOWHERE)
    for client, page, right in ((half_way, SECOND_STEP, code_of_app(secret)), (other, CODE_PAGE, code)):
        answer = client.post(page, {"code": right})
        assert "Codes cannot be checked at the moment" in answer.text
        assert not is_signed_in(client)
    assert is_signed_in(signed_in(plain))


def test_the_admin_lets_nobody_past_a_second_factor(client: Client) -> None:
    operator = make_user("op@example.com")
    operator.is_staff = operator.is_superuser = True
    operator.save()
    secret = with_app(proved(operator))
    client.post("/admin/login/?next=/admin/", {"username": "op@example.com", "password": PASSWORD})
    assert client.get("/admin/").status_code == 302
    half_way = after_password(operator)
    half_way.post(SECOND_STEP, {"code": code_of_app(secret)})
    assert half_way.get("/admin/").status_code == 200
