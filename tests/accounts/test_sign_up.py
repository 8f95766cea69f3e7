"""Signing up, proving an address, changing it: what people do, over HTTP, with what the rows say afterwards."""

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import AuditEntry, User, Workspace
from accounts.services.users import EmailTakenError
from tests.accounts.signing import is_signed_in, link_in_last_mail, prove, proved
from tests.factories import PASSWORD, Cast, make_user

pytestmark = pytest.mark.django_db


def sign_up(client: Client, email: str = "Dana.Ito@Example.com", password: str = PASSWORD, **extra: str) -> str:
    """Sign up; return where it leads, or the page's text if it stays."""
    response = client.post("/signup", {"email": email, "password1": password, **extra})
    return str(response["Location"]) if response.status_code == 302 else response.text


def confirm(client: Client) -> None:
    """Follow the link that was sent last, and press the button."""
    path = link_in_last_mail()
    assert client.get(path).status_code == 200
    assert client.post(path).status_code == 302


def test_a_sign_up_has_a_workspace_and_lands_on_the_dashboard_once_its_address_is_proved(client: Client) -> None:
    assert sign_up(client) == "/accounts/confirm-email/"
    assert not is_signed_in(client)
    user = User.objects.get()
    assert user.email == "dana.ito@example.com"
    assert user.check_password(PASSWORD)
    assert not user.email_is_verified
    workspace = Workspace.objects.get()
    assert (workspace.name, workspace.slug, workspace.owner) == ("dana.ito", "danaito", user)
    assert [m.to for m in mail.outbox] == [["dana.ito@example.com"]]
    assert client.post(link_in_last_mail())["Location"] == "/dashboard"
    assert int(client.session["_auth_user_id"]) == user.pk


def test_the_dashboard_asks_for_proof_and_sends_the_link_again(client: Client) -> None:
    sign_up(client)
    client.force_login(User.objects.get())
    page = client.get("/dashboard").text
    assert "dana.ito@example.com" in page
    assert 'name="action_send"' in page
    sent = client.post("/accounts/email/", {"email": "dana.ito@example.com", "action_send": "1"})
    assert sent.status_code == 302
    assert len(mail.outbox) == 2


@pytest.mark.parametrize("path", ["/signup", "/accounts/password/reset/"])
def test_links_in_messages_lead_here_whatever_host_was_pretended(client: Client, path: str) -> None:
    if path != "/signup":
        make_user("dana@example.com")
    client.post(path, {"email": "dana@example.com", "password1": PASSWORD}, headers={"host": "evil.example"})
    text = mail.outbox[-1].subject + str(mail.outbox[-1].body)
    assert "http://testserver/accounts/" in text
    assert "evil.example" not in text


def test_messages_are_in_our_own_words(client: Client) -> None:
    sign_up(client)
    assert mail.outbox[-1].subject == "Confirm your e-mail address"
    assert "free models are open" in str(mail.outbox[-1].body)


def test_a_changed_password_is_told_by_mail_with_what_to_do(client: Client) -> None:
    client.force_login(make_user("dana@example.com"))
    new = "another long password"
    client.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert mail.outbox[-1].subject == "Your password was changed"
    body = str(mail.outbox[-1].body)
    assert "http://testserver/accounts/password/reset/" in body
    assert "127.0.0.1" in body


def test_following_the_link_proves_the_address_and_only_by_post(client: Client) -> None:
    sign_up(client)
    client.get(link_in_last_mail())
    assert not User.objects.get().email_is_verified
    confirm(client)
    assert User.objects.get().email_is_verified
    assert EmailAddress.objects.get().verified
    assert 'name="action_send"' not in client.get("/dashboard").text


def test_the_link_works_without_a_session_and_signs_nobody_in(client: Client) -> None:
    sign_up(client)
    another_browser = Client()
    confirm(another_browser)
    assert User.objects.get().email_is_verified
    assert "_auth_user_id" not in another_browser.session


def test_a_used_or_forged_link_proves_nothing(client: Client) -> None:
    sign_up(client)
    path = link_in_last_mail()
    forged = path[:-2] + ("A/" if path[-2] != "A" else "B/")
    Client().post(forged)
    assert not User.objects.get().email_is_verified


def test_another_address_is_not_proved_by_the_first(client: Client) -> None:
    sign_up(client)
    confirm(client)
    prove(client)
    client.post("/accounts/email/", {"email": "new@example.com", "action_add": ""})
    assert User.objects.get().email == "dana.ito@example.com"
    assert User.objects.get().email_is_verified

    refused = client.post("/accounts/email/", {"email": "new@example.com", "action_primary": ""}, follow=True)
    assert "must be verified" in refused.text
    assert User.objects.get().email == "dana.ito@example.com"

    confirm(client)
    client.post("/accounts/email/", {"email": "new@example.com", "action_primary": ""})
    assert (mail.outbox[-1].to, mail.outbox[-1].subject) == (
        ["dana.ito@example.com"],
        "Your e-mail address was changed",
    )
    client.post("/accounts/email/", {"email": "dana.ito@example.com", "action_remove": ""})
    user = User.objects.get()
    assert (user.email, user.email_is_verified) == ("new@example.com", True)
    assert [row.email for row in EmailAddress.objects.all()] == ["new@example.com"]


def test_making_an_unproved_address_primary_takes_the_proof_away() -> None:
    user = make_user("dana@example.com", verified=True)
    client = proved(user)
    EmailAddress.objects.filter(user=user).update(verified=False)  # as if an operator had taken it back
    EmailAddress.objects.create(user=user, email="new@example.com")
    client.post("/accounts/email/", {"email": "new@example.com", "action_primary": ""})
    user.refresh_from_db()
    assert (user.email, user.email_is_verified) == ("new@example.com", False)


def test_after_a_typo_at_sign_up_one_signs_up_again(client: Client) -> None:
    sign_up(client, "dana@exmaple.com")
    assert sign_up(client, "dana@example.com") == "/accounts/confirm-email/"
    confirm(client)
    assert User.objects.get(email="dana@example.com").email_is_verified
    assert not User.objects.get(email="dana@exmaple.com").email_is_verified


def test_whoever_only_names_an_address_keeps_nobody_out_of_it(client: Client) -> None:
    squatter = proved(make_user("squatter@example.com"))
    squatter.post("/accounts/email/", {"email": "dana@example.com", "action_add": ""})
    assert EmailAddress.objects.filter(email="dana@example.com", verified=False).exists()
    for path in ("/accounts/password/reset/", "/accounts/login/code/"):
        Client().post(path, {"email": "dana@example.com"})
        assert mail.outbox[-1].subject == "No account has this address", path
    assert sign_up(client, "dana@example.com") == "/accounts/confirm-email/"
    confirm(client)
    assert User.objects.get(email="dana@example.com").email_is_verified


def test_the_primary_address_cannot_be_removed(client: Client) -> None:
    sign_up(client)
    confirm(client)
    prove(client)
    client.post("/accounts/email/", {"email": "dana.ito@example.com", "action_remove": ""})
    assert EmailAddress.objects.count() == 1
    assert User.objects.get().email == "dana.ito@example.com"


def test_adding_somebody_elses_address_tells_nothing_and_sends_them_no_link(cast: Cast) -> None:
    client = proved(cast.bob)
    taken = client.post("/accounts/email/", {"email": "alice@example.com", "action_add": ""})
    free = client.post("/accounts/email/", {"email": "free@example.com", "action_add": ""})
    assert (taken.status_code, taken["Location"]) == (free.status_code, free["Location"])
    assert [(m.to, m.subject) for m in mail.outbox][:1] == [(["alice@example.com"], "You have an account already")]
    client.post("/accounts/email/", {"email": "alice@example.com", "action_send": ""})
    assert "/accounts/confirm-email/" not in "".join(str(m.body) for m in mail.outbox if m.to == ["alice@example.com"])
    assert not EmailAddress.objects.filter(user=cast.bob, email="alice@example.com", verified=True).exists()


def test_an_address_that_became_somebody_elses_is_a_message_not_a_crash(client: Client) -> None:
    user = make_user("dana@example.com", verified=False)
    EmailAddress.objects.create(user=user, email="new@example.com")
    make_user("new@example.com")
    client.force_login(user)
    prove(client)
    page = client.post("/accounts/email/", {"email": "new@example.com", "action_primary": ""}, follow=True)
    assert "another user&#x27;s by now" in page.text
    user.refresh_from_db()
    assert (user.email, user.email_is_verified) == ("dana@example.com", False)
    assert EmailAddress.objects.get(user=user, primary=True).email == "dana@example.com"


def test_signing_in_brings_the_proof_in_step_with_rows_changed_elsewhere(client: Client) -> None:
    user = make_user("dana@example.com", verified=False)
    EmailAddress.objects.filter(user=user).update(verified=True)
    client.post("/login", {"login": "dana@example.com", "password": PASSWORD})
    user.refresh_from_db()
    assert user.email_is_verified


def test_a_taken_address_looks_like_a_free_one_and_its_owner_is_told(client: Client) -> None:
    make_user("dana@example.com")
    assert sign_up(client, "DANA@example.com") == "/accounts/confirm-email/"
    taken = client.get("/accounts/confirm-email/").text
    assert [(m.to, m.subject) for m in mail.outbox] == [(["dana@example.com"], "You have an account already")]
    other = Client()
    assert sign_up(other, "free@example.com") == "/accounts/confirm-email/"
    assert other.get("/accounts/confirm-email/").text.replace("free@", "dana@") == taken
    assert User.objects.count() == 2
    assert Workspace.objects.count() == 1


def test_signing_up_with_a_taken_address_does_what_a_sign_up_does_and_leaves_nothing(client: Client) -> None:
    make_user("dana@example.com")
    rows = (User, Workspace, EmailAddress, AuditEntry)
    before = [model.objects.count() for model in rows]
    costs = []
    for email in ("dana@example.com", "fresh@example.com"):
        with CaptureQueriesContext(connection) as queries:
            Client().post("/signup", {"email": email, "password1": PASSWORD})
        costs.append(sum(query["sql"].startswith(("INSERT", "UPDATE")) for query in queries))
        if email.startswith("dana"):
            assert [model.objects.count() for model in rows] == before
    assert abs(costs[0] - costs[1]) <= 1, costs


def test_where_nothing_is_proved_a_taken_address_is_refused(client: Client, settings: Settings) -> None:
    settings.LUMYX_EMAIL_VERIFICATION = False
    settings.ACCOUNT_EMAIL_VERIFICATION = "none"
    make_user("dana@example.com")
    assert "already registered" in sign_up(client, "DANA@example.com")


def test_losing_a_race_for_an_address_looks_like_winning_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(user: User) -> User:
        raise EmailTakenError("taken")

    monkeypatch.setattr("accounts.adapters.account.register_user", too_late)
    assert sign_up(client, "dana@example.com") == "/accounts/confirm-email/"
    assert not User.objects.exists()


@pytest.mark.parametrize("password", ["", "short", "password123456", "dana.ito@example.com"])
def test_a_weak_password_is_refused(client: Client, password: str) -> None:
    assert "<form" in sign_up(client, password=password)
    assert not User.objects.exists()


@pytest.mark.parametrize("email", ["", "dana", "a@b\x00.com", "a" * 250 + "@example.com"])
def test_what_is_not_an_address_is_refused(client: Client, email: str) -> None:
    assert "<form" in sign_up(client, email)
    assert not User.objects.exists()


def test_a_mail_server_that_is_away_costs_nobody_their_sign_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise ConnectionRefusedError("no mail server")

    monkeypatch.setattr(EmailMultiAlternatives, "send", refuse)
    assert sign_up(client) == "/accounts/confirm-email/"
    assert User.objects.count() == Workspace.objects.count() == 1
    assert "could not send the message" in client.get("/accounts/confirm-email/").text


def test_an_installation_without_verification_sends_nothing_and_asks_for_nothing(
    client: Client, settings: Settings
) -> None:
    settings.LUMYX_EMAIL_VERIFICATION = False
    settings.ACCOUNT_EMAIL_VERIFICATION = "none"
    assert sign_up(client) == "/dashboard"
    assert mail.outbox == []
    assert 'name="action_send"' not in client.get("/dashboard").text


def test_csrf_is_asked_for_at_every_form() -> None:
    client = Client(enforce_csrf_checks=True)
    for path in ("/signup", "/login", "/accounts/password/reset/"):
        assert client.post(path, {"email": "dana@example.com", "password1": PASSWORD}).status_code == 403
    assert not User.objects.exists()
