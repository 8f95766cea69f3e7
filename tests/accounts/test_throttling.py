"""Guesses from one address and from many: how many are looked at is what docs/operations.md says.

A few more than the limits, with a cheap hash; ``make prove ARGS=signin`` guesses a thousand times, over HTTP.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.cache import caches
from django.template.response import SimpleTemplateResponse
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, User
from accounts.services.tries import LIMITS, TooManyTriesError, TriesUnknownError, forget_tries, take_try, use_once
from lumyx.settings import signin
from lumyx.settings.base import cache_at
from tests.accounts.signing import code_of_app, proved, with_app
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db

GUESSES = 30
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = signin.ACCOUNT_RATE_LIMITS
    for cache in caches.all(initialized_only=True):
        cache.clear()


@pytest.fixture
def dana() -> User:
    """Return somebody who is guessed at."""
    return make_user("dana@example.com")


def address_of(number: int, *, many: bool) -> str:
    """Return where a guess comes from: 198.18.0.0/15 is nobody's."""
    return f"198.18.{number // 250}.{number % 250 + 1}" if many else "198.18.0.1"


def looked_at(user: User) -> int:
    """Return how many wrong guesses came as far as being compared."""
    return AuditEntry.objects.filter(actor_id=user.pk, action="account.sign_in_failed").count()


@contextmanager
def without_pages() -> Iterator[None]:
    """Leave the drawing of pages out, which is most of what a refused guess costs, and not what is looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimpleTemplateResponse, "rendered_content", "")
        yield


@pytest.mark.parametrize("many", [False, True])
def test_of_the_wrong_passwords_for_one_account_five_are_looked_at(dana: User, many: bool) -> None:
    with without_pages():
        for number in range(GUESSES):
            Client(REMOTE_ADDR=address_of(number, many=many)).post(
                "/login", {"login": "dana@example.com", "password": f"wrong {number}"}
            )
    assert looked_at(dana) == 5
    right = Client(REMOTE_ADDR="203.0.113.9").post("/login", {"login": dana.email, "password": PASSWORD})
    assert "Too many failed login attempts" in right.text


def test_of_the_accounts_that_one_address_tries_ten_are_looked_at(dana: User) -> None:
    with without_pages():
        for number in range(GUESSES):
            Client(REMOTE_ADDR="198.18.0.1").post("/login", {"login": f"u{number}@example.com", "password": "wrong"})
    assert AuditEntry.objects.filter(action="account.sign_in_failed").count() == 10


def test_a_day_of_patience_brings_a_hundred_guesses_and_no_more(dana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_900_000_000.0
    monkeypatch.setattr("allauth.core.internal.ratelimit.time.time", lambda: now)
    with without_pages():
        for number in range(120):
            now += 700  # seconds: 120 of them are 23 hours
            Client(REMOTE_ADDR=address_of(number, many=True)).post("/login", {"login": dana.email, "password": "wrong"})
    assert looked_at(dana) == 100


@pytest.mark.parametrize("many", [False, True])
def test_of_the_wrong_codes_of_an_app_five_are_looked_at(dana: User, many: bool) -> None:
    secret = with_app(proved(dana))
    caches["default"].clear()
    half_way = Client()
    half_way.post("/login", {"login": dana.email, "password": PASSWORD})
    with without_pages():
        for number in range(GUESSES):
            half_way.defaults["REMOTE_ADDR"] = address_of(number, many=many)
            half_way.post("/accounts/2fa/authenticate/", {"code": f"{number:06}"})
    assert looked_at(dana) == 5
    again = Client(REMOTE_ADDR="203.0.113.9")
    again.post("/login", {"login": dana.email, "password": PASSWORD})
    right = again.post("/accounts/2fa/authenticate/", {"code": code_of_app(secret)})
    assert "Too many failed login attempts" in right.text


@pytest.mark.parametrize("many", [False, True])
def test_of_the_wrong_codes_by_mail_ten_are_looked_at_however_many_are_asked_for(
    dana: User, many: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However many codes somebody makes us send: without this the limit of those would hide the limit of tries.
    settings.ACCOUNT_RATE_LIMITS = False
    compared: list[str] = []

    def compare(*, actual: str, expected: str) -> bool:
        compared.append(actual)
        return False

    monkeypatch.setattr("allauth.account.forms.compare_user_code", compare)
    with without_pages():
        for number in range(GUESSES // 2):
            client = Client(REMOTE_ADDR=address_of(number, many=many))
            client.post("/accounts/login/code/", {"email": dana.email})
            for _ in range(3):
                client.post("/accounts/login/code/confirm/", {"code": "BBBB-BBBB"})
    # Ten in each quarter of an hour; the test may see two of them.
    assert len(compared) in {10, 20}


def test_codes_are_sent_three_a_minute_to_an_address_and_twenty_from_one(
    dana: User, mailoutbox: list[object], settings: Settings
) -> None:
    for number in range(10):
        Client(REMOTE_ADDR=address_of(number, many=True)).post("/accounts/login/code/", {"email": dana.email})
    assert len(mailoutbox) == 3
    for number in range(30):
        Client(REMOTE_ADDR="203.0.113.5").post("/accounts/login/code/", {"email": f"u{number}@example.com"})
    assert len(mailoutbox) == 3 + 20


def test_tries_count_over_processes_in_redis_and_a_right_one_clears_them(settings: Settings) -> None:
    settings.CACHES = cache_at(settings.REDIS_URL)
    subject = "tries@example.com"
    forget_tries("code", subject=subject)
    for _ in range(LIMITS["code"][0]):
        take_try("code", subject=subject)
    with pytest.raises(TooManyTriesError):
        take_try("code", subject=subject)
    take_try("code", subject="somebody-else@example.com")
    forget_tries("code", subject=subject)
    take_try("code", subject=subject)
    assert use_once("123456", subject=subject, seconds=5)
    assert not use_once("123456", subject=subject, seconds=5)
    assert use_once("123456", subject="another", seconds=5)
    for name in (subject, "somebody-else@example.com"):
        forget_tries("code", subject=name)
    caches["strict"].clear()


def test_without_redis_tries_raise_and_passwords_fall_back_to_memory(dana: User, settings: Settings) -> None:
    settings.CACHES = cache_at(NOWHERE)
    with pytest.raises(TriesUnknownError):
        take_try("second_factor", subject="1")
    with pytest.raises(TriesUnknownError):
        forget_tries("second_factor", subject="1")
    with pytest.raises(TriesUnknownError):
        use_once("1", subject="1", seconds=1)
    caches["default"].memory.clear()  # type: ignore[attr-defined]
    for _ in range(20):
        Client().post("/login", {"login": dana.email, "password": "wrong"})
    assert looked_at(dana) == 5


def test_the_limits_are_those_of_the_site() -> None:
    assert signin.ACCOUNT_RATE_LIMITS == {"login_failed": "10/m/ip,5/300s/key,100/d/key"}
    assert LIMITS == {"code": (10, 900), "second_factor": (10, 900)}
