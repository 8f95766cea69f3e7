"""Signing in by providers, against a real OpenID Connect server on loopback: whose word counts, and what gets connected."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.models import User, Workspace
from lumyx.env import Env
from lumyx.settings.signin import providers_from
from rig.oidc.server import Identity, OpenIDServer
from tests.accounts.signing import acts_of, is_signed_in, link_in_last_mail, proved, signed_in, with_app
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN = "/accounts/oidc/oidc/login/"


@pytest.fixture
def provider(settings: Settings) -> Iterator[OpenIDServer]:
    """Return a provider that this installation is connected to."""
    with OpenIDServer() as server:
        settings.SOCIALACCOUNT_PROVIDERS = server.settings()
        yield server


def there_and_back(client: Client, *, process: str = "login", link: str = "go", next_page: str = "") -> str:
    """Go to the provider by the button, press one there, come back; return where that leads."""
    page = client.post(f"{LOGIN}?process={process}" + (f"&next={next_page}" if next_page else ""))
    assert page.status_code == 200
    target = page.context["target"]
    there = httpx.get(target, timeout=10)
    assert there.status_code == 200, there.text
    back = there.text.split(f'id="{link}" href="')[1].split('"')[0].replace("&amp;", "&")
    answer = client.get(back)
    return str(answer["Location"]) if answer.status_code == 302 else answer.text


def test_a_button_is_there_only_for_what_is_configured(client: Client, settings: Settings) -> None:
    for path in ("/login", "/signup"):
        assert "/accounts/oidc/" not in client.get(path).text
    settings.SOCIALACCOUNT_PROVIDERS = providers_from(
        Env({"GITHUB_CLIENT_ID": "x", "GITHUB_CLIENT_SECRET": "y"}), allow_http=True
    )
    page = client.get("/login?next=/models").text
    assert "Sign in with GitHub" in page
    assert 'action="/accounts/github/login/?process=login&amp;next=%2Fmodels"' in page
    assert "Google" not in page
    assert client.post("/accounts/google/login/").status_code == 404
    assert client.post(LOGIN).status_code == 404


def test_the_environment_switches_providers_on_and_halves_are_problems() -> None:
    whole = Env(
        {
            "GOOGLE_CLIENT_ID": "a", "GOOGLE_CLIENT_SECRET": "b", "GITHUB_CLIENT_ID": "c", "GITHUB_CLIENT_SECRET": "d",
            "OIDC_SERVER_URL": "https://id.example.com/", "OIDC_CLIENT_ID": "e", "OIDC_CLIENT_SECRET": "f",
            "OIDC_NAME": "Example ID",
        }
    )  # fmt: skip
    found = providers_from(whole)
    whole.finish()
    assert sorted(found) == ["github", "google", "openid_connect"]
    app = found["openid_connect"]["APPS"][0]
    assert (app["name"], app["settings"]) == ("Example ID", {"server_url": "https://id.example.com"})
    for half in ({"GOOGLE_CLIENT_ID": "a"}, {"GITHUB_CLIENT_SECRET": "b"}, {"OIDC_SERVER_URL": "https://x"}):
        env = Env(half)
        assert providers_from(env) == {}
        assert env.problems
    plain = Env({"OIDC_SERVER_URL": "http://x", "OIDC_CLIENT_ID": "e", "OIDC_CLIENT_SECRET": "f"})
    providers_from(plain)
    assert plain.problems == ["OIDC_SERVER_URL must begin with https://."]


def test_the_way_there_is_by_a_page_of_ours_with_pkce_and_a_state(client: Client, provider: OpenIDServer) -> None:
    assert client.get(LOGIN).status_code == 200  # a link to it asks first
    page = client.post(LOGIN)
    query = parse_qs(urlsplit(page.context["target"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["state"][0]) >= 16
    assert f'content="0;url={provider.url}/authorize' in page.text


def test_somebody_new_gets_an_account_with_a_workspace_and_a_proved_address(
    client: Client, provider: OpenIDServer
) -> None:
    assert there_and_back(client) == "/dashboard"
    user = User.objects.get()
    assert (user.email, user.name, user.email_is_verified) == ("dana@example.com", "Dana Ito", True)
    assert not user.has_usable_password()
    assert Workspace.objects.get().owner == user
    assert mail.outbox == []
    assert acts_of(user) == ["account.created", "account.signed_in"]
    assert is_signed_in(client)


def test_somebody_known_signs_in_and_lands_where_they_wanted(provider: OpenIDServer) -> None:
    there_and_back(Client())
    client = Client()
    assert there_and_back(client, next_page="/dashboard/usage") == "/dashboard/usage"
    assert there_and_back(Client(), next_page="https://evil.example/") == "/dashboard"
    assert User.objects.count() == SocialAccount.objects.count() == 1


@pytest.mark.parametrize("word", [False, "false", "no", ""])
def test_an_address_that_the_provider_has_not_verified_counts_for_nothing(
    client: Client, provider: OpenIDServer, word: bool | str
) -> None:
    owner = make_user("dana@example.com")
    provider.identity = Identity(email_verified=word)
    assert there_and_back(client) == "/accounts/3rdparty/signup/"
    assert "dana@example.com" not in client.get("/accounts/3rdparty/signup/").text
    assert client.post("/accounts/3rdparty/signup/", {"email": "dana@example.com"}).status_code == 302
    assert not is_signed_in(client)
    assert not SocialAccount.objects.filter(user=owner).exists()
    assert mail.outbox[-1].subject == "You have an account already"


def test_an_address_typed_in_there_has_to_be_proved_here(client: Client, provider: OpenIDServer) -> None:
    provider.identity = Identity(email_verified=False)
    there_and_back(client)
    assert client.post("/accounts/3rdparty/signup/", {"email": "own@example.com"})["Location"].endswith(
        "/accounts/confirm-email/"
    )
    assert not is_signed_in(client)
    assert not User.objects.get().email_is_verified
    assert client.post(link_in_last_mail())["Location"] == "/dashboard"
    assert User.objects.get().email_is_verified
    assert is_signed_in(client)


def test_an_account_connects_by_itself_where_both_have_verified_the_address(
    client: Client, provider: OpenIDServer
) -> None:
    owner = make_user("dana@example.com")
    assert there_and_back(client) == "/dashboard"
    assert SocialAccount.objects.get().user == owner
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)
    assert mail.outbox[-1].subject == "Example ID was connected"
    assert "account.provider_connected" in acts_of(owner)


def test_an_account_whose_address_is_unproved_never_connects_by_itself(client: Client, provider: OpenIDServer) -> None:
    squatter = make_user("dana@example.com", verified=False)
    there_and_back(client)
    assert not is_signed_in(client)
    assert not SocialAccount.objects.filter(user=squatter).exists()


def test_a_second_address_that_is_only_named_connects_nothing(client: Client, provider: OpenIDServer) -> None:
    other = make_user("other@example.com")
    EmailAddress.objects.create(user=other, email="dana@example.com")
    there_and_back(client)
    assert not SocialAccount.objects.filter(user=other).exists()


def test_operators_and_people_shut_out_never_connect_by_themselves(provider: OpenIDServer) -> None:
    for field, value in (("is_staff", True), ("is_active", False)):
        user = make_user("dana@example.com")
        setattr(user, field, value)
        user.save()
        client = Client()
        there_and_back(client)
        assert not is_signed_in(client)
        assert not SocialAccount.objects.exists()
        User.objects.all().delete()


def test_a_second_factor_is_asked_for_after_a_provider_too(provider: OpenIDServer) -> None:
    with_app(proved(make_user("dana@example.com")))
    client = Client()
    assert there_and_back(client) == "/accounts/2fa/authenticate/"
    assert not is_signed_in(client)


def test_whoever_is_signed_in_connects_and_disconnects_after_proving_who_they_are(provider: OpenIDServer) -> None:
    user = make_user("me@example.com")
    client = signed_in(user)
    assert there_and_back(client, process="connect") == "/accounts/reauthenticate/"
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    row = SocialAccount.objects.get()
    assert row.user == user
    assert "Example ID" in client.get("/dashboard/account").text
    assert client.post("/accounts/3rdparty/", {"account": row.pk}).status_code == 302
    assert not SocialAccount.objects.exists()
    assert acts_of(user)[-2:] == ["account.provider_connected", "account.provider_disconnected"]
    assert mail.outbox[-1].subject == "Example ID was disconnected"


def test_nobody_disconnects_anothers_provider_or_their_only_way_in(provider: OpenIDServer) -> None:
    client = Client()
    there_and_back(client)
    row = SocialAccount.objects.get()
    stranger = proved(make_user("stranger@example.com"))
    stranger.post("/accounts/3rdparty/", {"account": row.pk})
    assert "no password set up" in client.post("/accounts/3rdparty/", {"account": row.pk}).text
    assert SocialAccount.objects.count() == 1


def test_an_account_there_belongs_to_one_account_here(provider: OpenIDServer) -> None:
    there_and_back(Client())
    client = proved(make_user("me@example.com"))
    assert there_and_back(client, process="connect") == "/accounts/3rdparty/"
    assert "already signs in somebody else" in client.get("/accounts/3rdparty/").text
    assert SocialAccount.objects.count() == 1


def test_turning_back_there_and_lies_are_pages_not_crashes(client: Client, provider: OpenIDServer) -> None:
    assert "/accounts/3rdparty/login/cancelled/" in there_and_back(client, link="no")
    assert "That did not work" in client.get("/accounts/oidc/oidc/login/callback/?code=x&state=forged").text
    provider.client_secret = "changed since"
    assert "That did not work" in there_and_back(client)
    assert not User.objects.exists()
