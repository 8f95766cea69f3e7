"""The admin's second factor: nobody gets past it, whoever has none is led to set one up, and a lost one is taken away."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.admin.sites import site
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import AuditEntry, User
from accounts.services.users import create_user
from tests.accounts.signing import code_of_app, prove, proved, secret_of, with_app
from tests.dashboard.commands.shell import run
from tests.factories import PASSWORD, make_user

SET_UP = "/accounts/2fa/totp/activate/"


@pytest.fixture(autouse=True)
def _required(settings: Settings) -> None:
    settings.ADMIN_REQUIRES_SECOND_FACTOR = True


@pytest.fixture
def boss(db: None) -> User:
    """Return an operator without a second factor."""
    return create_user("op@example.com", password=PASSWORD, verified=True, is_operator=True)


def at_the_gate(user: User) -> Client:
    """Return a browser in which an operator asked for the admin and signed in."""
    client = Client()
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/login?next=%2Fadmin%2F"
    client.post("/login", {"login": user.email, "password": PASSWORD, "next": "/admin/"})
    return client


def test_an_operator_without_one_reaches_no_page_and_is_led_to_set_one_up(boss: User) -> None:
    client = at_the_gate(boss)
    pages = ["/admin/", "/admin/jsi18n/", "/admin/password_change/"]
    pages += [reverse(f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist") for m in site._registry]
    for page in pages:
        answer = client.get(page)
        assert answer["Location"].startswith("/admin/login/"), page
        assert client.post(page)["Location"].startswith("/admin/login/"), page
    gate = client.get("/admin/", follow=True)
    assert "Set up a second factor" in gate.text
    assert SET_UP in gate.text
    assert 'name="username"' not in gate.text


def test_setting_it_up_opens_the_admin_in_that_session(boss: User) -> None:
    client = at_the_gate(boss)
    prove(client)
    secret = secret_of(client)
    answer = client.post(SET_UP, {"code": code_of_app(secret)})
    assert answer["Location"] == "/accounts/2fa/recovery-codes/"
    codes = client.get(answer["Location"])
    assert 'href="/admin/">I saved them' in codes.text
    assert client.get("/admin/").status_code == 200


def test_a_session_from_before_it_was_set_up_is_asked_for_a_code(boss: User) -> None:
    before = at_the_gate(boss)
    secret = with_app(proved(boss))
    asked = before.get("/admin/gateway/upstream/", follow=True)
    address = "/accounts/2fa/reauthenticate/?next=%2Fadmin%2Fgateway%2Fupstream%2F"
    assert asked.redirect_chain[-1][0] == address
    wrong = before.post(address, {"code": "000000"})
    assert wrong.status_code == 200
    assert before.get("/admin/").status_code == 302
    right = before.post(address, {"code": code_of_app(secret)})
    assert right["Location"] == "/admin/gateway/upstream/"
    assert before.get("/admin/gateway/upstream/").status_code == 200


def test_the_password_alone_opens_nothing_once_there_is_one(boss: User) -> None:
    secret = with_app(proved(boss))
    client = at_the_gate(boss)
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/accounts/2fa/authenticate/"
    client.post("/accounts/2fa/authenticate/", {"code": code_of_app(secret)})
    assert client.get("/admin/").status_code == 200


def test_a_forged_session_without_a_proof_is_not_enough(boss: User) -> None:
    with_app(proved(boss))
    client = Client()
    client.force_login(boss)
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


def test_switching_the_factor_off_closes_the_admin_again(boss: User) -> None:
    client = proved(boss)
    with_app(client)
    assert client.get("/admin/").status_code == 200
    Authenticator.objects.filter(user=boss).delete()
    assert client.get("/admin/").status_code == 302
    assert "Set up a second factor" in client.get("/admin/", follow=True).text


def test_an_operator_whose_only_factor_is_a_passkey_is_asked_for_it(boss: User) -> None:
    client = at_the_gate(boss)
    Authenticator.objects.create(user=boss, type=Authenticator.Type.WEBAUTHN, data={"name": "key", "credential": {}})
    answer = client.get("/admin/login/?next=/admin/")
    assert answer["Location"] == "/accounts/2fa/webauthn/reauthenticate/?next=%2Fadmin%2F"


def test_who_is_not_staff_is_told_so_and_gets_no_further(db: None) -> None:
    client = proved(make_user("dana@example.com"))
    with_app(client)
    assert client.get("/admin/")["Location"].startswith("/admin/login/")
    answer = client.get("/admin/login/?next=/admin/")
    assert answer.status_code == 403
    assert "The admin is for operators" in answer.text


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_the_way_back_is_a_page_of_this_site(boss: User, elsewhere: str) -> None:
    client = Client()
    answer = client.get("/admin/login/", {"next": elsewhere})
    assert answer["Location"] == "/login?next=%2Fadmin%2F"
    client = proved(boss)
    with_app(client)
    assert client.get("/admin/login/", {"next": elsewhere})["Location"] == "/admin/"


def test_where_it_is_not_required_signing_in_is_enough(boss: User, settings: Settings) -> None:
    settings.ADMIN_REQUIRES_SECOND_FACTOR = False
    assert at_the_gate(boss).get("/admin/").status_code == 200


def test_the_admins_own_page_of_passwords_leads_to_the_sites(boss: User) -> None:
    client = proved(boss)
    with_app(client)
    assert client.get("/admin/password_change/")["Location"] == "/accounts/password/change/"


def test_a_lost_factor_is_taken_away_with_every_session_and_written_down(boss: User) -> None:
    client = proved(boss)
    with_app(client)
    assert client.get("/admin/").status_code == 200
    answer = run("operator", "reset-second-factor", "OP@example.com").answer
    assert (answer["email"], answer["apps"], answer["passkeys"], answer["recovery_codes"]) == (boss.email, 1, 0, 1)
    assert answer["sessions_ended"] >= 1
    assert not Authenticator.objects.filter(user=boss).exists()
    assert not UserSession.objects.filter(user=boss).exists()
    assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/login")
    entry = AuditEntry.objects.get(action="account.second_factor_reset")
    assert (entry.actor_kind, entry.target_kind, entry.target_id) == ("command", "user", str(boss.pk))
    assert "Set up a second factor" in at_the_gate(boss).get("/admin/", follow=True).text


def test_there_is_nothing_to_take_from_who_has_none_and_nobody_is_not_found(boss: User) -> None:
    ran = run("operator", "reset-second-factor", boss.email)
    assert ran.answer["apps"] == 0
    assert "had no second factor" in ran.err
    refused = run("operator", "reset-second-factor", "nobody@example.com")
    assert refused.refusal == "There is no user with the e-mail address nobody@example.com."
