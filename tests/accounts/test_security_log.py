"""Every change of how a person signs in is one line of the audit log, not two and not none."""

import re
from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, User
from accounts.services.users import create_user
from dashboard.flows.account import delete_account, owned_by
from rig.oidc.server import OpenIDServer
from tests.accounts.signing import code_of_app, link_in_last_mail, proved, secret_of, signed_in, with_app
from tests.accounts.test_providers import there_and_back
from tests.factories import PASSWORD, make_user, make_workspace

# allauth tells of some changes when they are committed.
pytestmark = pytest.mark.django_db(transaction=True)

NEW = "another long password"


@pytest.fixture
def dana() -> User:
    """Return somebody with a workspace."""
    user = make_user("dana@example.com")
    make_workspace(owner=user)
    return user


@pytest.fixture
def here(dana: User) -> Client:
    """Return their browser, in which they proved a moment ago who they are."""
    return proved(dana)


class Log:
    """The lines that a person's acts added."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.seen = AuditEntry.objects.count()

    def news(self) -> list[str]:
        """Return the acts since the last look, in order; all of them by this person, about no workspace, from somewhere."""
        rows = list(AuditEntry.objects.order_by("pk")[self.seen :])
        self.seen += len(rows)
        assert {(row.actor_id, row.actor_kind, row.workspace_id) for row in rows} <= {(self.user.pk, "user", None)}
        assert all(row.address for row in rows)
        return [row.action for row in rows]


@pytest.fixture
def log(dana: User, here: Client) -> Log:
    """Return the log, from now on."""
    return Log(dana)


def test_passwords(dana: User, here: Client, log: Log) -> None:
    fields = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    assert here.post("/accounts/password/change/", fields).status_code == 302
    assert log.news() == ["account.password_changed"]
    Client().post("/accounts/password/reset/", {"email": dana.email})
    assert log.news() == []
    reset = Client()
    page = reset.get(link_in_last_mail("/accounts/password/reset/key/"))["Location"]
    assert reset.post(page, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 302
    assert log.news() == ["account.password_reset"]


def test_a_first_password(log: Log) -> None:
    user = create_user("new@example.com", verified=True)
    client = Client()
    client.force_login(user)
    log.user = user
    log.news()
    client.post("/accounts/password/set/", {"password1": NEW, "password2": NEW})
    assert log.news() == ["account.password_changed"]


def test_authenticator_apps_and_recovery_codes(here: Client, log: Log) -> None:
    with_app(here)
    assert sorted(log.news()) == ["account.recovery_codes_made", "account.totp_added"]
    assert here.post("/accounts/2fa/recovery-codes/generate/").status_code == 302
    assert log.news() == ["account.recovery_codes_made"]
    assert here.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert log.news() == ["account.totp_removed"]
    secret_of(here)
    here.post("/accounts/2fa/totp/activate/", {"code": "000000"})
    assert log.news() == []


def test_addresses(dana: User, here: Client, log: Log) -> None:
    here.post("/accounts/email/", {"email": "second@example.com", "action_add": ""})
    assert log.news() == ["account.email_added"]
    assert here.post(link_in_last_mail()).status_code == 302
    log.news()
    here.post("/accounts/email/", {"email": "second@example.com", "action_primary": ""})
    assert log.news() == ["account.email_changed"]
    assert User.objects.get(pk=dana.pk).email == "second@example.com"
    here.post("/accounts/email/", {"email": "dana@example.com", "action_remove": ""})
    assert log.news() == ["account.email_removed"]
    assert EmailAddress.objects.filter(user=dana).count() == 1


def test_sessions(dana: User, here: Client, log: Log) -> None:
    elsewhere = signed_in(dana)
    assert log.news() == ["account.signed_in"]
    (other,) = re.findall(r"/accounts/sessions/(\d+)/end", here.get("/dashboard/account").text)
    assert here.post(f"/accounts/sessions/{other}/end").status_code == 302
    assert log.news() == ["account.session_ended"]
    assert elsewhere.get("/dashboard/account").status_code == 302
    third, fourth = signed_in(dana), signed_in(dana)
    log.news()
    here.post("/accounts/sessions/")
    assert log.news() == ["account.session_ended"] * 2
    assert {client.get("/dashboard/account").status_code for client in (third, fourth)} == {302}
    assert here.get("/dashboard/account").status_code == 200
    here.post("/accounts/logout/")
    assert log.news() == ["account.signed_out"]


@pytest.fixture
def provider(settings: Settings) -> Iterator[OpenIDServer]:
    """Serve a provider of sign-ins."""
    with OpenIDServer() as server:
        settings.SOCIALACCOUNT_PROVIDERS = server.settings()
        yield server


def test_providers(here: Client, log: Log, provider: OpenIDServer) -> None:
    there_and_back(here, process="connect")
    assert log.news() == ["account.provider_connected"]
    (account,) = re.findall(r'name="account"[^>]* value="(\d+)"', here.get("/accounts/3rdparty/").text)
    assert here.post("/accounts/3rdparty/", {"account": account}).status_code == 302
    assert log.news() == ["account.provider_disconnected"]


def test_a_second_step_is_one_sign_in(dana: User, here: Client, log: Log) -> None:
    secret = with_app(here)
    log.news()
    client = Client()
    client.post("/login", {"login": dana.email, "password": PASSWORD})
    client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    client.post("/accounts/2fa/authenticate/", {"code": code_of_app(secret)})
    assert log.news() == ["account.sign_in_failed", "account.signed_in"]


def test_the_end_of_an_account(dana: User) -> None:
    delete_account(dana, fate={each.workspace.pk: None for each in owned_by(dana)})
    assert list(AuditEntry.objects.filter(action__startswith="account.").values_list("action", flat=True)) == [
        "account.deleted"
    ]
