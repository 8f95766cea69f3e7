"""Nobody learns from an answer whether an address has an account: known and unknown ones are answered alike, to the letter.

That they also take as long is measured by ``make prove ARGS=signin``; here it is counted: as many hashes, as many messages.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from accounts.services.users import create_user
from tests.accounts.signing import proved
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db

#: As long as each other, so that pages are too.
KNOWN, UNKNOWN = "known@example.com", "other@example.com"

type Ask = Callable[[Client, str], Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What whoever asks can see of an answer, without what is drawn anew each time."""

    status: int
    headers: dict[str, str]
    cookies: dict[str, list[tuple[str, str]]]
    body: str
    next_page: str
    #: Only the owner of the mailbox sees those.
    letters: int = field(compare=False)


class CountingHasher(MD5PasswordHasher):
    """A cheap hash that counts how often it is asked for one."""

    asked = 0

    def encode(self, password: str, salt: str) -> str:
        """Count, and hash."""
        type(self).asked += 1
        return super().encode(password, salt)


def plain(text: str, address: str) -> str:
    """Return a page without tokens, and with one name for the address."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", text)
    return text.replace(address, "ADDRESS")


def look(ask: Ask, client: Client, address: str) -> Seen:
    """Ask, and return what can be seen: the answer, and the page that it leads to."""
    before = len(mail.outbox)
    client.cookies.pop("messages", None)
    answer = ask(client, address)
    letters = [letter.to for letter in mail.outbox[before:]]
    assert all(to == [address] for to in letters)
    following = client.get(answer["Location"]) if answer.status_code == 302 else answer
    return Seen(
        status=answer.status_code,
        headers={
            name: plain(value, address)
            for name, value in answer.headers.items()
            if name not in {"Content-Length", "Expires"}
        },
        cookies={
            name: sorted((key, str(value)) for key, value in morsel.items() if key not in {"expires"})
            for name, morsel in answer.cookies.items()
        },
        body=plain(answer.text, address),
        next_page=plain(following.text, address),
        letters=len(letters),
    )


def ask_for_code(client: Client, address: str) -> Any:
    """Ask for a sign-in code."""
    return client.post("/accounts/login/code/", {"email": address})


def give_wrong_codes(count: int) -> Ask:
    """Return how one asks for a code and gives so many wrong ones."""

    def ask(client: Client, address: str) -> Any:
        ask_for_code(client, address)
        for _ in range(count - 1):
            client.post("/accounts/login/code/confirm/", {"code": "BBBB-BBBB"})
        return client.post("/accounts/login/code/confirm/", {"code": "BBBB-BBBB"})

    return ask


#: What is asked, how, how many messages it owes to the address, and how many hashes it costs.
FORMS: dict[str, tuple[Ask, int, int]] = {
    "sign in": (lambda client, a: client.post("/login", {"login": a, "password": "wrong"}), 0, 1),
    "sign in, empty": (lambda client, a: client.post("/login", {"login": a, "password": ""}), 0, 0),
    "sign up": (lambda client, a: client.post("/signup", {"email": a, "password1": PASSWORD}), 1, 1),
    "sign up, bad password": (lambda client, a: client.post("/signup", {"email": a, "password1": "1234"}), 0, 0),
    "sign up, its own name": (lambda client, a: client.post("/signup", {"email": a, "password1": a}), 0, 0),
    "reset": (lambda client, a: client.post("/accounts/password/reset/", {"email": a}), 1, 0),
    "code": (ask_for_code, 1, 0),
    "wrong code": (give_wrong_codes(1), 1, 0),
    "last wrong code": (give_wrong_codes(3), 1, 0),
    "code again": (
        lambda client, a: (
            ask_for_code(client, a),
            client.post("/accounts/login/code/confirm/", {"action": "resend"}),
        )[1],
        2,
        0,
    ),
}


@pytest.fixture
def known(settings: Settings) -> User:
    """Return who has the known address."""
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    return make_user(KNOWN)


@pytest.mark.parametrize(("ask", "letters", "hashes"), FORMS.values(), ids=FORMS)
def test_an_address_with_an_account_is_answered_like_one_without(
    known: User, ask: Ask, letters: int, hashes: int
) -> None:
    seen, cost = {}, {}
    for address in (KNOWN, UNKNOWN):
        before = CountingHasher.asked
        seen[address] = look(ask, Client(), address)
        cost[address] = CountingHasher.asked - before
    assert seen[KNOWN] == seen[UNKNOWN]
    assert "account" not in seen[KNOWN].headers.get("Location", "").replace("/accounts/", "")
    assert (cost[KNOWN], cost[UNKNOWN]) == (hashes, hashes)
    assert seen[KNOWN].letters == letters
    # A second code is one more message only to who gets codes at all; both answers come at the same step (accounts.pacing).
    assert seen[UNKNOWN].letters == min(letters, 1)


@pytest.mark.parametrize("state", ["without a password", "shut", "unproved"])
def test_accounts_of_every_state_are_answered_alike_to_a_wrong_password(known: User, state: str) -> None:
    create_user("state@example.com", password=None if state == "without a password" else PASSWORD, verified=False)
    if state == "shut":
        User.objects.filter(email="state@example.com").update(is_active=False)
    ask = FORMS["sign in"][0]
    before = CountingHasher.asked
    with_account = look(ask, Client(), "state@example.com")
    assert CountingHasher.asked == before + 1
    assert with_account == look(ask, Client(), UNKNOWN.replace("other", "thing"))


def test_naming_an_address_of_somebody_else_looks_like_naming_a_free_one(known: User) -> None:
    seen = {}
    for number, address in enumerate((KNOWN, UNKNOWN)):
        client = proved(make_user(f"dana{number}@example.com"))
        seen[address] = look(
            lambda client, a: client.post("/accounts/email/", {"email": a, "action_add": ""}), client, address
        )
    own = {KNOWN: "dana0@example.com", UNKNOWN: "dana1@example.com"}
    pages = {address: one.next_page.replace(own[address], "OWN") for address, one in seen.items()}
    assert re.sub(r"email_(radio_)?\d+|value=\"\d+\"", "", pages[KNOWN]) == re.sub(
        r"email_(radio_)?\d+|value=\"\d+\"", "", pages[UNKNOWN]
    )
    assert {(one.status, one.letters) for one in seen.values()} == {(302, 1)}
    assert seen[KNOWN].headers == seen[UNKNOWN].headers
    assert seen[KNOWN].cookies == seen[UNKNOWN].cookies


def test_a_message_to_a_taken_address_says_so_to_its_owner_and_links_to_nothing_secret(known: User) -> None:
    FORMS["sign up"][0](Client(), KNOWN)
    assert mail.outbox[-1].to == [KNOWN]
    assert "/accounts/password/reset/" in str(mail.outbox[-1].body)
    assert "confirm-email" not in str(mail.outbox[-1].body)
