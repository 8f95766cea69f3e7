"""Signing in against those who guess, and those who ask who has an account: over HTTP, on two web processes, with real argon2."""

import asyncio
import contextlib
from collections.abc import Iterator

from proofs.report import Report
from proofs.signin_browser import PASSWORD
from proofs.signin_limits import GUESSES, SHORT_GUESSES, guess_everything
from proofs.signin_timing import SHORT_TRIES, TRIES, time_everything
from proofs.site import site
from rig.installation import Installation
from rig.letterbox import Letterbox, letterbox

#: Accounts of which codes and passwords are guessed, each in one way.
GUESSED_AT = 6
#: What each address is sent: for the reset, the code, and the sign-up.
MESSAGES = 3


def signin(report: Report, short: bool) -> None:
    """Run the proof on an installation of its own."""
    with signin_site() as (installation, mail):
        guess_and_ask(installation, mail, report, short=short)


@contextlib.contextmanager
def signin_site() -> Iterator[tuple[Installation, Letterbox]]:
    """Run an installation that sends mail, and that believes one proxy (the proof) who the caller is."""
    with letterbox() as mail:
        settings = {
            "DJANGO_SETTINGS_MODULE": "proofs.page_settings",
            "LUMYX_EMAIL_VERIFICATION": "1",
            "EMAIL_URL": mail.url,
            "TRUSTED_PROXY_COUNT": "1",
        }
        with site(settings=settings) as installation:
            yield installation, mail


def guess_and_ask(installation: Installation, mail: Letterbox, report: Report, *, short: bool) -> None:
    """Guess, then take the times, then count the messages: whoever was asked about got as many, with an account or without."""
    tries = SHORT_TRIES if short else TRIES
    report.note(guesses=SHORT_GUESSES if short else GUESSES, tries=tries)
    guessed_at = _make_people(installation, "guessed", GUESSED_AT)
    known = _make_people(installation, "known", tries + 1)
    asyncio.run(guess_everything(installation, report, guessed_at, short=short))
    unknown = [f"nobody-{number}@example.com" for number in range(tries)]
    asyncio.run(time_everything(installation, report, {"known": known, "unknown": unknown}, short=short))
    for address in (*known[:tries], *unknown):
        sent = len(mail.texts_to(address))
        report.require(sent == MESSAGES, f"{address} was sent {sent} messages instead of {MESSAGES}")


def _make_people(installation: Installation, name: str, count: int) -> list[str]:
    """Make accounts with a password and a proved address; return their addresses."""
    found = [f"{name}-{number}@example.com" for number in range(count)]
    for number, email in enumerate(found):
        slug = f"{name} {number}"
        installation.manage("workspace", "create", "--name", slug, "--owner", email, "--password", PASSWORD)
    return found
