"""Nobody learns by the time of an answer whether an address has an account: 300 tries each, known and unknown, in turn.

With argon2, made cheap so that the test is short. The bound is generous: half a millisecond and a fifth of a median, or three
standard errors of the difference of medians, whichever is more. What it would catch is a missing hash, or a missing message.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client
from pytest_django import Settings

from accounts.services.users import create_user
from tests.factories import PASSWORD, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

#: Of each kind; LONG_TESTS asks for as many as the promise is about. The bound knows how many there were.
TRIES = 300 if os.environ.get("LONG_TESTS") else 50


class QuickArgon2(Argon2PasswordHasher):
    """Argon2 in a few milliseconds: still many times what else differs."""

    time_cost, memory_cost, parallelism = 2, 8192, 1


@pytest.fixture(autouse=True)
def _as_in_production(settings: Settings) -> Iterator[None]:
    settings.PASSWORD_HASHERS = [f"{__name__}.QuickArgon2"]
    for number in range(TRIES):
        create_user(f"known{number}@example.com", password=None, verified=True)
    make_user("known@example.com", password=PASSWORD)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def times_of(ask: Callable[[str, int], float | None]) -> tuple[list[float], list[float]]:
    """Return how long answers took, in seconds, for known and unknown addresses, in turn so that a busy machine slows both.

    ``ask`` may return seconds that it only pretended to wait.
    """
    known: list[float] = []
    unknown: list[float] = []
    for kind in ("known", "unknown"):  # what is only slow once
        ask(kind, 0)
    for number in range(TRIES):
        for kind, times in (("known", known), ("unknown", unknown)):
            began = time.perf_counter()
            waited = ask(kind, number)
            times.append(time.perf_counter() - began + (waited or 0))
    return known, unknown


def assert_alike(known: list[float], unknown: list[float]) -> None:
    """Assert that the medians differ by no more than noise."""
    medians = statistics.median(known), statistics.median(unknown)
    # A median's standard error is about 1.25 that of a mean; quartiles keep a machine's hiccups out of it.
    spread = sum(_spread(times) ** 2 for times in (known, unknown)) ** 0.5
    noise = 3 * 1.25 * spread / TRIES**0.5
    bound = max(noise, 0.0005 + max(medians) / 5)
    assert abs(medians[0] - medians[1]) <= bound, (
        f"known {medians[0]:.5f} s, unknown {medians[1]:.5f} s, bound {bound:.5f} s"
    )


def _spread(times: list[float]) -> float:
    low, _, high = statistics.quantiles(times, n=4)
    return (high - low) / 1.35


def test_a_wrong_password_takes_as_long_for_an_unknown_address() -> None:
    def ask(kind: str, number: int) -> None:
        Client().post("/login", {"login": f"{kind}@example.com", "password": f"wrong {number}"})

    assert_alike(*times_of(ask))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/signup", {"password1": PASSWORD}),
        ("/accounts/password/reset/", {}),
        ("/accounts/login/code/", {}),
    ],
)
def test_answers_with_a_message_come_at_the_same_step(
    path: str, fields: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LUMYX_ANSWER_STEP = step = 0.5
    waits: list[float] = []
    monkeypatch.setattr("accounts.pacing.time.sleep", waits.append)

    def ask(kind: str, number: int) -> float:
        answer = Client().post(path, {"email": f"{kind}{number}@example.com", **fields})
        assert answer.status_code == 302
        return waits.pop()

    known, unknown = times_of(ask)
    assert_alike(known, unknown)
    assert min(known + unknown) >= step * 0.99


def test_a_wrong_code_takes_as_long_for_an_unknown_address() -> None:
    browsers = {kind: [Client() for _ in range(TRIES)] for kind in ("known", "unknown")}
    for kind, clients in browsers.items():
        for number, client in enumerate(clients):
            client.post("/accounts/login/code/", {"email": f"{kind}{number}@example.com"})

    def ask(kind: str, number: int) -> None:
        browsers[kind][number].post("/accounts/login/code/confirm/", {"code": "BBBB-BBBB"})

    assert_alike(*times_of(ask))
