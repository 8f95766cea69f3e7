"""The page that stops a kind of e-mail: signed links, one click, and the way back."""

import datetime as dt
import time

import pytest
from django.core import signing
from django.test import Client

from accounts.models import User
from billing.models import Mute
from billing.services.mutes import TOKEN_LIFE, Wish, is_muted, unsubscribe_token, wish_of
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def person() -> User:
    """Return somebody who gets mail."""
    return make_user("dana@example.com")


@pytest.fixture
def page(person: User) -> str:
    """Return the address of their page."""
    return f"/unsubscribe/{unsubscribe_token(person.pk, kind='low_balance')}"


def muted(person: User) -> bool:
    return is_muted(Wish(person.pk, "low_balance"))


def test_opening_the_link_changes_nothing_and_shows_a_button(client: Client, person: User, page: str) -> None:
    for _ in range(2):
        response = client.get(page)
        assert response.status_code == 200
        assert "Stop low-balance alerts?" in response.text
    assert client.head(page).status_code == 200
    assert not muted(person)
    assert person.email not in response.text
    assert "no-store" in response["Cache-Control"]


def test_the_button_stops_them_and_the_same_page_undoes_it(client: Client, person: User, page: str) -> None:
    for _ in range(2):  # twice is once
        response = client.post(page)
        assert response.status_code == 200
        assert "You get no more low-balance alerts" in response.text
    assert muted(person)
    assert Mute.objects.count() == 1
    assert 'name="undo"' in client.get(page).text
    undone = client.post(page, {"undo": "1"})
    assert "Low-balance alerts are on again" in undone.text
    assert not muted(person)


def test_one_click_needs_no_cookie_no_form_token_and_no_sign_in(person: User, page: str) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post(page, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")
    assert response.status_code == 200
    assert muted(person)


def test_only_one_person_is_meant(client: Client, person: User, page: str) -> None:
    other = make_user()
    client.post(page)
    assert not muted(other)


@pytest.mark.parametrize("what", ["forged", "other_salt", "cut", "transactional", "shape", "nobody", "nonsense"])
def test_a_link_that_was_not_ours_is_a_clear_404(client: Client, person: User, what: str) -> None:
    good = unsubscribe_token(person.pk, kind="low_balance")
    token = {
        "forged": unsubscribe_token(person.pk + 1, kind="low_balance").split(":")[0] + ":" + good.partition(":")[2],
        "other_salt": signing.dumps([person.pk, "low_balance"]),
        "cut": good[:-3],
        "transactional": unsubscribe_token(person.pk, kind="receipt"),
        "shape": signing.dumps({"user": person.pk}, salt="billing.unsubscribe"),
        "nobody": unsubscribe_token(person.pk + 999, kind="low_balance"),
        "nonsense": "x",
    }[what]
    for response in (client.get(f"/unsubscribe/{token}"), client.post(f"/unsubscribe/{token}")):
        assert response.status_code == 404
        assert "This link does not work" in response.text
    assert not Mute.objects.exists()


def test_a_link_works_for_a_year(client: Client, person: User, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    assert dt.timedelta(days=365).total_seconds() == TOKEN_LIFE
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_LIFE - 60)
    assert client.get(page).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_LIFE + 60)
    assert client.post(page).status_code == 404
    assert wish_of(page.rpartition("/")[2]) is None
    assert not muted(person)


def test_other_methods_are_refused(client: Client, page: str) -> None:
    assert client.put(page).status_code == 405
    assert client.delete(page).status_code == 405
