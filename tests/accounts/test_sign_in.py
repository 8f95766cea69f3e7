"""Signing in: where it leads, how often it may fail, and what it tells about who has an account."""

import html
import re

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.services.users import deactivate_user
from tests.accounts.signing import code_in_last_mail, code_of_app, link_in_last_mail, proved, with_app
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def limits(settings: Settings) -> None:
    """Switch on the limits that the site runs under."""
    settings.ACCOUNT_RATE_LIMITS = {}
    cache.clear()


def sign_in(client: Client, email: str = "dana@example.com", password: str = PASSWORD, **headers: str) -> str:
    """Try to sign in; return where it leads, or the page's text if it stays."""
    response = client.post("/login", {"login": email, "password": password}, headers=headers)
    return str(response["Location"]) if response.status_code == 302 else response.text


def test_signing_in_by_address_in_any_case_leads_to_the_dashboard(client: Client) -> None:
    make_user("dana@example.com")
    assert sign_in(client, "DANA@Example.com") == "/dashboard"
    assert "_auth_user_id" in client.session


def test_an_unproved_address_is_sent_its_link_instead_of_being_let_in(client: Client) -> None:
    make_user("dana@example.com", verified=False)
    assert sign_in(client) == "/accounts/confirm-email/"
    assert "_auth_user_id" not in client.session
    path = link_in_last_mail()
    assert client.post(path)["Location"] == "/dashboard"  # the same browser goes on where it was
    assert "_auth_user_id" in client.session


def test_where_nothing_is_proved_an_unproved_address_signs_in(client: Client, settings: Settings) -> None:
    settings.LUMYX_EMAIL_VERIFICATION = False
    settings.ACCOUNT_EMAIL_VERIFICATION = "none"
    make_user("dana@example.com", verified=False)
    assert sign_in(client) == "/dashboard"


def test_the_session_gets_a_new_id_at_sign_in(client: Client) -> None:
    make_user("dana@example.com")
    client.get("/login")
    session = client.session
    session["x"] = 1
    session.save()
    before = session.session_key
    client.cookies["sessionid"] = str(before)
    sign_in(client)
    assert client.session.session_key != before


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/dashboard/usage?range=30d", "/dashboard/usage?range=30d"),
        ("https://evil.example/", "/dashboard"),
        ("//evil.example/", "/dashboard"),
        ("/\\evil.example/", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
        ("http:evil.example", "/dashboard"),
        ("https://testserver.evil.example/", "/dashboard"),
        ("http://testserver/models", "/dashboard"),
        ("models", "/dashboard"),
        ("///evil.example/", "/dashboard"),
        ("\\\\evil.example/", "/dashboard"),
        ("\\/evil.example/", "/dashboard"),
        ("%2f%2fevil.example/", "/dashboard"),
        ("/%2f%2fevil.example/", "/%2f%2fevil.example/"),
        ("/\t/evil.example/", "/dashboard"),
        ("\t//evil.example/", "/dashboard"),
        ("/\n/evil.example/", "/dashboard"),
        ("/models\r\nSet-Cookie: x=1", "/dashboard"),
        ("/models\0", "/dashboard"),
        ("\x01/models", "/dashboard"),
        ("JaVaScRiPt:alert(1)", "/dashboard"),
        ("data:text/html,x", "/dashboard"),
        ("/@evil.example", "/@evil.example"),
        ("", "/dashboard"),
        ("/%0d%0aSet-Cookie:x=1", "/%0d%0aSet-Cookie:x=1"),
    ],
)
def test_next_leads_only_to_paths_of_this_site(client: Client, wanted: str, led_to: str) -> None:
    make_user("dana@example.com")
    response = client.post("/login", {"login": "dana@example.com", "password": PASSWORD, "next": wanted})
    assert (response.status_code, response["Location"]) == (302, led_to)
    assert "Set-Cookie" not in response["Location"].replace("%0aSet-Cookie", "")
    new = Client()
    new.post("/signup", {"email": "new@example.com", "password1": PASSWORD, "next": wanted})
    assert new.post(link_in_last_mail())["Location"] == led_to


@pytest.mark.parametrize(
    "wanted", ["//evil.example/", "/\\evil.example/", "https://evil.example/", "javascript:alert(1)"]
)
def test_every_other_door_leads_only_to_paths_of_this_site_too(wanted: str) -> None:
    user = make_user("dana@example.com")
    client = proved(user)
    secret = with_app(client)
    again = client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": wanted})
    out = client.post("/accounts/logout/", {"next": wanted})
    client.post("/login", {"login": user.email, "password": PASSWORD, "next": wanted})
    second_step = client.post("/accounts/2fa/authenticate/", {"code": code_of_app(secret), "next": wanted})
    by_code = Client()
    asked = by_code.post("/accounts/login/code/", {"email": user.email, "next": wanted})
    given = by_code.post("/accounts/login/code/confirm/", {"code": code_in_last_mail(), "next": wanted})
    for answer in (again, out, second_step, asked, given):
        assert answer.status_code == 302
        assert "evil" not in answer["Location"]
        assert answer["Location"].startswith("/")
        assert "alert" not in answer["Location"]


def test_the_way_to_an_invitation_goes_on_after_the_address_is_proved(client: Client) -> None:
    way = "/invitations/abc?x=1&y=2"
    page = client.get("/login", {"next": way}).text
    sign_up = re.search(r'href="(/signup\?[^"]+)"', page)
    assert sign_up
    form = client.get(html.unescape(sign_up[1])).text
    assert f'name="next" value="{html.escape(way)}"' in form
    client.post("/signup", {"email": "new@example.com", "password1": PASSWORD, "next": way})
    # In between they sign in once more, which sends the link again.
    client.post("/login", {"login": "new@example.com", "password": PASSWORD, "next": way})
    assert client.post(link_in_last_mail())["Location"] == way


def test_somebody_signed_in_is_sent_on_safely(client: Client) -> None:
    client.force_login(make_user("dana@example.com"))
    assert client.get("/login?next=https://evil.example/")["Location"] == "/dashboard"
    assert client.get("/login?next=/models")["Location"] == "/models"


def test_the_old_addresses_lead_to_the_pages_with_their_query(client: Client) -> None:
    assert client.get("/accounts/login/?next=/models")["Location"] == "/login?next=/models"
    assert client.get("/accounts/signup/")["Location"] == "/signup"


def test_a_wrong_password_and_an_unknown_address_look_alike(client: Client) -> None:
    make_user("dana@example.com")
    wrong, unknown = sign_in(client, password="wrong"), sign_in(client, "nobody@example.com")
    message = "The email address and/or password you specified are not correct."
    assert message in wrong
    assert message in unknown
    assert "_auth_user_id" not in client.session


def test_somebody_shut_out_cannot_sign_in(client: Client) -> None:
    user = make_user("dana@example.com")
    user.is_active = False
    user.save()
    sign_in(client)
    assert "_auth_user_id" not in client.session


def test_shutting_somebody_out_ends_the_session_they_have(client: Client) -> None:
    user = make_user("dana@example.com")
    sign_in(client)
    assert client.get("/accounts/email/").status_code == 200
    deactivate_user(user)
    assert client.get("/accounts/email/")["Location"].startswith("/login")


def test_asking_for_a_new_password_looks_the_same_for_known_and_unknown_addresses(client: Client) -> None:
    make_user("dana@example.com")
    answers = [
        client.post("/accounts/password/reset/", {"email": email}) for email in ("dana@example.com", "no@example.com")
    ]
    assert [(a.status_code, a["Location"]) for a in answers] == [(302, "/accounts/password/reset/done/")] * 2
    assert [m.to for m in mail.outbox] == [["dana@example.com"], ["no@example.com"]]
    assert "/accounts/password/reset/key/" in str(mail.outbox[0].body)
    assert "/accounts/password/reset/key/" not in str(mail.outbox[1].body)


def test_a_new_password_by_mail_proves_no_address_by_itself(client: Client) -> None:
    user = make_user("dana@example.com", verified=False)
    client.post("/accounts/password/reset/", {"email": "dana@example.com"})
    body = str(mail.outbox[0].body)
    path = "/accounts/password/reset/key/" + body.split("/accounts/password/reset/key/")[1].split()[0]
    form = client.get(path, follow=True)
    target = form.redirect_chain[-1][0]
    client.post(target, {"password1": "a new long password", "password2": "a new long password"})
    user.refresh_from_db()
    assert user.check_password("a new long password")
    assert not user.email_is_verified


@pytest.mark.usefixtures("limits")
def test_five_failures_close_an_address_even_to_the_right_password(client: Client) -> None:
    make_user("dana@example.com")
    for _ in range(5):
        assert "not correct" in sign_in(client, password="wrong")
    assert "Too many failed login attempts" in sign_in(client)
    assert "_auth_user_id" not in client.session


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded", "host"])
def test_pretending_to_be_somebody_else_opens_nothing(client: Client, header: str) -> None:
    make_user("dana@example.com")
    for number in range(5):
        sign_in(client, password="wrong", **{header: f"10.0.0.{number}"})
    assert "Too many failed login attempts" in sign_in(client, **{header: "10.0.0.99"})


@pytest.mark.usefixtures("limits")
def test_writing_the_address_differently_opens_nothing(client: Client) -> None:
    make_user("dana@example.com")
    for email in ("dana@example.com", "DANA@example.com", "Dana@Example.com", " dana@example.com ", "dana@EXAMPLE.com"):
        sign_in(client, email, "wrong")
    assert "Too many failed login attempts" in sign_in(client)


@pytest.mark.usefixtures("limits")
def test_one_caller_cannot_try_many_addresses(client: Client) -> None:
    make_user("dana@example.com")
    for number in range(10):
        assert "not correct" in sign_in(client, f"user{number}@example.com", "wrong")
    assert "Too many failed login attempts" in sign_in(client)


@pytest.mark.usefixtures("limits")
def test_successes_do_not_use_the_limit_up_nor_clear_failures(client: Client) -> None:
    make_user("dana@example.com")
    for _ in range(4):
        sign_in(client, password="wrong")
    for _ in range(3):
        assert sign_in(client) == "/dashboard"
        client.logout()
    sign_in(client, password="wrong")
    assert "Too many failed login attempts" in sign_in(client)


@pytest.mark.usefixtures("limits")
def test_the_admin_has_no_sign_in_of_its_own_so_the_same_limit_holds(client: Client) -> None:
    operator = make_user("op@example.com")
    operator.is_staff = operator.is_superuser = True
    operator.save()
    form = client.get("/admin/", follow=True)
    assert form.redirect_chain[-1][0] == "/login?next=%2Fadmin%2F"
    for _ in range(5):
        client.post("/login", {"login": "op@example.com", "password": "wrong", "next": "/admin/"})
    assert "Too many failed login attempts" in sign_in(client, "op@example.com")


@pytest.mark.usefixtures("limits")
def test_signing_up_and_asking_for_mail_have_limits(client: Client) -> None:
    statuses = [
        client.post("/signup", {"email": f"u{n}@example.com", "password1": "short"}).status_code for n in range(21)
    ]
    assert (statuses[:20], statuses[20]) == ([200] * 20, 429)
    resets = [client.post("/accounts/password/reset/", {"email": "a@example.com"}).status_code for _ in range(6)]
    assert resets[:5] == [302] * 5
    assert resets[5] == 429 or len(mail.outbox) == 5


@pytest.mark.usefixtures("limits")
def test_the_verification_mail_is_sent_once_in_a_while_only(client: Client) -> None:
    client.post("/signup", {"email": "dana@example.com", "password1": PASSWORD})
    for _ in range(3):
        client.post("/accounts/email/", {"email": "dana@example.com", "action_send": ""})
    assert len(mail.outbox) == 1


def test_signing_out_needs_a_post(client: Client) -> None:
    client.force_login(make_user("dana@example.com"))
    client.get("/accounts/logout/")
    assert "_auth_user_id" in client.session
    client.post("/accounts/logout/")
    assert "_auth_user_id" not in client.session
